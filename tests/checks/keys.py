"""Keeps the stored caps of the verifying keys equal to the circuits.

Run as `python -m tests.checks.keys` to compare and with `--write` to compute them again; the digest that is
printed then belongs into `proving.kinds`, if the change of the circuit was meant, and the last line's into
`proving.light.key`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from proving.backends.cpu import CpuBackend
from proving.kinds import encode_cap, registered_kinds, remember_key
from proving.light.key import KEY_FILE, KEY_FILE_SHA256
from proving.stark.key import VerifyingKey
from tests.checks.light_key import light_key_digest, light_key_text

LIGHT_KIND = "wrap"
"""Kind whose key the light client has as a file of its own."""

FOLDER = Path(__file__).resolve().parents[2] / "proving" / "keys"


def main(arguments: list[str]) -> int:
    """Compares or writes every key file; returns the exit code."""
    status = 0
    for kind in registered_kinds().kinds:
        key = replace(kind, key_digest="").proving_key(CpuBackend()).verifying_key
        remember_key(kind.name, key)
        path = FOLDER / f"{kind.name}.json"
        text = encode_cap(key.preprocessed_cap)
        if "--write" in arguments:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, "ascii")
            sys.stdout.write(f"{kind.name} {key.digest_hex}\n")
        elif key.digest_hex != kind.key_digest or path.read_text("ascii") != text:
            sys.stderr.write(f"{path.name} or its pinned digest is stale: run `make keys`\n")
            status = 1
        if kind.name == LIGHT_KIND:
            status |= _light_key(key, is_written="--write" in arguments)
    return status


def _light_key(key: VerifyingKey, *, is_written: bool) -> int:
    """Compares or writes the light client's file; its digest belongs into `proving.light.key`."""
    text = light_key_text(key)
    if is_written:
        KEY_FILE.write_text(text, "ascii")
        sys.stdout.write(f"{KEY_FILE.name} {light_key_digest(text)}\n")
    elif light_key_digest(text) != KEY_FILE_SHA256 or KEY_FILE.read_text("ascii") != text:
        sys.stderr.write(f"{KEY_FILE.name} or its pinned digest is stale: run `make keys`\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
