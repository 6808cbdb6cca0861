"""The light client as a program of its own: `python -I -S proving/light FILE`, with nothing installed.

It says what `ecliptica light verify` says, and ends with 0, 3 for what does not hold, 4 for bytes that are none, or 2, 1
and 5 for a wrong call, a file that cannot be read, and a key file that is damaged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proving.light.day import DayFiles, VerifiedDay, verify_day
from proving.light.errors import KeyDamaged, ProofError, ProofMalformed
from proving.light.signature_check import best_signature_check
from schemas.units import word_bytes

FILES = (
    *("proving/__init__.py", "proving/arithmetic/__init__.py", "proving/arithmetic/modulus.py"),
    *("proving/arithmetic/poseidon2_integers.py", "proving/ledger/__init__.py"),
    *("proving/ledger/words.py", "proving/light/__init__.py", "proving/light/__main__.py"),
    *("proving/light/certificate.py", "proving/light/checkpoint.py", "proving/light/command.py"),
    *("proving/light/day.py", "proving/light/encoding.py", "proving/light/errors.py"),
    *("proving/light/field.py", "proving/light/flaws.py", "proving/light/identity.py"),
    *("proving/light/inclusion.py", "proving/light/key.py", "proving/light/merkle.py"),
    *("proving/light/poseidon2.py", "proving/light/queries.py"),
    *("proving/light/signature_check.py", "proving/light/transcript.py", "proving/light/wrap.py"),
    *("proving/light/wrap_key.json", "proving/signature_backends/__init__.py"),
    *("proving/signature_backends/reference.py", "proving/signature_backends/stock.py"),
    *("schemas/__init__.py", "schemas/beacon_payload.py", "schemas/block.py", "schemas/errors.py"),
    *("schemas/run.py", "schemas/steps.py", "schemas/topics.py", "schemas/transactions.py"),
    *("schemas/units.py", "schemas/validators.py", "schemas/wire.py"),
)
"""All that a light client needs, below the repository's root; a copy of these runs anywhere."""

MAX_FILE_BYTES = 2**26
"""No more of a file is read."""

SCHEMA_VERSION = 1

NOT_LINKED = "not checked: name a day you trust with --previous, or the committee is anybody's"

EXIT_FAILURE, EXIT_REJECTED, EXIT_MALFORMED, EXIT_MISSING = 1, 3, 4, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Verifies a day's files and returns the exit code."""
    parser = argparse.ArgumentParser(prog="light", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="the day's proof")
    parser.add_argument("--certificate", type=Path, help="beside the proof unless given")
    parser.add_argument("--previous", type=Path, help="the day before, or a checkpoint")
    parser.add_argument("--inclusion", type=Path, help="a transaction's path")
    parser.add_argument("--json", action="store_true", help="one object")
    given = parser.parse_args(arguments)
    try:
        files = read_files(given.file, given.certificate, given.previous, given.inclusion)
        fields = report(verify_day(files, best_signature_check()))
    except ProofError as error:
        return _fail(error, EXIT_MALFORMED if isinstance(error, ProofMalformed) else EXIT_REJECTED)
    except KeyDamaged as error:
        return _fail(error, EXIT_MISSING)
    except OSError as error:
        return _fail(error, EXIT_FAILURE)
    text = (
        json.dumps({"schema_version": SCHEMA_VERSION, **fields}) if given.json else text_of(fields)
    )
    sys.stdout.write(text + "\n")
    return 0


def read_files(
    proof: Path, certificate: Path | None, previous: Path | None, inclusion: Path | None
) -> DayFiles:
    """Reads the files, the certificate from beside the proof unless it is named.

    Raises:
        OSError: One of them cannot be read.
    """
    return DayFiles(
        _read(proof),
        _read(certificate or proof.with_suffix(".certificate")),
        None if previous is None else _read(previous),
        None if inclusion is None else _read(inclusion),
    )


def report(day: VerifiedDay) -> dict[str, Any]:
    """Returns what was verified as plain values, for people and for programs."""
    run = day.certified.run
    words = {"validators": run.validators, "before": run.before, "after": run.after}
    return {
        "accepted": True,
        "statement": day.statement,
        "chain": run.chain,
        "shards": run.shards,
        "first_window": run.first_window,
        "end_window": run.end_window,
        **{name: word_bytes(word).hex() for name, word in words.items()},
        "history": word_bytes(run.history).hex(),
        "payee": day.payee,
        "beacon_height": day.certified.height,
        "committee": day.certified.validators,
        "votes": day.certified.votes,
        "signatures": day.signatures,
        "linked": day.linked,
        "transaction": None if day.transaction is None else asdict(day.transaction),
        "proof_ms": day.proof_millis,
        "certificate_ms": day.certificate_millis,
        "inclusion_ms": day.inclusion_millis,
    }


def text_of(fields: Mapping[str, Any]) -> str:
    """Returns a report for people."""
    linked = "holds" if fields["linked"] else NOT_LINKED
    lines = [
        f"proof         holds, {fields['proof_ms']} ms: chain {fields['chain']}, {fields['shards']} shards, "
        f"windows {fields['first_window']} to {fields['end_window']}",
        f"              {fields['before']} to",
        f"              {fields['after']}",
        f"certificate   holds, {fields['certificate_ms']} ms with {fields['signatures']}: {fields['votes']} of "
        f"{fields['committee']} validators, beacon block {fields['beacon_height']}",
        f"              committee {fields['validators']}",
        f"day before    {linked}",
    ]
    shown = fields["transaction"]
    if shown is not None:
        lines.append(
            f"transaction   included, {fields['inclusion_ms']} ms: {shown['kind']} of {shown['amount']} units from "
            f"account {shown['sender']} to {shown['recipient']} of shard {shown['shard']}, "
            f"digest {shown['digest'] or 'not shown by a registration'}"
        )
    return "\n".join(lines)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _fail(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return code
