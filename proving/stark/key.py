"""Verifying keys: one circuit at one height with one set of parameters, and nothing left open.

A key's digest covers the compiled constraint program, heights, buses, the preprocessed commitment, every
parameter and, being computed with it, the permutation. Keys are rebuilt from source; the preprocessed cap
may be supplied when a golden test pins it. Source: proving/README.md "Verifying keys".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, EXTENSION_TAIL, GENERATOR, P
from proving.backends.port import FieldArray, Hasher
from proving.stark.air import Air
from proving.stark.parameters import FoldingRound, ProofParameters, folding_schedule
from proving.stark.soundness import CircuitShape, proven_bits
from proving.stark.system import ConstraintSystem, compile_air, whole_words
from proving.stark.transcript import Label
from proving.stark.transcripts import make_transcript
from schemas.errors import ParameterError

PROTOCOL_VERSION = 2
"""Part of every key digest and proof header; a change of transcript, layout or formulas raises it."""

QUOTIENT_CHUNKS = 2
"""Degree-3 constraints leave a quotient of degree below twice the height."""


@dataclass(frozen=True)
class VerifyingKey:
    """What a verifier knows before it sees a proof.

    Attributes:
        kind: Registered number of the kind of proof, below P.
        air: The circuit.
        system: The circuit compiled.
        parameters: Settings of the proof system.
        preprocessed_cap: (2^log_key_cap, entries of a digest) Merkle cap of the fixed columns' extension; empty
            without any.
        digest: Word that names all of the above.
    """

    kind: int
    air: Air
    system: ConstraintSystem
    parameters: ProofParameters
    preprocessed_cap: FieldArray
    digest: tuple[int, ...]

    @property
    def log_height(self) -> int:
        """Base-2 logarithm of the number of rows."""
        return self.system.log_height

    @property
    def log_size(self) -> int:
        """Base-2 logarithm of the evaluation domain."""
        return self.log_height + self.parameters.log_blowup

    @property
    def log_cap(self) -> int:
        """Base-2 logarithm of the cap of the column trees."""
        return min(self.parameters.log_cap, self.log_size)

    @property
    def log_key_cap(self) -> int:
        """Base-2 logarithm of the cap of the preprocessed columns' tree."""
        return key_cap(self.parameters, self.log_height)

    @cached_property
    def schedule(self) -> tuple[FoldingRound, ...]:
        """FRI layers."""
        return folding_schedule(self.parameters, self.log_height)

    @cached_property
    def shape(self) -> CircuitShape:
        """What the soundness calculator reads."""
        return circuit_shape(self.system)

    @cached_property
    def proven_bits(self) -> int:
        """Proven bits of every proof under this key."""
        return proven_bits(self.parameters, self.shape)

    @property
    def widths(self) -> dict[str, int]:
        """Columns of each committed tree, in commitment order; trees without columns do not exist."""
        layout = self.system.layout
        widths = {
            "fixed": layout.fixed,
            "main": layout.main,
            "lookup": layout.lookup,
            "quotient": QUOTIENT_CHUNKS * EXTENSION_DEGREE,
        }
        return {name: width for name, width in widths.items() if width}

    @property
    def digest_hex(self) -> str:
        """The digest as 64 hexadecimal characters, four bytes little-endian per element."""
        return np.array(self.digest, dtype="<u4").tobytes().hex()


def key_cap(parameters: ProofParameters, log_height: int) -> int:
    """Returns the base-2 logarithm of the cap of the preprocessed columns' tree."""
    levels = parameters.log_cap + parameters.key_cap_levels
    return min(levels, log_height + parameters.log_blowup)


def circuit_shape(system: ConstraintSystem) -> CircuitShape:
    """Returns the figures of a compiled circuit that soundness depends on."""
    layout = system.layout
    chunks = QUOTIENT_CHUNKS * EXTENSION_DEGREE
    rows = (layout.fixed, layout.main, layout.lookup, chunks, layout.main_next, layout.lookup_next)
    return CircuitShape(
        log_height=system.log_height,
        degree=system.degree,
        num_constraints=len(system.names),
        num_openings=sum(whole_words(width) for width in rows),
        num_interactions=system.num_interactions,
        message_width=system.message_width,
    )


def make_verifying_key(
    kind: int,
    air: Air,
    parameters: ProofParameters,
    preprocessed_cap: Sequence[Sequence[int]] | FieldArray,
    hasher: Hasher,
    *,
    system: ConstraintSystem | None = None,
) -> VerifyingKey:
    """Compiles a circuit and fixes its key.

    Args:
        kind: Number of the kind of proof.
        air: The circuit.
        parameters: Settings.
        preprocessed_cap: Cap of the fixed columns (`proving.stark.setup.preprocessed_cap` computes it).
        hasher: Computes the digest.
        system: The circuit compiled before, if the caller has it.

    Raises:
        ParameterError: The circuit does not fit the parameters or the cap has the wrong size.
    """
    if not 0 <= kind < P:
        raise ParameterError(f"kind is {kind}, must be below P")
    compiled = compile_air(air) if system is None else system
    folding_schedule(parameters, compiled.log_height)
    cap = np.array(preprocessed_cap, dtype=np.uint32).reshape(-1, parameters.digests.entries)
    wanted = 2 ** key_cap(parameters, compiled.log_height) if compiled.layout.fixed else 0
    if len(cap) != wanted:
        raise ParameterError(f"the preprocessed cap has {len(cap)} digests, {wanted} are needed")
    cap.setflags(write=False)
    digest = _key_digest(kind, compiled, parameters, cap, hasher)
    return VerifyingKey(kind, air, compiled, parameters, cap, digest)


def key_description(system: ConstraintSystem) -> list[int]:
    """Returns what a key's digest says about field and circuit, as field elements."""
    fingerprint = system.fingerprint
    limbs = [int.from_bytes(fingerprint[i : i + 2], "little") for i in range(0, 32, 2)]
    field = [P % 2**16, P >> 16, GENERATOR, *EXTENSION_TAIL]
    sizes = [system.log_height, len(system.names), system.degree, *system.layout.sizes()]
    return [*field, *sizes, *limbs]


def _key_digest(
    kind: int,
    system: ConstraintSystem,
    parameters: ProofParameters,
    cap: FieldArray,
    hasher: Hasher,
) -> tuple[int, ...]:
    transcript = make_transcript(parameters.hash, hasher)
    transcript.absorb(Label.KIND, [PROTOCOL_VERSION, parameters.digests.number, kind])
    transcript.absorb(Label.KEY_DESCRIPTION, key_description(system))
    transcript.absorb(Label.PARAMETERS, parameters.elements())
    transcript.absorb(Label.PREPROCESSED_CAP, cap)
    return transcript.word(Label.KEY)
