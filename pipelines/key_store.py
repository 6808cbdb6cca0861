"""Keys on disk: one JSON file per wallet in `DATA/keys/`, readable by its owner only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.account_keys import own_address
from proving.signatures import KeyPair
from schemas.errors import EclipticaError, ParameterError
from schemas.units import ADDRESS_BYTES

FORMAT = "ecliptica-key-1"
FOLDER = "keys"
OWNER_ONLY = 0o600
SEED_BYTES = 32
MAX_KEY_FILE_BYTES = 4096

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A wallet's key.

    Attributes:
        name: Name of the wallet.
        address: 20 bytes.
        pair: The key pair.
    """

    name: str
    address: bytes
    pair: KeyPair = field(repr=False)


def create_key(
    data: Path, name: str, seed: bytes | None = None, address: bytes | None = None
) -> StoredKey:
    """Makes a key pair and stores its seed; from the system's randomness unless a seed is given.

    Args:
        data: Data directory.
        name: Name of the wallet.
        seed: 32 bytes, or None for a fresh key.
        address: 20 bytes, for an account that was registered under another address than its key's own.

    Raises:
        ParameterError: The name is not allowed or taken, or a length is wrong.
        EclipticaError: The file cannot be written.
    """
    path = key_path(data, name)
    pair = KeyPair.from_seed(secrets.token_bytes(SEED_BYTES) if seed is None else seed)
    key = StoredKey(name, own_address(pair.public_key) if address is None else address, pair)
    if len(key.address) != ADDRESS_BYTES:
        raise ParameterError(f"an address has {ADDRESS_BYTES} bytes, got {len(key.address)}")
    document = {
        "format": FORMAT,
        "name": name,
        "algorithm": "ML-DSA-44",
        "address": "0x" + key.address.hex(),
        "public_key_sha256": hashlib.sha256(pair.public_key).hexdigest(),
        "seed": pair.seed.hex(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EclipticaError(f"cannot make {path.parent}: {error.strerror}") from error
    try:
        _write_new(path, json.dumps(document, indent=2).encode() + b"\n")
    except FileExistsError as error:
        raise ParameterError(
            f"there is already a key {name!r} in {path.parent}", "choose another name"
        ) from error
    except OSError as error:
        raise EclipticaError(f"cannot write {path}: {error.strerror}") from error
    return key


def load_key(data: Path, name: str) -> StoredKey:
    """Reads a key.

    Raises:
        ParameterError: There is no such key, others may read the file, or it is damaged.
    """
    path = key_path(data, name)
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_KEY_FILE_BYTES)
    except FileNotFoundError as error:
        raise ParameterError(
            f"there is no key {name!r} in {path.parent}", f"ecliptica wallet new {name}"
        ) from error
    except OSError as error:
        raise ParameterError(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ParameterError(f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    try:
        document = json.loads(content)
        found = document["format"]
        seed = bytes.fromhex(document["seed"])
        address = bytes.fromhex(document["address"].removeprefix("0x"))
        fingerprint = document["public_key_sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(f"{path} is not a key file: {error}") from error
    if found != FORMAT:
        raise ParameterError(f"{path} has key format {found!r}, this version reads {FORMAT!r}")
    pair = KeyPair.from_seed(seed)
    if fingerprint != hashlib.sha256(pair.public_key).hexdigest() or len(address) != ADDRESS_BYTES:
        raise ParameterError(f"{path} is damaged: its seed does not give its public key")
    return StoredKey(name, address, pair)


def list_keys(data: Path) -> tuple[str, ...]:
    """Returns the names of the stored keys, sorted."""
    names = (path.stem for path in (data / FOLDER).glob("*.json"))
    return tuple(sorted(name for name in names if _NAME.fullmatch(name)))


def key_path(data: Path, name: str) -> Path:
    """Returns where a wallet's key is stored.

    Raises:
        ParameterError: The name is not allowed.
    """
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"a wallet's name is made of a-z, 0-9, - and _, at most 64 of them, got {name!r}"
        )
    return data / FOLDER / f"{name}.json"


def _write_new(path: Path, content: bytes) -> None:
    """Writes a file that did not exist, durable when it returns, never readable by others."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # unlike a rename it fails when the name is taken
    finally:
        partial.unlink()
