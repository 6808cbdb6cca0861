"""Claims of the pyramid's statements that no forgery breaks alone, and why: each is shown to follow from others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import product

from pipelines.adversary.statement_part import Claim, StatementPart
from proving.arithmetic.modulus import P
from proving.kinds import PROGRAMS
from proving.recursion.epoch import EPOCH_SLOTS
from proving.recursion.global_proofs import EPOCH_KIND
from proving.recursion.span_circuit import OPEN_BLOCK, SEQUENCE
from proving.recursion.tape import NOTHING, MultiplyAdd, Unknown

POINTS = 8
"""Random points at which a claim of degree two is looked at: it vanishes at all of them by chance below 2^-200."""

PINNED = (
    "what it reads is pinned to a constant by other claims, and then it holds whatever the rest is"
)
RESTING = "a present shard begins and ends outside a block, so the counters of the open block are zero at both ends"
HASHED = "nothing but a bit chooses a trusted key: another value would need a digest on the line through two keys"

Assignment = Mapping[int, int]
"""Address -> base element."""


def implied_claims(kind: str, part: StatementPart) -> dict[Claim, str]:
    """Returns the claims of a kind that are shown to follow from others, with the reason."""
    known = constants_of(part)
    pins = _pins(part, known)
    found: dict[Claim, str] = {}
    for claim in part.claims:
        record = _record(part, claim)
        if record is not None and _is_pinned(record, claim, known, pins):
            found[claim] = PINNED
    if kind == EPOCH_KIND:
        found |= {claim: RESTING for claim in _resting_counters() if _follows(part, claim)}
        last = len(PROGRAMS[kind][1]) - 1
        found |= {Claim(f"choice {last} of slot {n}", 0): HASHED for n in range(EPOCH_SLOTS)}
    return found


def _record(part: StatementPart, claim: Claim) -> MultiplyAdd | None:
    is_path, number = part.claims[claim]
    return None if is_path else part.tape.multiply_adds[number]


def residual(record: MultiplyAdd, values: Assignment) -> int:
    """Returns what a claim is at base elements: zero if it holds."""
    a, b, c, out = (values.get(slot, 0) if slot != NOTHING else 0 for slot in record.slots)
    k0, k1, k2, k3, k4, k5, k6 = record.weights
    return ((k0 * a + k6 * c) * b + k1 * a + k2 * b + k3 * c + k4 - k5 * out) % P


def constants_of(part: StatementPart) -> dict[int, int]:
    """Returns the addresses that hold a base constant."""
    return {
        record.slots[3]: record.weights[4]
        for record in part.tape.multiply_adds
        if record.unknown is Unknown.RESULT and not any(record.weights[:4])
    }


def _pins(part: StatementPart, known: Assignment) -> dict[Claim, int]:
    """Returns the claims that say that an address holds one, with the address."""
    found: dict[Claim, int] = {}
    for claim in part.claims:
        record = _record(part, claim)
        if record is not None and record.weights == (0, 1, 0, 0, 0, 1, 0):
            a, b, c, out = record.slots
            if (b, c) == (NOTHING, NOTHING) and known.get(out) == 1:
                found[claim] = a
    return found


def _is_pinned(
    record: MultiplyAdd, claim: Claim, known: Assignment, pins: Mapping[Claim, int]
) -> bool:
    """Whether a claim holds at random points once what other claims pin is put in."""
    ones = {address for other, address in pins.items() if other != claim}
    fixed = {slot: 1 if slot in ones else known.get(slot) for slot in record.slots}
    rng = random.Random(str(claim))  # noqa: S311 - reproducible points
    for _ in range(POINTS):
        values = {
            slot: rng.randrange(P) if value is None else value for slot, value in fixed.items()
        }
        if residual(record, values):
            return False
    return True


def _resting_counters() -> Iterator[Claim]:
    for slot in range(EPOCH_SLOTS):
        for counter in OPEN_BLOCK:
            yield Claim(f"slot {slot} moves without a block", counter)


def _follows(part: StatementPart, claim: Claim) -> bool:
    """Whether the counter of an open block of an idle shard is zero at both ends by other claims.

    Every pair of bits that the claims about them allow is tried: either the shard is not idle, or it is present,
    and then the claims about its beginning and end leave nothing but zeros.
    """
    slot = int(claim.what.split()[1])
    place = claim.number - OPEN_BLOCK.start
    counters = (SEQUENCE, *OPEN_BLOCK)
    begins = _record(
        part, Claim(f"slot {slot} begins inside a window", counters.index(claim.number))
    )
    ends = _record(part, Claim(f"slot {slot} ends inside a block", place))
    falls = _record(part, Claim(f"slot {slot} is active", 1))
    moves = _record(part, claim)
    if begins is None or ends is None or falls is None or moves is None:
        return False
    after, idle, before, _ = moves.slots
    active, present = falls.slots[0], falls.slots[1]
    if (begins.slots[:2], ends.slots[:2]) != ((before, present), (after, present)):
        return False
    makes = next(r for r in part.tape.multiply_adds if r.slots[3] == idle)
    rng = random.Random(str(claim))  # noqa: S311 - reproducible points
    for has, works in product((0, 1), repeat=2):
        bits = {present: has, active: works}
        if residual(falls, bits):
            continue
        bits[idle] = residual(makes, bits | {idle: 0})
        for _ in range(POINTS):
            free = {before: rng.randrange(P), after: rng.randrange(P)}
            for cell, binds in ((before, begins), (after, ends)):
                if residual(binds, bits | free):
                    free[cell] = 0
            if residual(moves, bits | free):
                return False
    return True
