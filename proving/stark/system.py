"""An AIR compiled to what prover and verifier run: one field program that returns every constraint.

The program's inputs are named blocks (`InputLayout`): columns of this row, the first columns of the next row,
public inputs, domain selectors and challenge coordinates. Its outputs are the AIR's
own constraints, each multiplied by its domain's selector, followed by the lookup constraints. Source:
proving/README.md "Constraints".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.stark.air import MAX_CONSTRAINT_DEGREE, Air, Bus, Interaction, Row
from proving.stark.logup import (
    LookupChallenges,
    check_buses,
    group_fraction,
    helper_groups,
    lookup_constraints,
)
from schemas.errors import ParameterError

SELECTORS = ("first", "last", "transition")
"""Inputs that vanish outside a domain: Lagrange-like for the end rows, x - last point for the transition."""

PROBE = 1_000_003
"""First of the public inputs at which the verifier's messages are written down: no index, level or number."""


@dataclass(frozen=True, slots=True)
class InputLayout:
    """How many inputs each block of the constraint program takes, in input order.

    Attributes:
        fixed: Preprocessed columns.
        main: Main columns of this row.
        main_next: Main columns opened at the next row: from the first to the last that a constraint reads
            there, in whole words, so that they are a prefix of an opened row.
        lookup: Coordinates of the running sum and the helper columns, this row.
        lookup_next: The first columns of `lookup` at the next row, one word of them: the running sum is first.
        publics: Public inputs.
        selectors: `SELECTORS`.
        alpha: Coordinates of the lookup challenge.
        beta_powers: Coordinates of beta^1, beta^2, ...
        share: Coordinates of the verifier's own sum divided by the number of rows.
    """

    fixed: int
    main: int
    main_next: int
    lookup: int
    lookup_next: int
    publics: int
    selectors: int
    alpha: int
    beta_powers: int
    share: int

    def sizes(self) -> list[int]:
        """Returns the block sizes in input order."""
        return [
            self.fixed,
            self.main,
            self.main_next,
            self.lookup,
            self.lookup_next,
            self.publics,
            self.selectors,
            self.alpha,
            self.beta_powers,
            self.share,
        ]

    def split(self, inputs: Sequence[Symbol]) -> list[list[Symbol]]:
        """Cuts a flat input list into blocks."""
        blocks: list[list[Symbol]] = []
        start = 0
        for size in self.sizes():
            blocks.append(list(inputs[start : start + size]))
            start += size
        return blocks


@dataclass(frozen=True, slots=True)
class ConstraintSystem:
    """Everything prover and verifier need to know about a circuit.

    Attributes:
        name: The AIR's name.
        log_height: Base-2 logarithm of the rows.
        layout: Inputs of `program`.
        program: All constraints; the outputs are named by `names`.
        names: One name per output.
        degree: Largest measured row degree.
        buses: By number.
        num_groups: Helper columns; 0 without interactions.
        fractions: Numerator and denominator coordinates per helper column; inputs as in `program`, the
            blocks from `lookup` to `lookup_next` and the selectors left out.
        num_interactions: Messages per row.
        message_width: Widest message.
        fingerprint: SHA-256 of everything above, 32 bytes.
    """

    name: str
    log_height: int
    layout: InputLayout
    program: Program
    names: tuple[str, ...]
    degree: int
    buses: dict[int, Bus]
    num_groups: int
    fractions: Program | None
    num_interactions: int
    message_width: int
    fingerprint: bytes


@dataclass(slots=True)
class _Recording:
    """What one call of the author's function left behind."""

    names: list[str]
    interactions: list[Interaction]


def compile_air(air: Air) -> ConstraintSystem:
    """Compiles an AIR, measuring degrees and next-row columns.

    Raises:
        ParameterError: A degree exceeds its limit, buses clash, or nothing is constrained.
    """
    interactions = _record(air).interactions
    buses = check_buses(interactions, air.log_height)
    groups = len(helper_groups(interactions))
    width = max((bus.width for bus in buses.values()), default=0)
    full = InputLayout(
        fixed=air.num_fixed,
        main=air.num_main,
        main_next=air.num_main,
        lookup=EXTENSION_DEGREE * (groups + 1) if groups else 0,
        lookup_next=WORD if groups else 0,
        publics=air.num_publics,
        selectors=len(SELECTORS),
        alpha=EXTENSION_DEGREE if groups else 0,
        beta_powers=EXTENSION_DEGREE * width,
        share=EXTENSION_DEGREE if groups else 0,
    )
    names: list[str] = []
    wide = trace_program(
        f"{air.name} constraints",
        sum(full.sizes()),
        lambda inputs: _all_constraints(air, full, inputs, names),
    )
    if not wide.outputs:
        raise ParameterError(f"{air.name} constrains nothing")
    program, layout = _drop_unused_next(wide, full)
    degree = _check_degrees(program, layout, names)
    fractions = _fraction_program(air, full) if groups else None
    description = (
        air.name,
        air.log_height,
        layout.sizes(),
        program.fingerprint,
        names,
        sorted((bus.number, bus.name, bus.width) for bus in buses.values()),
        groups,
        fractions.fingerprint if fractions else "",
        _messages_of_probes(air),
    )
    return ConstraintSystem(
        name=air.name,
        log_height=air.log_height,
        layout=layout,
        program=program,
        names=tuple(names),
        degree=degree,
        buses=buses,
        num_groups=groups,
        fractions=fractions,
        num_interactions=len(interactions),
        message_width=width,
        fingerprint=hashlib.sha256(repr(description).encode()).digest(),
    )


def _messages_of_probes(air: Air) -> list[tuple[int, int, tuple[int, ...]]]:
    """Returns the verifier's own messages at all-different public inputs, so that the fingerprint covers them.

    They close the buses, so a circuit with other messages proves something else with the same program.
    """
    probes = range(PROBE, PROBE + air.num_publics)
    return [
        (message.bus.number, message.multiplicity, tuple(int(value) for value in message.values))
        for message in air.public_messages(probes)
    ]


def record_row(air: Air, blocks: Sequence[list[Symbol]]) -> Row:
    """Calls the author's function on (fixed, main, next, publics) symbols and returns what it recorded."""
    fixed, main, following, publics = blocks
    row = Row(fixed, main, following, publics)
    air.constraints(row)
    return row


def _record(air: Air) -> _Recording:
    """Calls the author's function once to learn the messages and checks their degrees."""
    sizes = [air.num_fixed, air.num_main, air.num_main, air.num_publics]
    recording = _Recording([], [])

    def body(inputs: list[Symbol]) -> list[Symbol | int]:
        blocks, start = [], 0
        for size in sizes:
            blocks.append(inputs[start : start + size])
            start += size
        row = record_row(air, blocks)
        recording.interactions = row.interactions
        recording.names = [interaction.name for interaction in row.interactions]
        return [
            expression
            for interaction in row.interactions
            for expression in (interaction.multiplicity, *interaction.values)
        ]

    traced = trace_program(f"{air.name} messages", sum(sizes), body)
    degrees = traced.degrees([1] * sum(sizes[:3]) + [0] * air.num_publics)
    place = 0
    for interaction in recording.interactions:
        multiplicity, *values = degrees[place : place + 1 + interaction.bus.width]
        place += 1 + interaction.bus.width
        if multiplicity > 2 or max(values) > 1:
            raise ParameterError(
                f"{air.name}: message {interaction.name!r} has multiplicity of degree {multiplicity} "
                f"(at most 2) and values of degree {max(values)} (at most 1)"
            )
    return recording


def _challenges(alpha: list[Symbol], powers: list[Symbol], share: list[Symbol]) -> LookupChallenges:
    step = EXTENSION_DEGREE
    return LookupChallenges(
        alpha, [powers[i : i + step] for i in range(0, len(powers), step)], share
    )


def _all_constraints(
    air: Air, layout: InputLayout, inputs: list[Symbol], names: list[str]
) -> list[Symbol | int]:
    blocks = layout.split(inputs)
    fixed, main, following, lookup, lookup_next, publics, selectors, alpha, powers, share = blocks
    row = record_row(air, (fixed, main, following, publics))
    by_domain = dict(zip(SELECTORS, selectors, strict=True))
    claims: list[tuple[str, Symbol | int]] = []
    for constraint in row.constraints:
        selector: Symbol | int = 1 if constraint.domain == "all" else by_domain[constraint.domain]
        claims.append((constraint.name, constraint.expression * selector))
    if row.interactions:
        step = EXTENSION_DEGREE
        columns = [lookup[i : i + step] for i in range(0, len(lookup), step)]
        claims += lookup_constraints(
            helper_groups(row.interactions),
            _challenges(alpha, powers, share),
            columns[1:],
            columns[0],
            lookup_next[:EXTENSION_DEGREE],
        )
    names += [name for name, _ in claims]
    return [expression for _, expression in claims]


def _fraction_program(air: Air, full: InputLayout) -> Program:
    """Traces numerators and denominators of the helper columns, for the prover."""
    sizes = [full.fixed, full.main, full.main, full.publics, full.alpha, full.beta_powers]

    def body(inputs: list[Symbol]) -> list[Symbol | int]:
        blocks, start = [], 0
        for size in sizes:
            blocks.append(inputs[start : start + size])
            start += size
        row = record_row(air, blocks[:4])
        challenges = _challenges(blocks[4], blocks[5], [])
        outputs: list[Symbol | int] = []
        for group in helper_groups(row.interactions):
            numerator, bottom = group_fraction(group, challenges)
            outputs += [*numerator, *bottom]
        return outputs

    return trace_program(f"{air.name} fractions", sum(sizes), body)


def _drop_unused_next(program: Program, full: InputLayout) -> tuple[Program, InputLayout]:
    """Removes the next-row inputs after the last one that a constraint reads, so that they are not opened."""
    read = program.read_nodes()
    start = full.fixed + full.main
    last = max((j for j in range(full.main) if start + j in read), default=-1)
    used = min(full.main, whole_words(last + 1))
    kept = [*range(start + used), *range(start + full.main, program.num_inputs)]

    def body(inputs: list[Symbol]) -> list[Symbol]:
        zero = inputs[0] * 0
        places: list[Symbol] = [zero] * program.num_inputs
        for place, symbol in zip(kept, inputs, strict=True):
            places[place] = symbol
        return program.evaluate(places, lambda value: zero + value)

    layout = InputLayout(
        full.fixed,
        full.main,
        used,
        full.lookup,
        full.lookup_next,
        full.publics,
        full.selectors,
        full.alpha,
        full.beta_powers,
        full.share,
    )
    return trace_program(program.name, len(kept), body), layout


def whole_words(count: int) -> int:
    """Returns the elements of the fewest words that hold `count` elements."""
    return -(-count // WORD) * WORD


def _check_degrees(program: Program, layout: InputLayout, names: Sequence[str]) -> int:
    sizes = layout.sizes()
    per_block = [1, 1, 1, 1, 1, 0, None, 0, 0, 0]
    degrees: list[int] = []
    for size, degree in zip(sizes, per_block, strict=True):
        degrees += [1, 1, 0] if degree is None else [degree] * size
    measured = program.degrees(degrees)
    for name, degree in zip(names, measured, strict=True):
        if degree > MAX_CONSTRAINT_DEGREE:
            raise ParameterError(
                f"constraint {name!r} has degree {degree}, at most {MAX_CONSTRAINT_DEGREE}"
            )
    return max(measured)
