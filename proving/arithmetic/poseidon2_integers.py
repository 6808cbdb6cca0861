"""The Poseidon2 permutation over KoalaBear, width 16: constants, layers and plain integers, standard library only.

Source: Grassi, Khovratovich, Schofnegger, "Poseidon2: A Faster Version of the Poseidon Hash Function"
(2023/323); x^3, eight full and twenty partial rounds; constants checked against
`tests/vectors/poseidon2_koalabear_16.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from proving.arithmetic.modulus import PERMUTATION_WIDTH, P

if TYPE_CHECKING:
    from proving.arithmetic.program import Ring

R = TypeVar("R", bound="Ring")

# fmt: off
EXTERNAL_CONSTANTS: tuple[tuple[int, ...], ...] = (
    (2128964168, 288780357, 316938561, 2126233899, 426817493, 1714118888, 1045008582, 1738510837,
     889721787, 8866516, 681576474, 419059826, 1596305521, 1583176088, 1584387047, 1529751136),
    (1863858111, 1072044075, 517831365, 1464274176, 1138001621, 428001039, 245709561, 1641420379,
     1365482496, 770454828, 693167409, 757905735, 136670447, 436275702, 525466355, 1559174242),
    (1030087950, 869864998, 322787870, 267688717, 948964561, 740478015, 679816114, 113662466,
     2066544572, 1744924186, 367094720, 1380455578, 1842483872, 416711434, 1342291586, 1692058446),
    (1493348999, 1113949088, 210900530, 1071655077, 610242121, 1136339326, 2020858841, 1019840479,
     678147278, 1678413261, 1361743414, 61132629, 1209546658, 64412292, 1936878279, 1980661727),
    (1139268644, 630873441, 669538875, 462500858, 876500520, 1214043330, 383937013, 375087302,
     636912601, 307200505, 390279673, 1999916485, 1518476730, 1606686591, 1410677749, 1581191572),
    (1004269969, 143426723, 1747283099, 1016118214, 1749423722, 66331533, 1177761275, 1581069649,
     1851371119, 852520128, 1499632627, 1820847538, 150757557, 884787840, 619710451, 1651711087),
    (505263814, 212076987, 1482432120, 1458130652, 382871348, 417404007, 2066495280, 1996518884,
     902934924, 582892981, 1337064375, 1199354861, 2102596038, 1533193853, 1436311464, 2012303432),
    (839997195, 1225781098, 2011967775, 575084315, 1309329169, 786393545, 995788880, 1702925345,
     1444525226, 908073383, 1811535085, 1531002367, 1635653662, 1585100155, 867006515, 879151050),
)
"""Round constants of the eight full rounds, from the Grain LFSR of the Poseidon specification."""

INTERNAL_CONSTANTS: tuple[int, ...] = (
    1423960925, 2101391318, 1915532054, 275400051, 1168624859, 1141248885, 356546469, 1165250474,
    1320543726, 932505663, 1204226364, 1452576828, 1774936729, 926808140, 1184948056, 1186493834,
    843181003, 185193011, 452207447, 510054082,
)
"""Round constants of the twenty partial rounds."""

INTERNAL_DIAGONAL: tuple[int, ...] = (
    2130706431, 1, 2, 1065353217, 3, 4, 1065353216, 2130706430,
    2130706429, 2122383361, 1864368129, 2130706306, 8323072, 266338304, 133169152, 127,
)
"""The internal matrix is ones + diag of these."""
# fmt: on


def cube(value: R) -> R:
    """Returns the S-box of a value."""
    return value * value * value


def external_layer(state: Sequence[R]) -> list[R]:
    """Multiplies by circ(2 M4, M4, M4, M4), M4 = circ(2, 3, 1, 1); additions only."""
    out: list[R] = []
    for block in range(0, PERMUTATION_WIDTH, 4):
        a, b, c, d = state[block : block + 4]
        first, second = a + b, c + d
        total = first + second
        out += [
            total + b + first,
            total + b + (c + c),
            total + d + second,
            total + d + (a + a),
        ]
    sums = [out[j] + out[4 + j] + out[8 + j] + out[12 + j] for j in range(4)]
    return [value + sums[j % 4] for j, value in enumerate(out)]


def internal_layer(state: Sequence[R]) -> list[R]:
    """Multiplies by ones + diag(INTERNAL_DIAGONAL)."""
    total = state[0]
    for value in state[1:]:
        total = total + value
    return [total + v * value for v, value in zip(INTERNAL_DIAGONAL, state, strict=True)]


def permutation(state: Sequence[R]) -> list[R]:
    """Applies the permutation to sixteen elements of any ring over the field."""
    current = external_layer(state)
    half = len(EXTERNAL_CONSTANTS) // 2
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == half:
            for constant in INTERNAL_CONSTANTS:
                current = internal_layer([cube(current[0] + constant), *current[1:]])
        current = external_layer(
            [cube(value + constant) for value, constant in zip(current, constants, strict=True)]
        )
    return current


def permute_integers(state: Sequence[int]) -> list[int]:
    """Applies the permutation to sixteen residues, as plain integers: canonical residues."""
    current = _external_integers(state)
    half = len(EXTERNAL_CONSTANTS) // 2
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == half:
            current = _partial_integers(current)
        current = _external_integers(
            [(value + added) ** 3 % P for value, added in zip(current, constants, strict=True)]
        )
    return current


def _external_integers(state: Sequence[int]) -> list[int]:
    return [value % P for value in external_layer(list(state))]


def _partial_integers(state: list[int]) -> list[int]:
    for constant in INTERNAL_CONSTANTS:
        state[0] = (state[0] + constant) ** 3 % P
        total = sum(state)
        state = [(total + v * value) % P for v, value in zip(INTERNAL_DIAGONAL, state, strict=True)]
    return state
