"""What a circuit's rows do, as plain records in the order in which they can be computed.

The builder writes a tape; `wiring` turns it into preprocessed columns, `execution` computes every value, and
`trace` writes them into rows. Addresses of elements and of words are two separate, dense spaces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

Element = NewType("Element", int)
"""Address of a challenge-field element."""

Word = NewType("Word", int)
"""Address of a word; the first ones are the public words."""

NOTHING = -1
"""In place of an address or a position: this slot is not used."""


class Unknown(IntEnum):
    """Which side of a multiply-add is computed from the others."""

    RESULT = 0
    FACTOR = 1
    NONE = 2


class Source(IntEnum):
    """Where the cells of a row that moves elements and words come from."""

    INPUT = 0
    ELEMENTS = 1
    WORDS = 2


@dataclass(frozen=True, slots=True)
class MultiplyAdd:
    """(k0 a + k6 c) b + k1 a + k2 b + k3 c + k4 = k5 out.

    Attributes:
        slots: Addresses of a, b, c and out.
        weights: k0 .. k6, residues.
        unknown: Which of them the row defines: `RESULT` out, `FACTOR` b (with k0 = k5 = 1, k1 .. k4 = 0).
        what: Claim shown when it does not hold.
        level: Everything it reads is known after this many rounds.
    """

    slots: tuple[int, int, int, int]
    weights: tuple[int, int, int, int, int, int, int]
    unknown: Unknown
    what: str
    level: int


@dataclass(frozen=True, slots=True)
class Move:
    """The same 40 cells as eight elements and as five words.

    Attributes:
        elements: Eight addresses.
        words: Five addresses.
        written: How many of the elements, the first ones, this row writes; it reads the others.
        source: Which side is known.
        positions: Inputs that fill the cells, if that is the source; 40.
        level: As above.
    """

    elements: tuple[int, ...]
    words: tuple[int, ...]
    written: int
    source: Source
    positions: tuple[int, ...]
    level: int


@dataclass(frozen=True, slots=True)
class Reduction:
    """One word of a sum of cells weighted with powers of g, see `air`; the next row continues it.

    Attributes:
        word: Address of the row's word.
        positions: Inputs that fill it, if this row writes it; 8.
        powers: Addresses of g, g^2, g^3, g^4.
        total: Address of the accumulator, on the chain's first row.
        continues: Whether the next row's accumulator is carried in.
        level: As above.
    """

    word: int
    positions: tuple[int, ...]
    powers: tuple[int, int, int, int]
    total: int
    continues: bool
    level: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Four coefficients of a polynomial at a point, see `air`; the next row continues it.

    Attributes:
        coefficients: Four addresses.
        variable: Address of the point.
        square: Address of its square.
        total: Address of the accumulator, on the chain's first row.
        continues: Whether the next row's accumulator is carried in.
        level: As above.
    """

    coefficients: tuple[int, ...]
    variable: int
    square: int
    total: int
    continues: bool
    level: int


@dataclass(frozen=True, slots=True)
class Split:
    """An element and its five coordinates as base elements.

    Attributes:
        whole: Address.
        parts: Five addresses.
        joins: The parts are known and the whole is computed.
        level: As above.
    """

    whole: int
    parts: tuple[int, ...]
    joins: bool
    level: int


@dataclass(frozen=True, slots=True)
class Bits:
    """Six bits off a base element.

    Attributes:
        value: Address.
        bits: Six addresses, lowest first.
        rest: Address of value >> 6.
        level: As above.
    """

    value: int
    bits: tuple[int, ...]
    rest: int
    level: int


class Step(IntEnum):
    """What a row of the permutation lane begins with."""

    FRESH = 0
    ABSORB = 1
    CLIMB = 2
    GIVEN = 3


@dataclass(slots=True)
class Permutation:
    """A row of the permutation lane; its predecessor is the row before it in its chain.

    Attributes:
        step: How the state comes about.
        word: Address of the rate; `NOTHING` if it climbs, is given, or takes the rate from the input.
        width: Last element of a fresh state.
        siblings: Inputs that are the sibling of a climb, what a given row shows, or the rate; 8.
        shown: Address of the first word after, or `NOTHING`.
        rest: Address of the remaining index, read here, or `NOTHING`.
        tree: Number of the tree whose cap this row offers or meets.
        position: Entry of the cap that it offers, or `NOTHING`.
        meets_cap: The digest shown is the cap's entry at the remaining index.
        level: As above.
    """

    step: Step
    word: int
    width: int
    siblings: tuple[int, ...]
    shown: int
    rest: int
    tree: int
    position: int
    meets_cap: bool
    level: int


@dataclass(frozen=True, slots=True)
class Extent:
    """How many records of each kind a tape holds at some moment."""

    multiply_adds: int
    moves: int
    splits: int
    bits: int
    reductions: int
    evaluations: int
    chains: int


@dataclass(slots=True)
class Tape:
    """Everything a circuit does.

    Attributes:
        num_publics: Public words; they have the first addresses.
        num_inputs: Private inputs, base elements.
        multiply_adds, moves, splits, bits: Rows of the arithmetic lane in any order.
        reductions, evaluations: Chains of such rows.
        chains: Chains of rows of the permutation lane.
        trees: Names of the trees whose caps the circuit offers; their numbers count from 1.
        verifications: Where the verification of each proof begins and ends, in the order of the proofs.
        element_levels, word_levels: When an address is known; their lengths are the sizes of the spaces.
    """

    num_publics: int
    num_inputs: int
    multiply_adds: list[MultiplyAdd] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)
    bits: list[Bits] = field(default_factory=list)
    reductions: list[list[Reduction]] = field(default_factory=list)
    evaluations: list[list[Evaluation]] = field(default_factory=list)
    chains: list[list[Permutation]] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    verifications: list[tuple[Extent, Extent]] = field(default_factory=list)
    element_levels: list[int] = field(default_factory=list)
    word_levels: list[int] = field(default_factory=list)

    @property
    def extent(self) -> Extent:
        """How much has been written."""
        return Extent(
            multiply_adds=len(self.multiply_adds),
            moves=len(self.moves),
            splits=len(self.splits),
            bits=len(self.bits),
            reductions=len(self.reductions),
            evaluations=len(self.evaluations),
            chains=len(self.chains),
        )

    @property
    def arithmetic_rows(self) -> int:
        """Rows of the arithmetic lane."""
        single = len(self.moves) + len(self.splits) + len(self.bits)
        chained = sum(map(len, self.reductions)) + sum(map(len, self.evaluations))
        return (len(self.multiply_adds) + 1) // 2 + single + chained

    @property
    def permutation_rows(self) -> int:
        """Rows of the permutation lane."""
        return sum(map(len, self.chains))
