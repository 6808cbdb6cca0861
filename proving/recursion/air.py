"""The constraints of the recursion circuit: one permutation and one row of arithmetic per row.

Nothing here depends on the program that a circuit runs; that is in the preprocessed columns (`wiring`). Every
constraint has row degree 3 at most with those columns counted. Source: proving/recursion/README.md "Lanes".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.arithmetic.program import Symbol
from proving.recursion.layout import (
    CAP,
    COEFFICIENT_SLOTS,
    ELEMENT,
    FIXED,
    FMA_SLOTS,
    MAIN,
    MIDDLE_SLOT,
    NUM_FIXED,
    NUM_MAIN,
    POWER_SLOTS,
    ROW_BITS,
    ROW_WORDS,
    SLOTS,
    SQUARE_SLOT,
    TOTAL_SLOT,
    VARIABLE_SLOT,
    WORD_CELLS,
    WORDS,
)
from proving.recursion.permutation import constrain_permutation
from proving.recursion.wiring import Wiring
from proving.stark.air import FieldArray, PublicMessage, Row
from proving.stark.coordinates import multiply
from schemas.errors import InvariantError

Element = list[Symbol]
"""Five coordinates."""


@dataclass(frozen=True)
class RecursionAir:
    """The recursion circuit under one wiring.

    A verifier needs the wiring's commitment and not the wiring, so that is made only when it is asked for.

    Attributes:
        name: Names the program; part of the key.
        log_height: Base-2 logarithm of the rows.
        public_uses: How often the program reads each public word.
        make_wiring: Builds the program and lays it out.
    """

    name: str
    log_height: int
    public_uses: tuple[int, ...]
    make_wiring: Callable[[], Wiring]

    @staticmethod
    def of(name: str, wiring: Wiring) -> RecursionAir:
        """Returns the circuit of a wiring at hand."""
        return RecursionAir(name, wiring.log_height, wiring.public_uses, lambda: wiring)

    @property
    def num_fixed(self) -> int:
        """Preprocessed columns."""
        return NUM_FIXED

    @property
    def num_main(self) -> int:
        """Main columns."""
        return NUM_MAIN

    @property
    def num_publics(self) -> int:
        """Eight public inputs per public word."""
        return WORD * len(self.public_uses)

    def fixed_columns(self) -> FieldArray:
        """Returns the preprocessed columns, (NUM_FIXED, height).

        Raises:
            InvariantError: The program is not of this height or reads its public words otherwise.
        """
        wiring = self.make_wiring()
        if (wiring.log_height, wiring.public_uses) != (self.log_height, self.public_uses):
            raise InvariantError(
                f"{self.name} fills 2^{wiring.log_height} rows and reads its public words "
                f"{wiring.public_uses} times"
            )
        return wiring.columns

    def constraints(self, row: Row) -> None:
        """Records both lanes."""
        _permutation_lane(row)
        _element_buses(row)
        _multiply_adds(row)
        _reductions(row)
        _evaluations(row)
        _splits(row)
        _bits(row)

    def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
        """Returns the public words, each sent as often as the program reads it."""
        return [
            PublicMessage(WORDS, uses, (address, *publics[WORD * address : WORD * (address + 1)]))
            for address, uses in enumerate(self.public_uses)
            if uses
        ]


def _local(row: Row, name: str) -> list[Symbol]:
    return [row.local[column] for column in MAIN[name]]


def _fixed(row: Row, name: str) -> list[Symbol]:
    return [row.fixed[column] for column in FIXED[name]]


def _flag(row: Row, name: str) -> Symbol:
    return row.fixed[FIXED[name].start]


def _slot(row: Row, number: int) -> Element:
    start = MAIN["cells"].start + EXTENSION_DEGREE * number
    return row.local[start : start + EXTENSION_DEGREE]


def _permutation_lane(row: Row) -> None:
    state, shown, capacity = (_local(row, name) for name in ("input", "shown", "capacity"))
    (bit,), (rest,), (uses,) = (_local(row, name) for name in ("bit", "rest", "uses"))
    following = [row.next[column] for column in MAIN["input"]]
    next_bit, next_rest = row.next[MAIN["bit"].start], row.next[MAIN["rest"].start]
    climbs, climbs_next = _flag(row, "climbs"), _flag(row, "climbs_next")
    outputs = constrain_permutation(row, state, _local(row, "boxes"))
    for j in range(WORD):
        row.zero(f"shown[{j}]", shown[j] - outputs[j] - climbs * state[j])
        row.zero(f"capacity[{j}]", capacity[j] - outputs[WORD + j])
        kept = following[WORD + j] - capacity[j]
        row.zero(f"absorbs.capacity[{j}]", _flag(row, "absorbs_next") * kept)
        left = (1 - next_bit) * (following[j] - shown[j])
        right = next_bit * (following[WORD + j] - shown[j])
        row.zero(f"climbs.child[{j}]", climbs_next * (left + right))
        start = state[WORD + j] - (_flag(row, "width") if j == WORD - 1 else 0)
        row.zero(f"fresh[{j}]", _flag(row, "fresh") * start)
    row.zero("climbs.bit", bit * (bit - 1))
    row.zero("climbs.rest", climbs_next * (rest - 2 * next_rest - next_bit))
    values = [_flag(row, "input_address"), *state[:WORD]]
    row.send("input", WORDS, _flag(row, "input_count"), values)
    row.send("shown", WORDS, _flag(row, "shown_count"), [_flag(row, "shown_address"), *shown])
    index: list[Symbol | int] = [_flag(row, "rest_address"), rest, 0, 0, 0, 0]
    row.send("rest", ELEMENT, _flag(row, "rest_count"), index)
    tree = _flag(row, "tree")
    values = [tree, _flag(row, "position"), *state[:WORD]]
    row.send("cap.entry", CAP, _flag(row, "cap_sends") * uses, values)
    row.receive("cap.end", CAP, _flag(row, "cap_receives"), [tree, rest, *shown])


def _element_buses(row: Row) -> None:
    """Every slot and word of the arithmetic lane may be read (count -1) or written (count = its reads)."""
    cells = _local(row, "cells")
    addresses, counts = _fixed(row, "slot_address"), _fixed(row, "slot_count")
    for number in range(SLOTS):
        values = [addresses[number], *_slot(row, number)]
        row.send(f"slot[{number}]", ELEMENT, counts[number], values)
    addresses, counts = _fixed(row, "word_address"), _fixed(row, "word_count")
    for number in range(ROW_WORDS):
        values = [addresses[number], *cells[WORD * number : WORD * (number + 1)]]
        row.send(f"word[{number}]", WORDS, counts[number], values)


def _multiply_adds(row: Row) -> None:
    for place, name in enumerate(("first", "second")):
        a, b, c, out = (_slot(row, FMA_SLOTS * place + k) for k in range(FMA_SLOTS))
        k0, k1, k2, k3, k4, k5, k6 = _fixed(row, f"{name}_weights")
        factor = [k0 * left + k6 * right for left, right in zip(a, c, strict=True)]
        product = multiply(factor, b)
        for k in range(EXTENSION_DEGREE):
            claim = product[k] + k1 * a[k] + k2 * b[k] + k3 * c[k] - k5 * out[k]
            row.zero(f"{name}[{k}]", claim + k4 if k == 0 else claim)


def _reductions(row: Row) -> None:
    """A word w and an accumulator: acc = sum_j g^j w_j + g^8 acc(next).

    In two steps, so that the degree stays 3: t = w_4 + g w_5 + g^2 w_6 + g^3 w_7 + g^4 acc(next) and
    acc = w_0 + g w_1 + g^2 w_2 + g^3 w_3 + g^4 t.
    """
    word = [_local(row, "cells")[cell] for cell in WORD_CELLS]
    powers = [_slot(row, number) for number in POWER_SLOTS]
    middle, total = _slot(row, MIDDLE_SLOT), _slot(row, TOTAL_SLOT)
    start = MAIN["cells"].start + EXTENSION_DEGREE * TOTAL_SLOT
    carried = multiply(row.next[start : start + EXTENSION_DEGREE], powers[3])
    raised = multiply(middle, powers[3])
    half = WORD // 2
    for k in range(EXTENSION_DEGREE):
        upper = _weighted(word[half:], powers, k)
        lower = _weighted(word[:half], powers, k)
        flag, on = _flag(row, "reduces"), _flag(row, "reduces_on")
        row.zero(f"reduces.middle[{k}]", flag * (middle[k] - upper) - on * carried[k])
        row.zero(f"reduces.total[{k}]", flag * (total[k] - lower - raised[k]))


def _evaluations(row: Row) -> None:
    """Four coefficients and an accumulator: acc = c0 + x c1 + x^2 c2 + x^3 c3 + x^4 acc(next).

    In two steps: t = c2 + x c3 + x^2 acc(next) and acc = c0 + x c1 + x^2 t; x^2 is for the program to claim.
    """
    variable, square = _slot(row, VARIABLE_SLOT), _slot(row, SQUARE_SLOT)
    coefficients = [_slot(row, number) for number in COEFFICIENT_SLOTS]
    middle, total = _slot(row, MIDDLE_SLOT), _slot(row, TOTAL_SLOT)
    start = MAIN["cells"].start + EXTENSION_DEGREE * TOTAL_SLOT
    carried = multiply(row.next[start : start + EXTENSION_DEGREE], square)
    raised = multiply(middle, square)
    low, high = (multiply(coefficients[place], variable) for place in (1, 3))
    flag, on = _flag(row, "evaluates"), _flag(row, "evaluates_on")
    for k in range(EXTENSION_DEGREE):
        upper = coefficients[2][k] + high[k]
        lower = coefficients[0][k] + low[k]
        row.zero(f"evaluates.middle[{k}]", flag * (middle[k] - upper) - on * carried[k])
        row.zero(f"evaluates.total[{k}]", flag * (total[k] - lower - raised[k]))


def _weighted(cells: Sequence[Symbol], powers: Sequence[Element], k: int) -> Symbol:
    """Returns coordinate k of cells[0] + sum_j cells[j] powers[j - 1]."""
    total = cells[1] * powers[0][k]
    for cell, power in zip(cells[2:], powers[1:], strict=False):
        total = total + cell * power[k]
    return total + cells[0] if k == 0 else total


def _splits(row: Row) -> None:
    """Slot 0 holds an element, slots 1..5 its coordinates as base elements."""
    flag, whole = _flag(row, "splits"), _slot(row, 0)
    for k in range(EXTENSION_DEGREE):
        part = _slot(row, 1 + k)
        row.zero(f"splits.value[{k}]", flag * (part[0] - whole[k]))
        for j in range(1, EXTENSION_DEGREE):
            row.zero(f"splits.base[{k},{j}]", flag * part[j])


def _bits(row: Row) -> None:
    """Slot 0 = sum of 2^j bit_j + 64 rest, with the bits in slots 1..6 and the rest in slot 7; all base."""
    flag = _flag(row, "bits")
    value, *bits, rest = (_slot(row, number) for number in range(SLOTS))
    total = value[0] - 2**ROW_BITS * rest[0]
    for j, bit in enumerate(bits):
        row.zero(f"bits.boolean[{j}]", flag * bit[0] * (bit[0] - 1))
        total = total - 2**j * bit[0]
    row.zero("bits.sum", flag * total)
    for number in range(SLOTS):
        for j in range(1, EXTENSION_DEGREE):
            row.zero(f"bits.base[{number},{j}]", flag * _slot(row, number)[j])
