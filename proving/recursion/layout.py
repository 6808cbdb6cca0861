"""Columns and buses of the recursion circuit, shared by constraints, wiring and trace.

Two lanes stand side by side. The *permutation lane* applies Poseidon2 once a row; the *arithmetic lane* holds
40 cells, read as eight challenge-field elements or as five words. What a row does is said by preprocessed
columns, so a circuit is data: the constraints are the same for every program.
"""

from __future__ import annotations

from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD
from proving.arithmetic.poseidon2_integers import EXTERNAL_CONSTANTS, INTERNAL_CONSTANTS
from proving.stark.air import Bus

SLOTS = 8
"""Challenge-field elements in a row of the arithmetic lane."""

CELLS = SLOTS * EXTENSION_DEGREE
"""Base elements in a row of the arithmetic lane: 40."""

ROW_WORDS = CELLS // WORD
"""Words that the same cells make: 5."""

ROW_BITS = 6
"""Bits that one row of kind `bits` takes off a value; two more slots hold the value and the rest."""

TOTAL_SLOT, MIDDLE_SLOT, POWER_SLOTS, WORD_CELLS = 0, 1, range(2, 6), range(CELLS - WORD, CELLS)
"""Of a reduction: accumulator, middle step, g .. g^4, and the cells of its word, which is the row's last."""

FMA_SLOTS = 4
"""Slots of one multiply-add: a, b, c and the result; a row holds two."""

FMA_WEIGHTS = 7
"""Coefficients of a multiply-add: (k0 a + k6 c) b + k1 a + k2 b + k3 c + k4 - k5 out = 0."""

VARIABLE_SLOT, COEFFICIENT_SLOTS, SQUARE_SLOT = 2, (3, 4, 6, 7), 5
"""Of an evaluation, whose accumulator and middle step lie where those of a reduction do: x, c0 .. c3, x^2."""

ELEMENT = Bus("element", 1, 1 + EXTENSION_DEGREE)
"""(address, five coordinates): the address holds this element; written once."""

WORDS = Bus("word", 2, 1 + WORD)
"""(address, eight elements): the address holds this word; written once."""

CAP = Bus("cap", 3, 2 + WORD)
"""(tree, position, digest): an entry of a tree's cap, offered any number of times."""


def _places(fields: tuple[tuple[str, int], ...], start: int) -> dict[str, range]:
    places: dict[str, range] = {}
    for name, size in fields:
        places[name] = range(start, start + size)
        start += size
    return places


STORED_BOXES = PERMUTATION_WIDTH * (len(EXTERNAL_CONSTANTS) - 1) + len(INTERNAL_CONSTANTS)
"""S-box outputs that have columns: seven full rounds and all partial ones, 132."""

MAIN = _places(
    (
        ("bit", 1),
        ("rest", 1),
        ("input", PERMUTATION_WIDTH),
        ("cells", CELLS),
        ("uses", 1),
        ("boxes", STORED_BOXES),
        ("shown", WORD),
        ("capacity", WORD),
    ),
    0,
)
"""Main columns: direction bit and remaining index of a Merkle path; state before; the arithmetic cells; uses of a
cap entry; S-box outputs; the first word after (with feed-forward on a climb), the other word after. What
constraints read at the next row lies in the first 23."""

FIXED = _places(
    (
        ("fresh", 1),
        ("width", 1),
        ("absorbs_next", 1),
        ("climbs_next", 1),
        ("climbs", 1),
        ("input_address", 1),
        ("input_count", 1),
        ("shown_address", 1),
        ("shown_count", 1),
        ("rest_address", 1),
        ("rest_count", 1),
        ("tree", 1),
        ("position", 1),
        ("cap_sends", 1),
        ("cap_receives", 1),
        ("slot_address", SLOTS),
        ("slot_count", SLOTS),
        ("word_address", ROW_WORDS),
        ("word_count", ROW_WORDS),
        ("first_weights", FMA_WEIGHTS),
        ("second_weights", FMA_WEIGHTS),
        ("reduces", 1),
        ("reduces_on", 1),
        ("evaluates", 1),
        ("evaluates_on", 1),
        ("splits", 1),
        ("bits", 1),
    ),
    0,
)
"""Preprocessed columns: what each row does, which addresses it names, and how often each is read."""

NUM_MAIN = MAIN["capacity"].stop
NUM_FIXED = FIXED["bits"].stop
