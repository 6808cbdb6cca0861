"""`ecliptica validator backup` and `restore`: a validator's key and snapshots, and a journal that cannot vote twice.

A backup holds no vote journal: an old journal is worse than none, because it lets a validator sign again where it has
signed since. `restore` makes new ones, with a floor above every view in which the validator may have signed
(`operators.safe_floor`).
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.consensus_node import NodeIdentity, beacon_topics, message_topics
from operators.event_log import EventLog
from operators.log_genesis import require_chain
from operators.safe_floor import MARGIN_VIEWS, SignedViews, safe_floor, signed_views
from operators.validator import identity_of
from operators.vote_journal import VoteJournal
from pipelines.chain_setup import VALIDATOR_KEY, genesis_path, validator_directory, validator_key
from pipelines.key_store import OWNER_ONLY, key_path
from schemas.errors import DiskRefuses, EclipticaError, ParameterError
from schemas.genesis import Genesis, encode_key, load_genesis
from schemas.topics import BEACON_SHARD

FORMAT = "ecliptica-validator-backup-1"
HEAD = "backup.json"
GENESIS = "genesis.json"
MAX_MEMBER_BYTES = 2**31

QUIET_SECONDS = 60
"""A validator that has signed so recently, by the log's clock, may still run elsewhere: a vote comes every few seconds
while blocks are made."""


@dataclass(frozen=True, slots=True)
class Journals:
    """One journal that a restore makes.

    Attributes:
        path: Its file.
        identity: Committee and seat.
        topics: Where its committee talks.
    """

    path: Path
    identity: NodeIdentity
    topics: Mapping[str, str]


def back_up(data: Path, index: int, out: Path) -> dict[str, Any]:
    """Writes genesis document, key and snapshots of a validator into one file that only its owner reads.

    The validator may run: snapshots are replaced by renames, and an old one costs nothing but replay.

    Raises:
        ParameterError: There is no such validator, or `out` exists.
    """
    validator_key(data, index)
    directory = validator_directory(data, index)
    snapshots = sorted(directory.glob("*.snapshot"))
    members = {
        HEAD: json.dumps({"format": FORMAT, "index": index}).encode(),
        GENESIS: genesis_path(data).read_bytes(),
        _key_member(): key_path(directory, VALIDATOR_KEY).read_bytes(),
        **{path.name: path.read_bytes() for path in snapshots},
    }
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError as error:
        raise ParameterError(f"{out} exists", "name another file") from error
    except OSError as error:
        raise EclipticaError(f"{out}: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), OWNER_ONLY
            archive.addfile(entry, io.BytesIO(content))
        file.flush()
        os.fsync(file.fileno())
    return {
        "validator": index,
        "file": out,
        "snapshots": len(snapshots),
        "bytes": out.stat().st_size,
    }


def restore(
    data: Path, backup: Path, log: EventLog, now_millis: int, margin: int = MARGIN_VIEWS
) -> dict[str, Any]:
    """Puts a validator back from a backup, with journals that let it sign only where it never has.

    Args:
        data: Data directory; its genesis document is the backup's, or absent.
        backup: From `back_up`.
        log: The log of the chain, complete; read after the old validator has stopped for good.
        now_millis: UTC milliseconds.
        margin: See `operators.safe_floor`.

    Raises:
        ParameterError: The file is no backup, of another chain than the data or the log, or the validator still
            has all its journals.
        EclipticaError: It has signed within `QUIET_SECONDS`, or the log says too little.
    """
    members = _read(backup)
    index = int(json.loads(members[HEAD])["index"])
    genesis = _place_genesis(data, members[GENESIS])
    directory = validator_directory(data, index)
    planned = list(_journals(genesis, index, directory))
    kept = sorted(journal.path.name for journal in planned if journal.path.exists())
    if len(kept) == len(planned) and key_path(directory, VALIDATOR_KEY).exists():
        raise ParameterError(
            f"{directory} has its journals ({', '.join(kept)}), which know more than any backup",
            "start the validator; restore is for one that has lost them",
        )
    floors = {}
    require_chain(log, genesis)
    for journal in planned:
        signed = _signed(log, journal, index, now_millis)
        quorum = journal.identity.committee.validators.quorum
        floors[journal.path] = safe_floor(signed, index, quorum, margin)
    directory.mkdir(parents=True, exist_ok=True)
    for journal in planned:  # before the key: without it nobody votes, however far this came
        _make_journal(journal, index, floors[journal.path])
    _place_files(directory, members, genesis, index)
    return {
        "validator": index,
        "directory": directory,
        "votes_above_view": {path.stem: floor for path, floor in floors.items()},
    }


def _journals(genesis: Genesis, index: int, directory: Path) -> Iterator[Journals]:
    for shard in range(genesis.shards):
        identity = identity_of(genesis, shard, None, None)
        yield Journals(directory / f"shard-{shard}.journal", identity, message_topics(shard))
    beacon = identity_of(genesis, BEACON_SHARD, None, None)
    yield Journals(directory / "beacon.journal", beacon, beacon_topics())


def _signed(log: EventLog, journal: Journals, index: int, now_millis: int) -> SignedViews:
    committee = journal.identity.committee
    signed = signed_views(log, journal.topics.values(), committee, journal.identity.verifier)
    quiet_millis = now_millis - signed.last_millis[index]
    if signed.last_millis[index] and quiet_millis < QUIET_SECONDS * 1000:
        raise EclipticaError(
            f"validator {index} has signed {max(0, quiet_millis) / 1000:.0f} s ago: it seems to run",
            f"stop it for good, wait {QUIET_SECONDS} s, and restore then",
        )
    return signed


def _make_journal(journal: Journals, index: int, floor: int) -> None:
    """Makes a journal with a floor in one rename; one of an earlier attempt keeps what it holds."""
    seat = journal.identity.committee.journal_identity(index)
    draft = journal.path.with_suffix(".draft")
    place = journal.path if journal.path.exists() else draft
    with VoteJournal(place, seat) as opened:
        opened.compact(max(floor, opened.floor), opened.records)
    place.with_name(place.name + ".lock").unlink(missing_ok=True)
    place.rename(journal.path)


def _read(backup: Path) -> dict[str, bytes]:
    """Returns the members of a backup; nothing is unpacked, so no name in it leads anywhere."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(backup, mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is not None and entry.size <= MAX_MEMBER_BYTES:
                    members[entry.name] = content.read()
        is_ours = json.loads(members[HEAD])["format"] == FORMAT
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise ParameterError(f"{backup} is no backup of a validator: {error}") from error
    if not is_ours or GENESIS not in members or _key_member() not in members:
        raise ParameterError(f"{backup} is no backup of a validator")
    return members


def _place_genesis(data: Path, document: bytes) -> Genesis:
    path = genesis_path(data)
    if path.exists() and path.read_bytes() != document:
        raise ParameterError(
            f"{path} is of another chain than the backup", "choose the data directory of its chain"
        )
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        _write_whole(path, document, 0o644)
    return load_genesis(path)


def _place_files(
    directory: Path, members: Mapping[str, bytes], genesis: Genesis, index: int
) -> None:
    """Writes key and snapshots; a key that is there must be the same."""
    key = key_path(directory, VALIDATOR_KEY)
    key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not key.exists():
        _write_whole(key, members[_key_member()], OWNER_ONLY)
    pair = validator_key(directory.parents[1], index)
    if encode_key(pair.public_key) != genesis.validators[index]:
        raise ParameterError(f"{key} is not the key of validator {index} of this chain")
    for name, content in members.items():
        if name.endswith(".snapshot") and Path(name).name == name:
            _write_whole(directory / name, content, 0o644)


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    """Makes a file that is there whole or not at all, also after a power cut.

    Raises:
        DiskRefuses: It is not there; a broken-off attempt does not stand in the way of the next.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise DiskRefuses(path, error) from error


def _key_member() -> str:
    return f"{VALIDATOR_KEY}.json"
