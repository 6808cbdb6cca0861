"""What prover and verifier must agree on to the letter: the transcript's opening, challenges, identity.

Source: proving/README.md "Transcript" and "Constraints".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, GENERATOR, P
from proving.arithmetic.ntt import root_of_unity
from proving.backends.port import FieldArray, Hasher
from proving.stark.air import PublicMessage
from proving.stark.challenge_field import Extension, powers, stack, unstack
from proving.stark.extension_program import extension_program
from proving.stark.extension_rows import inner_product, power_rows
from proving.stark.key import VerifyingKey
from proving.stark.system import ConstraintSystem, whole_words
from proving.stark.transcript import Label, Transcript
from proving.stark.transcripts import make_transcript


def open_transcript(key: VerifyingKey, publics: Sequence[int], hasher: Hasher) -> Transcript:
    """Starts a transcript with everything that is known before the proof."""
    transcript = make_transcript(key.parameters.hash, hasher)
    transcript.absorb(Label.KEY_DIGEST, key.digest)
    transcript.absorb(Label.PARAMETERS, key.parameters.elements())
    transcript.absorb(Label.KIND, [key.kind])
    transcript.absorb(Label.PUBLICS, publics)
    return transcript


@dataclass(frozen=True, slots=True)
class LookupValues:
    """Lookup challenges and the verifier's own share, as numbers.

    Attributes:
        alpha: Shift of the fingerprints.
        beta_powers: beta^1, beta^2, ... up to the widest message.
        share: The verifier's own sum divided by the number of rows.
    """

    alpha: Extension
    beta_powers: tuple[Extension, ...]
    share: Extension

    def inputs(self) -> list[int]:
        """Returns the coordinates in the input order of the constraint program."""
        elements = (self.alpha, *self.beta_powers, self.share)
        return [coordinate for element in elements for coordinate in element.coordinates]


def draw_lookup_values(
    system: ConstraintSystem, messages: Sequence[PublicMessage], transcript: Transcript
) -> LookupValues:
    """Draws alpha and beta and sums the verifier's own messages.

    Raises:
        ZeroDivisionError: A public message's denominator vanishes (probability below 2^-130).
    """
    alpha = Extension(transcript.challenge(Label.LOOKUP_ALPHA))
    beta = Extension(transcript.challenge(Label.LOOKUP_BETA))
    beta_powers = tuple(powers(beta, system.message_width + 1))[1:]
    total = public_sum(messages, alpha, beta_powers)
    share = total * pow(2**system.log_height, -1, P)
    return LookupValues(alpha, beta_powers, share)


def public_sum(
    messages: Sequence[PublicMessage], alpha: Extension, beta_powers: Sequence[Extension]
) -> Extension:
    """Returns the sum of multiplicity / (alpha - fingerprint) over the verifier's own messages.

    Raises:
        ZeroDivisionError: A denominator vanishes.
    """
    total = Extension.of(0)
    for message in messages:
        bottom = alpha - message.bus.number
        for value, power in zip(message.values, beta_powers, strict=False):
            bottom = bottom - power * (value % P)
        total = total + bottom.inverse() * message.multiplicity
    return total


def point_in_domain(point: Extension, key: VerifyingKey) -> bool:
    """Tells whether a point lies on the trace domain or on the evaluation coset."""
    one = Extension.of(1)
    on_trace = point.power(2**key.log_height) == one
    unshifted = point * pow(GENERATOR, -1, P)
    return on_trace or unshifted.power(2**key.log_size) == one


@dataclass(frozen=True, slots=True)
class OpenedValues:
    """Column values at the point and, where the constraints read them, at its successor row.

    Attributes:
        fixed: Preprocessed columns.
        main: Main columns.
        lookup: Coordinates of running sum and helper columns.
        quotient: Coordinates of the low chunk, then of the high chunk.
        main_next: The first main columns of the next row.
        lookup_next: The first lookup columns of the next row, among them the running sum.
    """

    fixed: list[Extension]
    main: list[Extension]
    lookup: list[Extension]
    quotient: list[Extension]
    main_next: list[Extension]
    lookup_next: list[Extension]

    def at_point(self) -> list[Extension]:
        """Returns what is opened at the point, in batching order."""
        return [*self.fixed, *self.main, *self.lookup, *self.quotient]

    def at_next(self) -> list[Extension]:
        """Returns what is opened at the successor, in batching order."""
        return [*self.main_next, *self.lookup_next]


def batching_weights(key: VerifyingKey, challenge: Extension) -> tuple[FieldArray, FieldArray]:
    """Returns the power of the batching challenge of every value opened at the point, and at its successor: (n, 5).

    Exponents count the cells of opened rows, each row filled up to whole words, so that a circuit sums a word
    with the same eight powers wherever it lies.
    """
    layout = key.system.layout
    here, following = list(key.widths.values()), [layout.main_next, layout.lookup_next]
    supply = power_rows(challenge, sum(map(whole_words, (*here, *following)))).astype(np.uint32)
    weights: list[FieldArray] = []
    place = 0
    for widths in (here, following):
        taken: list[FieldArray] = []
        for width in widths:
            taken.append(supply[place : place + width])
            place += whole_words(width)
        weights.append(np.concatenate(taken))
    return weights[0], weights[1]


def opened_values(sections: Mapping[str, FieldArray]) -> OpenedValues:
    """Reads the opened values out of the sections; absent sections are empty."""
    names = ("fixed", "main", "lookup", "quotient", "main_next", "lookup_next")
    none = np.zeros((0, EXTENSION_DEGREE), dtype=np.uint32)
    return OpenedValues(*(unstack(sections.get(f"{name}_openings", none)) for name in names))


def combined_constraints(
    key: VerifyingKey,
    opened: OpenedValues,
    publics: Sequence[int],
    lookup: LookupValues | None,
    *,
    challenge: Extension,
    point: Extension,
) -> Extension:
    """Returns sum_i challenge^i * constraint_i at the point."""
    inputs = stack(
        [
            *opened.fixed,
            *opened.main,
            *opened.main_next,
            *opened.lookup,
            *opened.lookup_next,
            *(Extension.of(value) for value in publics),
            *selectors_at(point, key.log_height),
            *(Extension.of(value) for value in (lookup.inputs() if lookup else [])),
        ]
    )
    values = extension_program(key.system.program).evaluate(inputs)
    return inner_product(values, power_rows(challenge, len(values)))


def quotient_side(key: VerifyingKey, opened: OpenedValues, point: Extension) -> Extension:
    """Returns quotient(point) * (point^N - 1) from the opened chunk coordinates."""
    raised = point.power(2**key.log_height)
    low, high = opened.quotient[:EXTENSION_DEGREE], opened.quotient[EXTENSION_DEGREE:]
    total = Extension.of(0)
    for k in range(EXTENSION_DEGREE):
        basis = Extension(tuple(int(j == k) for j in range(EXTENSION_DEGREE)))
        total = total + basis * (low[k] + raised * high[k])
    return total * (raised - 1)


def selectors_at(point: Extension, log_height: int) -> tuple[Extension, Extension, Extension]:
    """Returns the first, last and transition selectors at a point outside the trace domain.

    First and last are (x^N - 1) / (x - row), zero on every other row; transition is x - last row.
    """
    vanishing = point.power(2**log_height) - 1
    last = pow(root_of_unity(log_height), -1, P)
    return (
        vanishing * (point - 1).inverse(),
        vanishing * (point - last).inverse(),
        point - last,
    )
