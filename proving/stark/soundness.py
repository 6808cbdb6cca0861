"""Proven bits of a proof, round by round, from the parameters that the prover itself uses.

The IOP is round-by-round sound, so the non-interactive proof loses (in the random-oracle model, against
classical adversaries) what its weakest round loses: the total is the minimum over rounds. Two regimes are
computed. *Unique decoding* needs no list; *Johnson* accepts words up to 1 - sqrt(rate) - gap from the code
and is the one the acceptance policy uses. The gap belongs to the analysis only: every gap gives a valid
bound for the same proof, so the best one counts. No conjecture is used anywhere.

Formulas: proximity gaps as in eprint 2025/2055 (theorems 1.3 and 4.2), DEEP-ALI as in eprint 2022/1216
(theorem 8), both as the public calculator ethereum/soundcalc states them. Source: proving/README.md
"Soundness".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor, log2, sqrt

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.stark.parameters import ProofParameters, folding_schedule
from schemas.errors import ParameterError

FIELD_SIZE = float(P**EXTENSION_DEGREE)
"""Challenges are uniform in a field of this size, about 2^154.9."""

DEFAULT_MULTIPLICITY = 50
"""Johnson gap sqrt(rate)/100, the public calculator's choice for fields above 2^150."""

MULTIPLICITIES = range(3, 513)
"""Gaps sqrt(rate)/(2m) that `proven_bits` tries; the theorem needs m >= 3."""

OPENING_POINTS = 2
"""A column is opened at the point and, if used there, at the point's successor row."""

MAX_PUBLIC_MESSAGES = 4096
"""Messages the verifier itself may put on the buses; both sides refuse more, so the bound below holds."""

MINIMUM_PROVEN_BITS = 100
"""What the default acceptance policy asks of every proof."""


@dataclass(frozen=True, slots=True)
class CircuitShape:
    """What the calculator needs to know about a circuit.

    Attributes:
        log_height: Base-2 logarithm of the rows.
        degree: Largest row degree of a constraint.
        num_constraints: Base-field constraints combined with powers of one challenge, lookups included.
        num_openings: Base-field columns batched by DEEP, counted once per point they are opened at.
        num_interactions: Lookup fractions per row.
        message_width: Largest number of values in a message; 0 without lookups.
    """

    log_height: int
    degree: int
    num_constraints: int
    num_openings: int
    num_interactions: int
    message_width: int


@dataclass(frozen=True, slots=True)
class RoundBits:
    """Soundness of one round.

    Attributes:
        name: Which challenge the round draws.
        bits: -log2 of its error, grinding of that phase included.
        formula: The error before grinding, as text.
    """

    name: str
    bits: float
    formula: str


@dataclass(frozen=True, slots=True)
class Regime:
    """A decoding radius and what it costs.

    Attributes:
        name: `unique decoding` or `Johnson, m = ...`.
        radius: Relative distance up to which words are accepted.
        list_size: Bound on codewords within the radius.
        multiplicity: m of the Johnson bound; 0 for unique decoding.
    """

    name: str
    radius: float
    list_size: float
    multiplicity: int

    def correlated_agreement(self, rate: float, length: float) -> float:
        """Returns the error of a random line over words of `length` at `rate`."""
        if self.multiplicity == 0:
            return (self.radius * length + 1) / FIELD_SIZE
        m = self.multiplicity + 0.5
        first = (2 * m**5 + 3 * m * self.radius * rate) * length / (3 * rate * sqrt(rate))
        return (first + m / sqrt(rate)) / FIELD_SIZE


@dataclass(frozen=True, slots=True)
class SoundnessReport:
    """The table per round and its minimum.

    Attributes:
        regime: Name of the regime.
        rounds: In protocol order; the last line is the commitment's collision bound.
    """

    regime: str
    rounds: tuple[RoundBits, ...]

    @property
    def bits(self) -> int:
        """Proven bits: the weakest round, rounded down."""
        return floor(min(entry.bits for entry in self.rounds))


def unique_decoding(rate: float) -> Regime:
    """Returns the regime up to half the minimum distance."""
    return Regime("unique decoding", (1 - rate) / 2, 1.0, 0)


def johnson(rate: float, multiplicity: int = DEFAULT_MULTIPLICITY) -> Regime:
    """Returns the regime with gap sqrt(rate) / (2 * multiplicity) to the Johnson bound.

    Raises:
        ParameterError: The multiplicity is below 3.
    """
    if multiplicity < 3:
        raise ParameterError(f"multiplicity is {multiplicity}, must be at least 3")
    gap = sqrt(rate) / (2 * multiplicity)
    return Regime(
        f"Johnson, m = {multiplicity}",
        1 - sqrt(rate) - gap,
        1 / (2 * gap * sqrt(rate)),
        multiplicity,
    )


def analyse(parameters: ProofParameters, shape: CircuitShape, regime: Regime) -> SoundnessReport:
    """Returns the soundness table of a proof in one regime.

    Raises:
        ParameterError: The schedule is impossible, or the domain leaves no room for opening at two points.
    """
    height = 2**shape.log_height
    length = height * 2**parameters.log_blowup
    if height + OPENING_POINTS >= (1 - regime.radius) * length:
        raise ParameterError(f"2^{shape.log_height} rows are too few to open at two points")
    rounds = (
        *_lookup_round(parameters, shape),
        *_out_of_domain_rounds(parameters, shape, regime),
        *_fri_rounds(parameters, shape, regime),
    )
    digests = parameters.digests
    formula = f"half of a digest of {digests.name}, outside the IOP"
    binding = RoundBits("hash collisions", digests.collision_bits, formula)
    return SoundnessReport(regime.name, (*rounds, binding))


def _bits(error: float, pow_bits: int = 0) -> float:
    return -log2(error) + pow_bits


def _lookup_round(parameters: ProofParameters, shape: CircuitShape) -> Iterator[RoundBits]:
    """LogUp: fractions * width / |F|, once for a false balance and once for a vanishing denominator."""
    if shape.num_interactions == 0:
        return
    fractions = shape.num_interactions * 2**shape.log_height + MAX_PUBLIC_MESSAGES
    error = 2 * fractions * max(shape.message_width, 1) / FIELD_SIZE
    yield RoundBits("lookup", _bits(error, parameters.lookup_pow_bits), "2 K S / |F|")


def _out_of_domain_rounds(
    parameters: ProofParameters, shape: CircuitShape, regime: Regime
) -> Iterator[RoundBits]:
    height = 2**shape.log_height
    length = height * 2**parameters.log_blowup
    ali = regime.list_size * shape.num_constraints / FIELD_SIZE
    yield RoundBits("constraints", _bits(ali), "L C / |F|")
    numerator = shape.degree * (height + OPENING_POINTS - 1) + height - 1
    deep = regime.list_size * numerator / (FIELD_SIZE - height - length)
    formula = "L (d (k + c - 1) + k - 1) / (|F| - k - n)"
    yield RoundBits("out of domain", _bits(deep, parameters.deep_pow_bits), formula)


def _fri_rounds(
    parameters: ProofParameters, shape: CircuitShape, regime: Regime
) -> Iterator[RoundBits]:
    rate = 2.0**-parameters.log_blowup
    length = 2.0 ** (shape.log_height + parameters.log_blowup)
    batching = (shape.num_openings - 1) * regime.correlated_agreement(rate, length)
    yield RoundBits("batching", _bits(batching, parameters.batching_pow_bits), "(N - 1) e(n)")
    schedule = folding_schedule(parameters, shape.log_height)
    for number, layer in enumerate(schedule):
        arity = 2**layer.log_arity
        folding = (arity - 1) * regime.correlated_agreement(rate, 2.0**layer.log_leaves)
        yield RoundBits(
            f"folding {number}",
            _bits(folding, parameters.commit_pow_bits),
            f"{arity - 1} e(n / 2^{shape.log_height + parameters.log_blowup - layer.log_leaves})",
        )
    query = -parameters.num_queries * log2(1 - regime.radius) + parameters.query_pow_bits
    yield RoundBits("queries", query, "(1 - radius)^q")


def best_johnson(parameters: ProofParameters, shape: CircuitShape) -> SoundnessReport:
    """Returns the Johnson table whose gap proves the most bits."""
    rate = 2.0**-parameters.log_blowup
    reports = (analyse(parameters, shape, johnson(rate, m)) for m in MULTIPLICITIES)
    return max(reports, key=lambda report: min(entry.bits for entry in report.rounds))


def proven_bits(parameters: ProofParameters, shape: CircuitShape) -> int:
    """Returns the proven bits that acceptance policies compare: the better of both regimes."""
    rate = 2.0**-parameters.log_blowup
    unique = analyse(parameters, shape, unique_decoding(rate))
    return max(best_johnson(parameters, shape).bits, unique.bits)
