"""Columns of the ledger circuit: names, places and sizes, shared by constraints, trace and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD
from schemas.errors import ParameterError
from schemas.statement import FEE_SUM_LIMBS
from schemas.steps import STEPS
from schemas.units import AMOUNT_LIMBS, LIMB_BITS, LIMB_LIMIT, SPAN_LIMIT

FULL_ROUNDS_STORED = 7
"""Full rounds whose S-box outputs have columns: all eight but the last, whose row holds the digest."""

PARTIAL_ROUNDS = 20
"""Partial rounds of the permutation; one column each."""

COMPRESSION_COLUMNS = PERMUTATION_WIDTH * (1 + FULL_ROUNDS_STORED) + PARTIAL_ROUNDS + WORD
"""Input, S-box outputs and digest of one compression: 156 columns."""

SPAN_WEIGHT = 1 << (LIMB_BITS - 1)
"""Weight of the upper limb of a span: two limbs in range then stay below 2^29 + 2^15, see `span_limbs`."""

NODE_FIELDS = (
    ("is_node", 1),
    ("takes_left", 1),
    ("takes_right", 1),
    ("tree", 1),
    ("level", 1),
    ("index", 1),
    ("uses_old", 1),
    ("uses_new", 1),
    ("old", COMPRESSION_COLUMNS),
    ("new", COMPRESSION_COLUMNS),
)
"""One hash lane: a tree node before and after, or two unrelated compressions."""

MEMORY_FIELDS = (
    ("touched", 1),
    ("tree", 1),
    ("index", 1),
    ("old", WORD),
    ("new", WORD),
    ("last_time", 1),
)
"""One touched cell of an array that is read and written."""

STEP_FIELDS = (
    *((step.name, 1) for step in STEPS),
    ("padding", 1),
    ("cell", 1),
    ("amount", AMOUNT_LIMBS),
    ("slot_advance", 2),
    ("height", 1),
    ("slot", 1),
    ("sequence", 1),
    ("keys", 1),
    ("block_transactions", 1),
    ("fee_sum", FEE_SUM_LIMBS),
    ("word", WORD),
    ("previous_time", 1),
    ("elapsed", 2),
    ("old", WORD),
    ("new", WORD),
    ("carry", AMOUNT_LIMBS - 1),
    ("fee", 2),
    ("time_left", 1),
    ("above_first", 2),
    ("below_last", 2),
    ("place", 1),
    ("fee_carry", 2),
)
"""One step of one transaction, and the counters before it.

The fields that constraints read at the next row come first, up to `word`: all columns up to the last such one
are opened twice.
"""

COUNTER_NAMES = ("height", "slot", "sequence", "keys", "block_transactions", "fee_sum")
"""Counter columns in the order of the public inputs; the last takes three."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Columns of one lane.

    Attributes:
        name: Prefix in the names of constraints and messages.
        start: First column.
        width: Number of columns.
        places: Field name -> its columns.
    """

    name: str
    start: int
    width: int
    places: Mapping[str, range]

    def column(self, name: str, position: int = 0) -> int:
        """Returns the trace column of one element of a field."""
        return self.places[name][position]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every column of a segment's trace is.

    Attributes:
        log_height: Base-2 logarithm of the number of rows.
        steps: The transaction lane.
        memory: The touched cells.
        nodes: The hash lanes.
        ranges: One multiplicity column per strip of the table 0 .. 2^15 - 1.
        num_main: Main columns in all.
    """

    log_height: int
    steps: Lane
    memory: Lane
    nodes: tuple[Lane, ...]
    ranges: range
    num_main: int

    @property
    def height(self) -> int:
        """Rows of the trace."""
        return 1 << self.log_height

    @property
    def num_fixed(self) -> int:
        """Preprocessed columns: the clock and the strips of the range table."""
        return 1 + len(self.ranges)


def span_limbs(value: int) -> tuple[int, int]:
    """Cuts a distance into two limbs below 2^15 with `value = low + SPAN_WEIGHT * high`.

    Were the weight 2^15, a number below 2^30 plus the distance could pass the modulus and come out small:
    an account far past the registry would count as registered, and a slot could run back.

    Raises:
        ParameterError: The distance is negative or not below `SPAN_LIMIT`.
    """
    if not 0 <= value < SPAN_LIMIT:
        raise ParameterError(f"a distance of {value} is not within 0 .. {SPAN_LIMIT - 1}")
    return value % SPAN_WEIGHT, value // SPAN_WEIGHT


def _lane(name: str, start: int, fields: Iterable[tuple[str, int]]) -> Lane:
    places: dict[str, range] = {}
    end = start
    for field, width in fields:
        places[field] = range(end, end + width)
        end += width
    return Lane(name, start, end - start, places)


def make_layout(log_height: int, num_hash_lanes: int) -> Layout:
    """Places the lanes side by side.

    Raises:
        ParameterError: The height is not in [2^5, 2^22], or there is no hash lane.
    """
    if not 5 <= log_height <= 22 or num_hash_lanes < 1:
        raise ParameterError(f"no ledger circuit of height 2^{log_height} x {num_hash_lanes} lanes")
    steps = _lane("step", 0, STEP_FIELDS)
    memory = _lane("memory", steps.width, MEMORY_FIELDS)
    end = memory.start + memory.width
    nodes: list[Lane] = []
    for lane in range(num_hash_lanes):
        nodes.append(_lane(f"node{lane}", end, NODE_FIELDS))
        end += nodes[-1].width
    strips = max(1, LIMB_LIMIT >> log_height)
    ranges = range(end, end + strips)
    return Layout(log_height, steps, memory, tuple(nodes), ranges, end + strips)
