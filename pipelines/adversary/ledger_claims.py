"""Every claim of a ledger circuit with its forgery, for any number of hash lanes.

Forgeries are made on a small instance of the circuit: height and padding differ, the claims are the same,
which `same_claims` checks. Hash lanes are alike, so a forgery of the first becomes one of any other by
changing places.
"""

from __future__ import annotations

import functools
import random

import numpy as np

from pipelines.adversary.forged_trace import ForgedTrace, values_at_random
from pipelines.adversary.ledger_bites import (
    FINISHED_FORGERIES,
    IMPLIED,
    STEP_FORGERIES,
    forged_compressions,
)
from pipelines.adversary.ledger_edits import AIR, CREDIT, SMALL, checker, forgery
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.ledger_implied import unrefuted_rows
from pipelines.adversary.ledger_message_bites import (
    ACCEPTED_WITHOUT,
    FINISHED_MESSAGES,
    LANE_MESSAGES,
    RANGE_FORGERIES,
)
from proving.arithmetic.modulus import PERMUTATION_WIDTH, P
from proving.ledger.air import LedgerAir
from proving.ledger.layout import Lane
from proving.ledger.trace_nodes import compression_columns
from proving.stark.air import FieldArray
from proving.stark.trace_check import TraceChecker
from schemas.errors import ParameterError
from schemas.units import Array

FULL_LANE = "step.last.padding"
"""The claim whose forgery fills the lane to its last row, on `SMALL`."""


def is_shown_implied(name: str) -> bool:
    """Whether a claim listed as implied is shown to be, by enumeration; False for others."""
    selector = name.removeprefix("step.").removesuffix(".boolean")
    return name in IMPLIED and not unrefuted_rows(selector)


def forged_trace(name: str, num_hash_lanes: int = 1) -> ForgedTrace:
    """Returns the forgery of a claim.

    Args:
        name: A constraint or a message of the ledger circuit that is not implied.
        num_hash_lanes: Of the circuit.

    Raises:
        ParameterError: No forgery of that name is known.
    """
    if name == FULL_LANE:
        forged = forgery(SMALL)
        forged.finish()
        return ForgedTrace(name, name, SMALL, forged.trace, forged.publics)
    lane, first = _lane_of(name)
    forged, missing = _forge(first)
    air = small_instance(num_hash_lanes)
    trace = _spread(forged.trace, air, lane)
    return ForgedTrace(name, name if missing == first else missing, air, trace, forged.publics)


@functools.cache
def small_instance(num_hash_lanes: int) -> LedgerAir:
    """Returns the circuit with so many hash lanes at the height of the forgeries."""
    return AIR if num_hash_lanes == 1 else LedgerAir(AIR.log_height, num_hash_lanes)


def same_claims(first: LedgerAir, second: LedgerAir, seed: int) -> bool:
    """Whether two circuits that differ in height claim the same, at random rows and public inputs.

    A wrong answer has probability below (number of claims) * 3 / P. The range table's strips are left out:
    a taller circuit has fewer.
    """
    found = [_claims_at_random(air, seed) for air in (first, second)]
    return found[0] == found[1]


def _claims_at_random(air: LedgerAir, seed: int) -> dict[str, list[int]]:
    check = TraceChecker(air)
    rng = random.Random(seed)  # noqa: S311 - reproducible points
    lanes = air.layout.ranges.start
    clock, publics = rng.randrange(P), [rng.randrange(P) for _ in range(air.num_publics)]
    rows = [[rng.randrange(P) for _ in range(lanes)] for _ in range(2)]
    strips = [0] * len(air.layout.ranges)
    inputs = [clock, *strips, *rows[0], *strips, *rows[1], *strips, *publics]
    found = values_at_random(check, inputs)
    return {name: values for name, values in found.items() if not name.startswith("range[")}


def _lane_of(name: str) -> tuple[int, str]:
    """Returns the hash lane of a claim, and the claim of the first lane that is like it."""
    if not name.startswith("node"):
        return 0, name
    number, rest = name.removeprefix("node").split(".", 1)
    return int(number), f"node0.{rest}"


def _forge(name: str) -> tuple[Forgery, str]:
    """Returns the finished forgery of a claim on `AIR`, and what accepts it when it is missing."""
    missing = name
    forged = forgery(unchecked=name if name in RANGE_FORGERIES else "")
    lane_forgery = (STEP_FORGERIES | RANGE_FORGERIES).get(name)
    if lane_forgery is not None:
        lane_forgery(forged)
        forged.finish()
        if name == "step.register_key.boolean":
            forged.remember(-int(Array.KEY), forged.get("place", CREDIT), [0] * 8)
    elif name in FINISHED_FORGERIES:
        forged.finish()
        FINISHED_FORGERIES[name](forged)
    elif name in ACCEPTED_WITHOUT:
        ACCEPTED_WITHOUT[name](forged)
    elif name in LANE_MESSAGES:
        missing, _, forge = LANE_MESSAGES[name]
        forge(forged)
        forged.finish()
    elif name in FINISHED_MESSAGES:
        missing, _, forge = FINISHED_MESSAGES[name]
        forged.finish()
        forge(forged)
    else:
        _forge_compression(forged, name)
    return forged, missing


def _forge_compression(forged: Forgery, name: str) -> None:
    version = name.split(".")[1]
    prefix = f"node0.{version}."
    names = [c.name for c in checker(AIR).constraints if c.name.startswith(prefix)]
    if name not in names:
        raise ParameterError(f"there is no forgery of {name!r}")
    forged.finish()
    places = AIR.layout.nodes[0].places[version]
    column = forged_compressions()[:, names.index(name)]
    forged.trace[places.start : places.stop, forged.height - 1] = column


def _spread(trace: FieldArray, air: LedgerAir, lane: int) -> FieldArray:
    """Returns a trace of `AIR` as one of more hash lanes: its own lane becomes that one, the rest pad."""
    if air is AIR:
        return trace
    old, new = AIR.layout, air.layout
    wide = np.zeros((air.num_main, new.height), dtype=np.uint32)
    wide[: old.nodes[0].start] = trace[: old.nodes[0].start]
    wide[new.ranges.start : new.ranges.stop] = trace[old.ranges.start : old.ranges.stop]
    for number, place in enumerate(new.nodes):
        part = trace[_columns(old.nodes[0])] if number == lane else _padding(place, new.height)
        wide[_columns(place)] = part
    return wide


def _columns(lane: Lane) -> slice:
    return slice(lane.start, lane.start + lane.width)


def _padding(lane: Lane, height: int) -> FieldArray:
    """Returns a hash lane that compresses zeros and takes part in nothing."""
    part = np.zeros((lane.width, height), dtype=np.uint32)
    zeros = compression_columns(np.zeros((1, PERMUTATION_WIDTH), dtype=np.uint32))
    for version in ("old", "new"):
        start = lane.places[version].start - lane.start
        part[start : start + len(zeros)] = zeros
    return part
