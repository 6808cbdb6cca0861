"""The prover: a trace in, proof bytes out.

The order of commitments and challenges is that of proving/README.md "Transcript"; each `_commit_*` step has
its twin in `proving.stark.check`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from proving.arithmetic.modulus import P
from proving.backends.port import Backend, FieldArray
from proving.commitments.fri import commit_layers, open_layers
from proving.errors import ProvingError
from proving.kinds import proving_key, registered_kinds
from proving.ledger.air import LedgerAir
from proving.ledger.trace import build_trace
from proving.ledger.witness import SegmentWitness
from proving.memory_plan import require_memory
from proving.openings import batch_openings, open_columns
from proving.stark.challenge_field import Extension, stack
from proving.stark.claim import claimed_constraints
from proving.stark.encoding import encode_proof, proof_sections
from proving.stark.key import VerifyingKey
from proving.stark.logup import check_public_messages
from proving.stark.lookup_columns import build_lookup_columns
from proving.stark.parameters import ProofParameters
from proving.stark.protocol import (
    LookupValues,
    OpenedValues,
    draw_lookup_values,
    open_transcript,
    opened_values,
    point_in_domain,
    quotient_side,
)
from proving.stark.quotient import quotient_chunks
from proving.stark.setup import CommittedColumns, ProvingKey, commit_columns
from proving.stark.transcript import Label, NotUniform, Transcript, TranscriptEvent
from schemas.errors import ParameterError
from schemas.statement import SegmentStatement


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """Time spent in one phase of a proof.

    Attributes:
        name: `trace`, `lookups`, `quotient`, `openings`, `fri` or `queries`.
        seconds: Wall time.
        cells: Field elements the phase produced or read, for cells per second.
    """

    name: str
    seconds: float
    cells: int


OnPhase = Callable[[PhaseSpan], None]


@dataclass(frozen=True, slots=True)
class StarkProof:
    """A proof and what was said while making it.

    Attributes:
        data: Canonical bytes.
        events: The transcript, for `proof explain` and golden tests.
    """

    data: bytes
    events: tuple[TranscriptEvent, ...]


def prove(
    statement: SegmentStatement,
    witness: SegmentWitness,
    parameters: ProofParameters,
    backend: Backend,
) -> bytes:
    """Proves a statement of a registered kind.

    Args:
        statement: What is to be shown.
        witness: Why it holds.
        parameters: Those of the kind to prove under.
        backend: Does the arithmetic; every backend gives the same bytes.

    Returns:
        Canonical bytes that `proving.verifier.verify` accepts under the kind's key.

    Raises:
        ParameterError: No kind of ledger segment has these parameters.
        ProvingError: The witness is for another statement, or does not show it.
    """
    if witness.statement != statement:
        raise ProvingError("the witness is for another statement")
    for kind in registered_kinds().kinds:
        if kind.parameters == parameters:
            key = proving_key(kind.name, backend)
            air = key.verifying_key.air
            if isinstance(air, LedgerAir):
                trace, publics = build_trace(air, witness, backend)
                return prove_stark(key, publics, trace, backend).data
    raise ParameterError("no kind of ledger segment is proven with these parameters")


def prove_stark(
    key: ProvingKey,
    publics: Sequence[int],
    trace: FieldArray,
    backend: Backend,
    on_phase: OnPhase | None = None,
    *,
    check_witness: bool = True,
) -> StarkProof:
    """Proves that a trace satisfies the key's circuit with these public inputs.

    Args:
        key: From `make_proving_key`.
        publics: Canonical public inputs.
        trace: (num_main, 2^log_height) uint32, residues < P.
        backend: Does the arithmetic; every backend gives the same bytes.
        on_phase: Called after each phase.
        check_witness: Refuse to finish a proof that no verifier would accept. Without it the bytes of a
            false claim are produced, which only tests of a verifier want.

    Raises:
        ParameterError: Publics or trace have the wrong shape or are not canonical.
        ProvingError: The trace does not satisfy the circuit, or there is not enough memory.
    """
    _check_inputs(key.verifying_key, publics, trace)
    if backend.name != "cuda":  # whose columns lie on the device, in a pool with a limit of its own
        require_memory(key.verifying_key)
    return _Run(key, publics, backend.hold(trace), backend, on_phase, check_witness).prove()


def _check_inputs(key: VerifyingKey, publics: Sequence[int], trace: FieldArray) -> None:
    layout = key.system.layout
    if len(publics) != layout.publics or any(not 0 <= value < P for value in publics):
        raise ParameterError(f"{key.system.name} takes {layout.publics} canonical public inputs")
    shape = (layout.main, 2**key.log_height)
    if trace.shape != shape or trace.dtype != np.uint32 or trace.max(initial=0) >= P:
        raise ParameterError(f"the trace must be {shape} canonical uint32, got {trace.shape}")


@dataclass(slots=True)
class _Run:
    """State of one proof in the making."""

    key: ProvingKey
    publics: Sequence[int]
    trace: FieldArray
    backend: Backend
    on_phase: OnPhase | None
    check_witness: bool
    sections: dict[str, FieldArray] = field(default_factory=dict)
    committed: dict[str, CommittedColumns] = field(default_factory=dict)
    started: float = 0.0

    def prove(self) -> StarkProof:
        key = self.key.verifying_key
        transcript = open_transcript(key, self.publics, self.backend)
        self.started = time.perf_counter()
        self.sections["publics"] = np.array(self.publics, dtype=np.uint32)
        if self.key.fixed is not None:
            self.committed["fixed"] = self.key.fixed
        self._commit("main", self.backend.interpolate(self.trace), transcript, Label.MAIN_CAP)
        self._span("trace", self._cells("main"))
        lookup = self._commit_lookups(transcript)
        self._span("lookups", self._cells("lookup"))
        challenge = Extension(transcript.challenge(Label.CONSTRAINT_CHALLENGE))
        self._commit_quotient(lookup, challenge, transcript)
        self._span("quotient", self._cells("quotient"))
        point = self._draw_point(transcript)
        opened = self._open_at(point, transcript)
        if self.check_witness:
            self._refuse_false_claim(opened, lookup, challenge, point)
        codeword = self._batch(opened, point, transcript)
        self._span("openings", sum(self._cells(name) for name in self.committed))
        parameters = key.parameters
        layers = commit_layers(
            self.backend,
            codeword,
            key.schedule,
            parameters,
            transcript,
            check_degree=self.check_witness,
        )
        self.sections.update(layers.sections)
        self._span("fri", codeword.size)
        self._work("query_nonce", Label.QUERY_GRINDING, parameters.query_pow_bits, transcript)
        count = parameters.num_queries
        try:
            indices = transcript.indices(Label.QUERY_INDICES, count, key.log_size)
        except NotUniform as error:
            raise ProvingError("a query index was not uniform; change any input") from error
        for name, columns in self.committed.items():
            self.sections[f"{name}_rows"] = columns.rows(self.backend, indices)
            self.sections[f"{name}_paths"] = columns.tree.paths(indices)
        self.sections.update(open_layers(layers, indices))
        wanted = {section.name for section in proof_sections(key)}
        kept = {name: value for name, value in self.sections.items() if name in wanted}
        data = encode_proof(key, kept)
        self._span("queries", len(data) // 4)
        return StarkProof(data, tuple(transcript.events))

    def _span(self, name: str, cells: int) -> None:
        if self.on_phase is not None:
            self.backend.finish()
            self.on_phase(PhaseSpan(name, time.perf_counter() - self.started, cells))
        self.started = time.perf_counter()

    def _cells(self, name: str) -> int:
        if name not in self.committed:
            return 0
        columns = self.committed[name]
        return int(columns.coefficients.shape[0]) << columns.log_size

    def _work(self, section: str, label: Label, bits: int, transcript: Transcript) -> None:
        if bits:
            nonce = transcript.grind(label, bits, self.backend)
            self.sections[section] = np.array([nonce], dtype=np.uint32)

    def _commit(
        self, name: str, coefficients: FieldArray, transcript: Transcript, label: Label
    ) -> None:
        key = self.key.verifying_key
        digests = key.parameters.digests
        columns = commit_columns(self.backend, coefficients, key.log_size, key.log_cap, digests)
        self.committed[name] = columns
        self.sections[f"{name}_cap"] = columns.tree.cap
        transcript.absorb(label, columns.tree.cap)

    def _commit_lookups(self, transcript: Transcript) -> LookupValues | None:
        key = self.key.verifying_key
        messages = key.air.public_messages(self.publics)
        problem = check_public_messages(messages, key.system.buses)
        if problem:
            raise ProvingError(problem)
        if not key.system.num_groups:
            return None
        bits = key.parameters.lookup_pow_bits
        self._work("lookup_nonce", Label.LOOKUP_GRINDING, bits, transcript)
        try:
            values = draw_lookup_values(key.system, messages, transcript)
        except ZeroDivisionError as error:
            raise ProvingError("a public message's denominator vanished") from error
        columns = build_lookup_columns(
            self.backend,
            key.system,
            self.key.fixed_values,
            self.trace,
            self.publics,
            lookup=values,
            require_balance=self.check_witness,
        )
        self._commit("lookup", self.backend.interpolate(columns), transcript, Label.LOOKUP_CAP)
        return values

    def _commit_quotient(
        self, lookup: LookupValues | None, challenge: Extension, transcript: Transcript
    ) -> None:
        key = self.key.verifying_key
        log_points = key.log_height + 1  # the quotient has degree below 2 N
        none = np.zeros((0, 2**log_points), dtype=np.uint32)
        extensions = tuple(
            self.committed[name].spread(self.backend, log_points)
            if name in self.committed
            else none
            for name in ("fixed", "main", "lookup")
        )
        chunks = quotient_chunks(
            self.backend,
            key.system,
            (extensions[0], extensions[1], extensions[2]),
            self.publics,
            lookup,
            challenge=challenge,
        )
        self._commit("quotient", chunks, transcript, Label.QUOTIENT_CAP)

    def _draw_point(self, transcript: Transcript) -> Extension:
        key = self.key.verifying_key
        self._work("point_nonce", Label.POINT_GRINDING, key.parameters.deep_pow_bits, transcript)
        point = Extension(transcript.challenge(Label.POINT))
        if point_in_domain(point, key):
            raise ProvingError("the out-of-domain point fell into a domain; change any input")
        return point

    def _open_at(self, point: Extension, transcript: Transcript) -> OpenedValues:
        self.sections |= open_columns(self.backend, self.key.verifying_key, self.committed, point)
        values = opened_values(self.sections)
        transcript.absorb(Label.OPENINGS, stack([*values.at_point(), *values.at_next()]))
        return values

    def _refuse_false_claim(
        self,
        opened: OpenedValues,
        lookup: LookupValues | None,
        challenge: Extension,
        point: Extension,
    ) -> None:
        key = self.key.verifying_key
        left = claimed_constraints(
            self.backend,
            key.system,
            opened,
            self.publics,
            lookup,
            challenge=challenge,
            point=point,
        )
        if left != quotient_side(key, opened, point):
            raise ProvingError("the trace does not satisfy the circuit's constraints")

    def _batch(self, opened: OpenedValues, point: Extension, transcript: Transcript) -> FieldArray:
        key = self.key.verifying_key
        bits = key.parameters.batching_pow_bits
        self._work("batching_nonce", Label.BATCHING_GRINDING, bits, transcript)
        challenge = Extension(transcript.challenge(Label.BATCHING_CHALLENGE))
        return batch_openings(
            self.backend, key, self.committed, opened, point=point, challenge=challenge
        )
