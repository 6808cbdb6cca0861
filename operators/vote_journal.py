"""The file in which a validator keeps its own signatures: on stable storage before anybody sees them.

Layout: a header (magic, 32-byte identity, checksum), then records: length (u32), floor (u64), CRC-32 of both
and of the body, body. A torn last record is cut off on opening; a damaged record before others is an error.
Compaction writes a new file beside the old one and renames it. One process owns the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from schemas.errors import NO_SPACE, EclipticaError, ParameterError

MAGIC = b"ecliptica-votes-1\n"

MAX_RECORD_BYTES = 16 << 20
"""Bytes of one record, that of the longest message."""

_HEADER_TAIL = struct.Struct("<32sI")
_RECORD = struct.Struct("<IQI")
_CHECKED = struct.Struct("<IQ")


class JournalError(EclipticaError):
    """The journal cannot be used or written; the validator must not sign.

    Attributes:
        reason: `locked`, `foreign`, `missing`, `damaged`, `disk_full`, `read_only`, `closed` or `failed`.
    """

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(f"{reason}: {message}", hint)
        self.reason = reason
        self.may_pass = reason == "disk_full"


def _failure(error: OSError, path: Path) -> JournalError:
    if error.errno in NO_SPACE:
        return JournalError("disk_full", f"{path} cannot grow", "free space and start again")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return JournalError("read_only", f"{path} cannot be written", "check mount and owner")
    return JournalError("failed", f"{path}: {error.strerror or error}")


def _frame(floor: int, body: bytes) -> bytes:
    checked = _CHECKED.pack(len(body), floor)
    return _RECORD.pack(len(body), floor, zlib.crc32(body, zlib.crc32(checked))) + body


def _header(identity: bytes) -> bytes:
    return MAGIC + _HEADER_TAIL.pack(identity, zlib.crc32(MAGIC + identity))


HEADER_BYTES = len(MAGIC) + _HEADER_TAIL.size


class VoteJournal:
    """An open journal; close it, or use it in a `with` statement.

    Attributes:
        path: The file.
        records: What it held when it was opened, in order.
        floor: Views up to here were forgotten by a compaction and must never be signed in again.
        torn_bytes: Bytes of a torn last record that were cut off on opening.
    """

    def __init__(self, path: Path, identity: bytes, *, must_exist: bool = False) -> None:
        """Opens or creates the journal of one validator and takes ownership of it.

        Args:
            path: The file; its directory exists.
            identity: 32 bytes that name chain, shard and key, so that no other validator's file is taken.
            must_exist: Whether the validator has voted before, so that an absent journal is a lost one.

        Raises:
            ParameterError: The identity has not 32 bytes.
            JournalError: Another process owns it, it is another validator's, it is lost or damaged, or the disk
                refuses.
        """
        if len(identity) != 32:
            raise ParameterError("a journal's identity has 32 bytes")
        self.path = path
        self.floor = 0
        self.records: tuple[bytes, ...] = ()
        self.torn_bytes = 0
        self._identity = identity
        self._broken = False
        self._lock = self._take_lock()
        self._file = -1
        try:
            self._open(must_exist=must_exist)
        except OSError as error:
            self.close()
            raise _failure(error, path) from error
        except JournalError:
            self.close()
            raise

    def _take_lock(self) -> int:
        lock_path = self.path.with_name(self.path.name + ".lock")
        try:
            lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failure(error, lock_path) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            hint = "two processes with one key would contradict each other"
            raise JournalError("locked", f"{self.path} belongs to another process", hint) from error
        return lock

    def _open(self, *, must_exist: bool) -> None:
        if must_exist and not self.path.exists():
            raise JournalError(
                "missing",
                f"{self.path} is gone: without it this validator could contradict votes it has signed",
                "restore the file, or replace the validator by one with a new key",
            )
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = self.path.read_bytes()
        header = _header(self._identity)
        if len(data) < HEADER_BYTES and header.startswith(data):
            self._write_at(0, header)
            self._sync_directory()
            return
        self._check_header(data[:HEADER_BYTES], header)
        end = self._read(data)
        self.torn_bytes = len(data) - end
        if self.torn_bytes:
            os.ftruncate(self._file, end)
            os.fsync(self._file)
        os.lseek(self._file, end, os.SEEK_SET)

    def _check_header(self, found: bytes, expected: bytes) -> None:
        if found == expected:
            return
        tail = found[len(MAGIC) :]
        if found.startswith(MAGIC) and len(tail) == _HEADER_TAIL.size:
            identity, checksum = _HEADER_TAIL.unpack(tail)
            if checksum == zlib.crc32(MAGIC + identity):
                hint = "each validator has its own data directory"
                raise JournalError("foreign", f"{self.path} is another validator's", hint)
        raise JournalError("damaged", f"{self.path} is not a vote journal")

    def _read(self, data: bytes) -> int:
        records = []
        position = HEADER_BYTES
        while position < len(data):
            if len(data) - position < _RECORD.size:
                break
            length, floor, checksum = _RECORD.unpack_from(data, position)
            end = position + _RECORD.size + length
            whole = length <= MAX_RECORD_BYTES and end <= len(data)
            body = data[position + _RECORD.size : end] if whole else b""
            if not whole or zlib.crc32(body, zlib.crc32(_CHECKED.pack(length, floor))) != checksum:
                self._refuse_damage(data, position)
                break
            self.floor = max(self.floor, floor)
            if body:
                records.append(body)
            position = end
        self.records = tuple(records)
        return position

    def _refuse_damage(self, data: bytes, position: int) -> None:
        """Raises when a whole record follows the bad one: that is damage, not a torn write."""
        for start in range(position + 1, len(data) - _RECORD.size + 1):
            length, floor, checksum = _RECORD.unpack_from(data, start)
            end = start + _RECORD.size + length
            if length == 0 or length > MAX_RECORD_BYTES or end > len(data):
                continue
            body = data[start + _RECORD.size : end]
            if zlib.crc32(body, zlib.crc32(_CHECKED.pack(length, floor))) == checksum:
                hint = "restore it, or rejoin with a new key: signing without it may contradict old votes"
                raise JournalError("damaged", f"{self.path} is damaged at byte {position}", hint)

    def append(self, records: Sequence[bytes]) -> None:
        """Puts records on stable storage, in one write; when it returns they survive a crash.

        After a failure the journal refuses everything: what is on disk is known only after opening it again.

        Raises:
            ParameterError: A record is empty or too long.
            JournalError: The disk refused; nothing that rests on the records may be published.
        """
        if not all(0 < len(record) <= MAX_RECORD_BYTES for record in records):
            raise ParameterError(f"a journal record has 1..{MAX_RECORD_BYTES} bytes")
        self._refuse_if_broken()
        data = b"".join(_frame(self.floor, record) for record in records)
        try:
            self._write(data)
        except OSError as error:
            self._broken = True
            raise _failure(error, self.path) from error

    def compact(self, floor: int, records: Sequence[bytes]) -> None:
        """Replaces the file by one that holds a floor and the records still needed above it.

        Raises:
            ParameterError: The floor would fall.
            JournalError: The disk refused; the old file is still whole.
        """
        if floor < self.floor:
            raise ParameterError(f"the floor is {self.floor} and cannot fall to {floor}")
        self._refuse_if_broken()
        body = b"".join(_frame(floor, record) for record in (b"", *records))
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            replacement = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            old, self._file = self._file, replacement
            os.close(old)
            self._write_at(0, _header(self._identity) + body)
            fresh.replace(self.path)
            self._sync_directory()
        except OSError as error:
            self._broken = True
            with suppress(OSError):
                fresh.unlink(
                    missing_ok=True
                )  # what was written of it takes the room that is wanted
            raise _failure(error, self.path) from error
        self.floor = floor

    def close(self) -> None:
        """Gives the file back; a second call does nothing."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def __enter__(self) -> VoteJournal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse_if_broken(self) -> None:
        if self._file < 0:
            raise JournalError("closed", f"{self.path} is closed")
        if self._broken:
            raise JournalError("failed", f"{self.path} failed before", "start the validator again")

    def _write_at(self, position: int, data: bytes) -> None:
        os.lseek(self._file, position, os.SEEK_SET)
        self._write(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fsync(self._file)

    def _sync_directory(self) -> None:
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
