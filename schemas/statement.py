"""What a segment's proof says: where the ledger stood before and after, as one canonical preimage.

The statement digest is `hash_bytes("segment", preimage)` in the proving package. The public inputs of the
circuit are the statement's own fields as field elements, then three words: the statement digest,
`vk_self` and `payee`. The circuit binds the fields; the verifier computes the digest from them. All three
words are absorbed by the transcript with the other publics, so a proof names its payee for good.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.units import (
    BLOCK_TRANSACTIONS_LIMIT,
    INDEX_LIMIT,
    LIMB_LIMIT,
    SHARD_LIMIT,
    WORD_BYTES,
    ZERO_WORD,
    Array,
    limbs_of,
    value_of,
    word_elements,
)
from schemas.wire import Reader, Writer

STATEMENT_VERSION = 2
"""First byte of the preimage."""

FEE_SUM_LIMBS = 3
"""Limbs of the open block's fee sum, lowest first: fewer than 2^15 fees below 2^30."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where the ledger stands between two transactions.

    Attributes:
        height: Height of the last settled block, < 2^30.
        slot: Slot of the open block, or of the last settled one when no block is open, < 2^30.
        sequence: Words in the window's TXS list, < 2^30.
        keys: Words in KEY, which is also the next account's index, < 2^30.
        block_transactions: User transactions in the open block, < 2^15.
        fee_sum: Their fees, in fee units, < 2^45.
        roots: One word per array, in the order of `Array`.
    """

    height: int
    slot: int
    sequence: int
    keys: int
    block_transactions: int
    fee_sum: int
    roots: tuple[bytes, ...]

    def root(self, array: Array) -> bytes:
        """Returns the root of an array."""
        return self.roots[array - 1]

    def counters(self) -> tuple[int, ...]:
        """Returns the counters as the circuit sees them: five numbers and three fee limbs."""
        return (
            self.height,
            self.slot,
            self.sequence,
            self.keys,
            self.block_transactions,
            *limbs_of(self.fee_sum, FEE_SUM_LIMBS),
        )

    def write(self, writer: Writer) -> None:
        """Appends the canonical form."""
        for counter in self.counters():
            writer.u32(counter)
        for root in self.roots:
            writer.fixed(root, WORD_BYTES)


@dataclass(frozen=True, slots=True)
class SegmentStatement:
    """The statement of one segment.

    Attributes:
        chain: Chain number, < 2^30.
        shard: Shard, < `shards`.
        shards: Number of the chain's shards, < 2^16.
        window: Window number, < 2^30.
        segment: Position in the window's chain of segments, from 0.
        before: Where the segment begins.
        after: Where it ends.
    """

    chain: int
    shard: int
    shards: int
    window: int
    segment: int
    before: Boundary
    after: Boundary

    def preimage(self) -> bytes:
        """Returns the canonical bytes whose hash is the statement digest."""
        writer = Writer().u8(STATEMENT_VERSION)
        for number in (self.chain, self.shard, self.shards, self.window, self.segment):
            writer.u32(number)
        self.before.write(writer)
        self.after.write(writer)
        return writer.finish()


NUM_COUNTERS = 5 + FEE_SUM_LIMBS
"""Public elements of a boundary before its roots."""

BOUNDARY_ELEMENTS = NUM_COUNTERS + 8 * len(Array)
"""Public elements of a boundary."""

SHARD_OFFSET = 1
"""Place of the shard's number among the public inputs."""

SHARDS_OFFSET = 2
"""Place of the number of shards."""

BEFORE_OFFSET = 5
"""Public inputs start with chain, shard, shards, window, segment; then the boundary before."""

AFTER_OFFSET = BEFORE_OFFSET + BOUNDARY_ELEMENTS
"""Where the boundary after begins."""

DIGEST_OFFSET = AFTER_OFFSET + BOUNDARY_ELEMENTS
"""Where the three public words begin: statement digest, vk_self, payee."""

NUM_PUBLICS = DIGEST_OFFSET + 24
"""Public inputs of a segment's proof."""


def publics_of(
    statement: SegmentStatement, digest: bytes, vk_self: bytes = ZERO_WORD, payee: bytes = ZERO_WORD
) -> list[int]:
    """Returns the public inputs of a segment's proof, canonical residues.

    Args:
        statement: The statement.
        digest: Its digest, a word.
        vk_self: Word of the verifying key that a recursion passes through; zero in a segment of its own.
        payee: Word that binds prover, job and epoch.

    Raises:
        ParameterError: One of the words is not canonical.
    """
    elements = [statement.chain, statement.shard, statement.shards]
    elements += [statement.window, statement.segment]
    for boundary in (statement.before, statement.after):
        elements.extend(boundary.counters())
        for root in boundary.roots:
            elements.extend(word_elements(root))
    for word in (digest, vk_self, payee):
        elements.extend(word_elements(word))
    return elements


def read_boundary(reader: Reader, name: str) -> Boundary:
    """Reads what `Boundary.write` wrote.

    Raises:
        WireError: A field is missing or outside its range.
    """
    height, slot, sequence, keys = (
        reader.u32(f"{name}.{field}", INDEX_LIMIT)
        for field in ("height", "slot", "sequence", "keys")
    )
    count = reader.u32(f"{name}.block_transactions", BLOCK_TRANSACTIONS_LIMIT)
    limbs = tuple(reader.u32(f"{name}.fee_sum[{j}]", LIMB_LIMIT) for j in range(FEE_SUM_LIMBS))
    roots = tuple(reader.word(f"{name}.root.{array.name}") for array in Array)
    return Boundary(height, slot, sequence, keys, count, value_of(limbs), roots)


def decode_statement(data: bytes) -> SegmentStatement:
    """Reads a statement; inverse of `SegmentStatement.preimage`.

    Raises:
        WireError: The bytes are not the canonical form of a statement.
    """
    reader = Reader(data, "statement")
    version = reader.u8("version")
    if version != STATEMENT_VERSION:
        raise reader.fail("version", f"expected {STATEMENT_VERSION}, got {version}")
    chain = reader.u32("chain", INDEX_LIMIT)
    shard = reader.u32("shard", SHARD_LIMIT)
    shards = reader.u32("shards", SHARD_LIMIT)
    window = reader.u32("window", INDEX_LIMIT)
    segment = reader.u32("segment", INDEX_LIMIT)
    before = read_boundary(reader, "before")
    after = read_boundary(reader, "after")
    reader.finish()
    return SegmentStatement(chain, shard, shards, window, segment, before, after)


def statement_of_publics(publics: list[int]) -> SegmentStatement:
    """Reads the statement out of a proof's public inputs.

    Raises:
        WireError: There are not `NUM_PUBLICS` values, or one is outside its field's range.
    """
    writer = Writer().u8(STATEMENT_VERSION)
    fields = publics[:DIGEST_OFFSET]
    reader = Reader(b"", "publics")
    if len(publics) != NUM_PUBLICS:
        raise reader.fail("length", f"expected {NUM_PUBLICS} values, got {len(publics)}")
    for position, value in enumerate(fields):
        if not 0 <= value < 1 << 32:
            raise reader.fail(f"[{position}]", "is not a field element")
        writer.u32(value)
    return decode_statement(writer.finish())


def boundary_rules(statement: SegmentStatement) -> str | None:
    """Returns which rule between a segment's two boundaries fails, or None.

    As `order_rules`, and the window's list grows. (The circuit shows this and the order of time as well; they
    are checked here so that a bad statement is named early.)
    """
    if statement.after.sequence <= statement.before.sequence:
        return order_rules(statement) or "sequence does not grow"
    return order_rules(statement)


def order_rules(statement: SegmentStatement) -> str | None:
    """Returns which rule between two boundaries fails, over any number of windows, or None.

    The shard is one of the chain's, time does not run back, the registry does not shrink, and arrays that no
    step touches keep their roots.
    """
    before, after = statement.before, statement.after
    if statement.shard >= statement.shards:
        return "there is no such shard"
    for name in ("height", "slot", "keys"):
        if getattr(after, name) < getattr(before, name):
            return f"{name} falls"
    for array in UNTOUCHED_ARRAYS:
        if before.root(array) != after.root(array):
            return f"{array.name} changes"
    return None


TOUCHED_ARRAYS = (Array.ACC, Array.KEY, Array.OUT, Array.INB, Array.TXS)
"""Arrays that today's steps write."""

UNTOUCHED_ARRAYS = tuple(array for array in Array if array not in TOUCHED_ARRAYS)
"""Arrays whose roots a segment carries unchanged."""
