"""`ecliptica bench sizes`: how long proofs are over proven bits and over blow-up, computed and not measured.

For a circuit's shape, a blow-up and a number of bits it finds the setting with the shortest proof: as few queries as the
calculator allows, and as much grinding in the other phases as they need. What the shipped settings fix stays: arity,
caps, length of the final polynomial, grinding before the queries, digests. The length is the encoder's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, log2
from typing import Any

from pipelines.bench_work import BenchWork
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.kinds import verifying_key
from proving.stark.encoding import proof_bytes
from proving.stark.key import VerifyingKey
from proving.stark.parameters import MAX_LOG_BLOWUP, MAX_QUERIES, ProofParameters
from proving.stark.soundness import MULTIPLICITIES, analyse, johnson, proven_bits, unique_decoding
from schemas.errors import InvariantError

SHAPES = ("join", "wrap")
"""Kinds whose circuits are looked at: all recursive ones but the last have the shape of the first."""

BITS = range(90, 129, 2)
"""Proven bits that are asked for."""

MOST_OTHER_GRINDING = 16
"""Most bits of grinding outside the query phase, as the design allows them."""

SHOWN_BITS = 100
"""Proven bits at which lengths are compared over blow-up."""

GROUND = {
    "lookup": "lookup_pow_bits",
    "out of domain": "deep_pow_bits",
    "batching": "batching_pow_bits",
}
"""Rounds with grinding of their own; those of folding share theirs, and queries keep what is shipped."""


@dataclass(frozen=True, slots=True)
class SizePoint:
    """The shortest proof of a shape.

    Attributes:
        shape: Kind of proof with that circuit.
        log_blowup: Base-2 logarithm of the blow-up.
        bits: Proven bits that were asked for.
        bytes: Its length; None if no setting proves so many.
        queries: Queries.
        grinding: Bits before the queries, and before batching, folding, the point and the lookups.
    """

    shape: str
    log_blowup: int
    bits: int
    bytes: int | None
    queries: int | None = None
    grinding: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Margins:
    """What one radius of the analysis gives a shape without grinding.

    Attributes:
        rounds: Bits of the rounds that grinding helps, by the setting that does.
        fixed: Bits of the weakest round that nothing helps.
        per_query: Bits of a query.
    """

    rounds: dict[str, float]
    fixed: float
    per_query: float


def sizes(work: BenchWork) -> dict[str, Any]:
    """Returns the record; nothing is proven, so nothing is verified."""
    started = time.perf_counter()
    points: list[SizePoint] = []
    shipped: list[dict[str, Any]] = []
    work.report.phase("sizes", len(SHAPES) * MAX_LOG_BLOWUP)
    for shape in SHAPES:
        key = verifying_key(shape, NumpyHasher())
        shipped.append(shipped_row(shape, key))
        for log_blowup in range(1, MAX_LOG_BLOWUP + 1):
            points += size_points(shape, key, log_blowup, BITS)
            work.report.advance(1)
    return {
        "name": "sizes",
        "seconds": round(time.perf_counter() - started, 3),
        "shipped": shipped,
        "points": [asdict(point) for point in points],
        "table": [size_row(shape, points) for shape in SHAPES],
        "parameters": {"most_grinding_outside_queries": MOST_OTHER_GRINDING},
    }


def shipped_row(shape: str, key: VerifyingKey) -> dict[str, Any]:
    """Returns what the shipped setting of a shape comes to, and the bits that its digests end at."""
    return {
        "shape": shape,
        "log_blowup": key.parameters.log_blowup,
        "bits": key.proven_bits,
        "bytes": proof_bytes(key),
        "collision_bits": key.parameters.digests.collision_bits,
    }


def size_points(
    shape: str, key: VerifyingKey, log_blowup: int, bits: Sequence[int]
) -> Iterator[SizePoint]:
    """Yields the shortest proofs of a shape at a blow-up, one for every number of bits."""
    margins = list(_margins(key, log_blowup))
    for wanted in bits:
        lengths = {
            settings: proof_bytes(replace(key, parameters=settings))
            for settings in dict.fromkeys(_settings(key, log_blowup, wanted, margins))
        }
        if not lengths:
            yield SizePoint(shape, log_blowup, wanted, None)
            continue
        best = min(lengths, key=lambda settings: (lengths[settings], settings.elements()))
        if proven_bits(best, key.shape) < wanted:
            raise InvariantError(f"the calculator does not give {best} the {wanted} bits")
        yield _point(shape, best, lengths[best], wanted)


def settings_of(key: VerifyingKey, point: SizePoint) -> ProofParameters:
    """Returns the setting of a point."""
    query, batching, commit, deep, lookup = point.grinding
    return replace(
        key.parameters,
        log_blowup=point.log_blowup,
        num_queries=point.queries or 0,
        query_pow_bits=query,
        batching_pow_bits=batching,
        commit_pow_bits=commit,
        deep_pow_bits=deep,
        lookup_pow_bits=lookup,
    )


def size_row(shape: str, points: Sequence[SizePoint]) -> dict[str, Any]:
    """Returns the lengths of a shape at `SHOWN_BITS`, by blow-up."""
    found = {p.log_blowup: p.bytes for p in points if (p.shape, p.bits) == (shape, SHOWN_BITS)}
    return {"shape": shape, **{f"2^{power}": found[power] for power in sorted(found)}}


def _margins(key: VerifyingKey, log_blowup: int) -> Iterator[Margins]:
    bare = replace(
        key.parameters,
        log_blowup=log_blowup,
        batching_pow_bits=0,
        commit_pow_bits=0,
        deep_pow_bits=0,
        lookup_pow_bits=0,
    )
    rate = 2.0**-log_blowup
    for regime in (unique_decoding(rate), *(johnson(rate, m) for m in MULTIPLICITIES)):
        rounds: dict[str, float] = {}
        fixed = float("inf")
        for entry in analyse(bare, key.shape, regime).rounds:
            setting = GROUND.get(entry.name)
            if entry.name.startswith("folding"):
                setting = "commit_pow_bits"
            if setting is not None:
                rounds[setting] = min(rounds.get(setting, entry.bits), entry.bits)
            elif entry.name != "queries":
                fixed = min(fixed, entry.bits)
        yield Margins(rounds, fixed, -log2(1 - regime.radius))


def _settings(
    key: VerifyingKey, log_blowup: int, wanted: int, margins: Sequence[Margins]
) -> Iterator[ProofParameters]:
    """Yields settings that prove the wanted bits, one per radius that can; many are equal."""
    for margin in margins:
        grinding = {setting: max(0, ceil(wanted - bits)) for setting, bits in margin.rounds.items()}
        left = wanted - key.parameters.query_pow_bits
        queries = max(1, ceil(left / margin.per_query))
        if (
            margin.fixed < wanted
            or max(grinding.values()) > MOST_OTHER_GRINDING
            or queries > MAX_QUERIES
        ):
            continue
        yield replace(
            key.parameters,
            log_blowup=log_blowup,
            num_queries=queries,
            batching_pow_bits=grinding["batching_pow_bits"],
            commit_pow_bits=grinding["commit_pow_bits"],
            deep_pow_bits=grinding["deep_pow_bits"],
            lookup_pow_bits=grinding["lookup_pow_bits"],
        )


def _point(shape: str, settings: ProofParameters, length: int, wanted: int) -> SizePoint:
    grinding = (
        settings.query_pow_bits,
        settings.batching_pow_bits,
        settings.commit_pow_bits,
        settings.deep_pow_bits,
        settings.lookup_pow_bits,
    )
    return SizePoint(shape, settings.log_blowup, wanted, length, settings.num_queries, grinding)
