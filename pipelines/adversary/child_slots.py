"""The circuits of the pyramid as verifiers: which proofs each takes, and how mutants are put into its slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.adversary.circuit_verdicts import CircuitVerifier, Verdict
from proving.arithmetic.modulus import WORD
from proving.backends.port import FieldArray, Hasher
from proving.kinds import PROGRAMS, SELF_RECURSIVE, recursive_program, verifying_key
from proving.recursion.children import ChildInputs
from proving.recursion.day import day_inputs
from proving.recursion.epoch import epoch_inputs
from proving.recursion.global_proofs import DAY_KIND, EPOCH_KIND
from proving.recursion.join import slot_inputs
from proving.recursion.recursive_proofs import body_of, fill_child
from proving.recursion.span_proofs import JOIN_KIND

_slots: dict[str, ChildSlots] = {}
"""By program; every hasher gives the same."""


@dataclass(frozen=True, slots=True)
class ChildSlots:
    """A circuit's slots.

    Attributes:
        program: Kind of proof that the circuit is for.
        places: Where a child with its key lies, slot after slot; None if the key is a constant and the bodies of the
            proofs are all that comes first in the input.
        verifier: Reads the circuit's claims.
    """

    program: str
    places: tuple[ChildInputs, ...] | None
    verifier: CircuitVerifier

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of proof that the slots take."""
        _, about = PROGRAMS[self.program]
        return (*about, self.program) if self.program in SELF_RECURSIVE else about

    def verdicts(self, proofs: Sequence[bytes], hasher: Hasher) -> list[Verdict]:
        """Returns what the circuit says about proofs, its other inputs being zeros.

        Args:
            proofs: One for every slot; bytes that can be read as proofs of `kinds`.
            hasher: Poseidon2.

        Raises:
            ProvingError: A challenge is one of the few that no proof can be verified with.
        """
        program = recursive_program(self.program, hasher)
        tape = program.execution.tape
        inputs: FieldArray = np.zeros(tape.num_inputs, dtype=np.uint32)
        if self.places is None:
            bodies = np.concatenate([body_of(proof) for proof in proofs])
            inputs[: len(bodies)] = bodies
        else:
            for place, proof in zip(self.places, proofs, strict=True):
                fill_child(inputs, place, proof, trusted=self.kinds, hasher=hasher)
        publics: FieldArray = np.zeros((tape.num_publics, WORD), dtype=np.uint32)
        return self.verifier.verdicts(publics, inputs, hasher)


def child_slots(program: str, hasher: Hasher) -> ChildSlots:
    """Returns the slots of a recursive kind's circuit; seconds the first time."""
    if program not in _slots:
        _slots[program] = _make_slots(program, hasher)
    return _slots[program]


def _make_slots(program: str, hasher: Hasher) -> ChildSlots:
    _, about = PROGRAMS[program]
    keys = [verifying_key(kind, hasher) for kind in about]
    places: tuple[ChildInputs, ...] | None = None
    if program == JOIN_KIND:
        places = tuple(slot.child for slot in slot_inputs(keys))
    elif program == EPOCH_KIND:
        places = tuple(shard.child for shard in epoch_inputs(keys).shards)
    elif program == DAY_KIND:
        places = tuple(slot.child for slot in day_inputs(keys[0]))
    execution = recursive_program(program, hasher).execution
    return ChildSlots(program, places, CircuitVerifier(execution, keys[0]))
