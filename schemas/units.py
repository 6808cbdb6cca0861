"""Words, limbs, indices and amounts: the sizes that every record, the executor and the circuit share.

Money is unsigned, below 2^60, in units of 1e-9 ECLIPT. A fee is below 2^30 in units of 1e-6 ECLIPT.
Both are cut into 15-bit limbs, because in a field of 31 bits a sum of two 30-bit halves can wrap.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from schemas.errors import ParameterError

MODULUS = 2**31 - 2**24 + 1
"""The KoalaBear prime: an element of a word is a residue below it."""

WORD_ELEMENTS = 8
"""Field elements in a word: a digest, an account cell, a list entry."""

WORD_BYTES = 32
"""A word in canonical bytes: eight little-endian 32-bit residues."""

ZERO_WORD = bytes(WORD_BYTES)
"""The word of an empty cell."""

LIMB_BITS = 15
"""Bits in a limb: a table of 2^15 values checks one, and limb sums stay far below the modulus."""

LIMB_LIMIT: int = 1 << LIMB_BITS
"""Limbs are below this."""

AMOUNT_LIMBS = 4
"""Limbs in an amount, lowest first."""

AMOUNT_LIMIT: int = 1 << (LIMB_BITS * AMOUNT_LIMBS)
"""Amounts are below 2^60 units of 1e-9 ECLIPT."""

FEE_LIMIT = 2**30
"""Fees are below 2^30 units of 1e-6 ECLIPT."""

FEE_UNIT = 1000
"""Amount units in one fee unit."""

ARRAY_DEPTH = 30
"""Levels of a state array: 2^30 < MODULUS, so no two leaves answer to one field index."""

INDEX_LIMIT: int = 1 << ARRAY_DEPTH
"""Indices, nonces, slots, heights and counters are below 2^30."""

SPAN_LIMIT = 2**29
"""Distances added to an index or a slot are below 2^29: 2^30 + 2^29 < MODULUS, so the sum cannot wrap.

It bounds the accounts of a registry, and the slots between two blocks.
"""

EXPIRY_SPAN = 2**15
"""A transaction is valid while `expiry - slot` is in [0, 2^15)."""

BLOCK_TRANSACTIONS_LIMIT = 2**15
"""A block holds fewer user transactions than this, so that its fee sum stays below 2^45."""

SHARD_LIMIT = 2**16
"""Numbers of shards are below this."""

WINDOW_GAP_BITS = 24
"""A window follows by 1 .. 2^24 on the one before, 16 years of 30 seconds. So far below P a number that is smaller
than another does not pass for one that is greater, as with 30 bits it could: P - 2^30 is below 2^30."""

MAX_WINDOW_GAP: int = 1 << WINDOW_GAP_BITS
"""No window follows later than this on the one before, and no run has more windows."""

SUPPLY_CAP = AMOUNT_LIMIT - 1
"""What may be issued on a chain, and what all cells of each shard hold together: the largest amount."""

ADDRESS_BYTES = 20
"""Bytes of an address."""

PUBLIC_KEY_BYTES = 1312
"""Bytes of an ML-DSA-44 public key."""

SIGNATURE_BYTES = 2420
"""Bytes of an ML-DSA-44 signature."""


class Array(IntEnum):
    """The word arrays of a shard; the numbers stand in every proof."""

    ACC = 1
    KEY = 2
    PRV = 3
    MAX = 4
    NUL = 5
    ANC = 6
    OUT = 7
    INB = 8
    TXS = 9
    CLM = 10


STATE_ARRAYS = (
    Array.ACC,
    Array.KEY,
    Array.PRV,
    Array.MAX,
    Array.NUL,
    Array.ANC,
    Array.OUT,
    Array.INB,
)
"""Arrays whose roots make the state root; TXS and CLM are lists of one window."""


LINK_ARRAYS = (Array.OUT, Array.INB)
"""Arrays of links: one cell per other shard, the head of a chain of words."""


class ReservedCell(IntEnum):
    """Account cells that belong to the ledger itself."""

    RESERVE = 0
    PROPOSER_POOL = 1
    ESCROW = 2
    BURNED = 3
    PRIVATE_POOL = 4
    MAX_POOL = 5
    TRANSIT = 6


FIRST_ACCOUNT = 16
"""Lowest index of a user's account; cells below it are reserved."""


def issuable(shards: int) -> int:
    """Returns what a shard's reserve holds before anything is issued: its part of the cap.

    The rest of the cap lies in the shard's TRANSIT cell, so that it covers all that can ever arrive.
    """
    return SUPPLY_CAP // shards


def limbs_of(value: int, count: int = AMOUNT_LIMBS) -> tuple[int, ...]:
    """Cuts a value into 15-bit limbs, lowest first.

    Raises:
        ParameterError: The value is negative or does not fit `count` limbs.
    """
    if not 0 <= value < 1 << (LIMB_BITS * count):
        raise ParameterError(f"{value} does not fit {count} limbs of {LIMB_BITS} bits")
    return tuple(
        [(value >> shift) & (LIMB_LIMIT - 1) for shift in range(0, LIMB_BITS * count, LIMB_BITS)]
    )


def value_of(limbs: tuple[int, ...]) -> int:
    """Inverse of `limbs_of`."""
    return sum(limb << (LIMB_BITS * j) for j, limb in enumerate(limbs))


_WORD = Struct(f"<{WORD_ELEMENTS}I")
"""A word as bytes: eight little-endian residues."""


def word_bytes(elements: tuple[int, ...]) -> bytes:
    """Returns the canonical bytes of a word.

    Raises:
        ParameterError: There are not eight elements, or one is not a canonical residue.
    """
    if len(elements) != WORD_ELEMENTS or not 0 <= min(elements) <= max(elements) < MODULUS:
        raise ParameterError(f"{elements} is not a word of eight residues")
    return _WORD.pack(*elements)


def word_elements(data: bytes) -> tuple[int, ...]:
    """Inverse of `word_bytes`.

    Raises:
        ParameterError: The bytes are not a canonical word.
    """
    if len(data) != WORD_BYTES:
        raise ParameterError(f"a word has {WORD_BYTES} bytes, got {len(data)}")
    elements: tuple[int, ...] = _WORD.unpack(data)
    if max(elements) >= MODULUS:
        raise ParameterError("a word holds a non-canonical residue")
    return elements
