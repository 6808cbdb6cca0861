"""The state of fraud as canonical bytes, for snapshots: every table in the order of its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from operators.fraud_state import (
    BlockFacts,
    BlockRecord,
    Claim,
    Fate,
    FaultKind,
    FraudState,
    ShardMarks,
)
from operators.rule_state import Books, Pot, PotKind, Table
from schemas.wire import Reader, Writer

ID_BYTES = 2**16
"""Most bytes of an id."""

UNIT_BYTES = 16
"""Bytes of an amount: pots hold sums of amounts."""

_FATES = tuple(Fate)
_KINDS = tuple(FaultKind)
_POTS = tuple(PotKind)


K = TypeVar("K", bytes, int, Pot)
V = TypeVar("V")


def write_fraud(writer: Writer, state: FraudState) -> None:
    """Appends a state of fraud.

    Raises:
        ParameterError: A number does not fit its field.
    """
    writer.uint(state.books.inflow, UNIT_BYTES).uint(state.books.outflow, UNIT_BYTES)
    _write_table(writer, state.books.pots, _write_pot, _write_units)
    writer.u64(state.epoch)
    _write_table(writer, state.blocks, _write_id, _write_record)
    _write_table(writer, state.shards, _write_count, _write_marks)
    _write_table(writer, state.pending, _write_id, _write_claim)
    _write_table(writer, state.judged, _write_id, _write_id)
    _write_table(writer, state.punished, _write_id, _write_id)
    _write_table(writer, state.unbonding, _write_id, _write_count)


def read_fraud(reader: Reader) -> FraudState:
    """Reads what `write_fraud` wrote.

    Raises:
        WireError: A field is missing or outside its range, or a table is not in the order of its keys.
    """
    inflow, outflow = reader.uint("inflow", UNIT_BYTES), reader.uint("outflow", UNIT_BYTES)
    books = Books(_read_table(reader, "pots", _read_pot, _read_units), inflow, outflow)
    return FraudState(
        books,
        reader.u64("epoch"),
        _read_table(reader, "blocks", _read_id, _read_record),
        _read_table(reader, "shards", _read_count, _read_marks),
        _read_table(reader, "pending", _read_id, _read_claim),
        _read_table(reader, "judged", _read_id, _read_id),
        _read_table(reader, "punished", _read_id, _read_id),
        _read_table(reader, "unbonding", _read_id, _read_count),
    )


def _write_table(
    writer: Writer,
    table: Table[K, V],
    write_key: Callable[[Writer, K], None],
    write_value: Callable[[Writer, V], None],
) -> None:
    writer.u32(len(table))
    for key in table:
        write_key(writer, key)
        write_value(writer, table[key])


def _read_table(
    reader: Reader, name: str, read_key: Callable[[Reader], K], read_value: Callable[[Reader], V]
) -> Table[K, V]:
    entries: dict[K, V] = {}
    last: K | None = None
    for _ in range(reader.u32(name)):
        key = read_key(reader)
        if last is not None and not last < key:
            raise reader.fail(name, "keys do not rise")
        entries[key] = read_value(reader)
        last = key
    return Table(entries)


def _write_id(writer: Writer, name: bytes) -> None:
    writer.sized(name)


def _read_id(reader: Reader) -> bytes:
    return reader.sized("id", ID_BYTES)


def _write_count(writer: Writer, count: int) -> None:
    writer.u64(count)


def _read_count(reader: Reader) -> int:
    return reader.u64("count")


def _write_units(writer: Writer, units: int) -> None:
    writer.uint(units, UNIT_BYTES)


def _read_units(reader: Reader) -> int:
    return reader.uint("units", UNIT_BYTES)


def _write_pot(writer: Writer, pot: Pot) -> None:
    kind = pot.kind.value.encode()
    writer.u8(len(kind)).fixed(kind, len(kind)).sized(pot.owner)


def _read_pot(reader: Reader) -> Pot:
    kind = reader.fixed("pot", reader.u8("pot"))
    found = next((known for known in _POTS if known.value.encode() == kind), None)
    if found is None:
        raise reader.fail("pot", f"there is none of kind {kind!r}")
    return Pot(found, _read_id(reader))


def _write_facts(writer: Writer, facts: BlockFacts) -> None:
    writer.u64(facts.shard).u64(facts.height).sized(facts.id).sized(facts.parent)
    writer.u64(facts.slot).u64(facts.view).u64(facts.epoch).sized(facts.proposer)
    writer.u32(len(facts.sources))
    for source in facts.sources:
        writer.sized(source)
    _write_units(writer, facts.value)


def _read_facts(reader: Reader) -> BlockFacts:
    shard, height = reader.u64("shard"), reader.u64("height")
    name, parent = _read_id(reader), _read_id(reader)
    slot, view, epoch = reader.u64("slot"), reader.u64("view"), reader.u64("epoch")
    proposer = _read_id(reader)
    sources = tuple(_read_id(reader) for _ in range(reader.u32("sources")))
    value = _read_units(reader)
    return BlockFacts(shard, height, name, parent, slot, view, epoch, proposer, sources, value)


def _write_record(writer: Writer, record: BlockRecord) -> None:
    _write_facts(writer, record.facts)
    writer.u64(record.since).u8(_FATES.index(record.fate))
    writer.u8(record.is_shown).u8(record.is_proven).u8(record.is_convicted)


def _read_record(reader: Reader) -> BlockRecord:
    facts, since = _read_facts(reader), reader.u64("since")
    fate = _FATES[reader.u8("fate", len(_FATES))]
    marks = [bool(reader.u8(name, 2)) for name in ("is_shown", "is_proven", "is_convicted")]
    return BlockRecord(facts, since, fate, *marks)


def _write_marks(writer: Writer, marks: ShardMarks) -> None:
    writer.sized(marks.tip).u64(marks.height).u64(marks.slot)
    writer.u64(marks.view + 1).u64(marks.epoch)


def _read_marks(reader: Reader) -> ShardMarks:
    tip, height, slot = _read_id(reader), reader.u64("height"), reader.u64("slot")
    return ShardMarks(tip, height, slot, reader.u64("view") - 1, reader.u64("epoch"))


def _write_claim(writer: Writer, claim: Claim) -> None:
    writer.sized(claim.id).sized(claim.reporter).u8(_KINDS.index(claim.kind))
    writer.sized(claim.block).u64(claim.epoch).u64(claim.evidence_bytes)


def _read_claim(reader: Reader) -> Claim:
    name, reporter = _read_id(reader), _read_id(reader)
    kind = _KINDS[reader.u8("kind", len(_KINDS))]
    return Claim(name, reporter, kind, _read_id(reader), reader.u64("epoch"), reader.u64("bytes"))
