"""What all recursive kinds share: height, public words, and a program that is ready to be run.

They differ in their preprocessed columns only, so one constraint system verifies them all and a join can take
children of several kinds. To that end every program reads each public word exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.backends.port import FieldArray, Hasher
from proving.recursion.air import RecursionAir
from proving.recursion.execution import Execution, Values
from proving.recursion.tape import Tape
from proving.recursion.trace import fill_trace
from proving.recursion.wiring import Wiring, wire
from proving.stark.key import VerifyingKey

STATEMENT_WORD, KEY_WORD, PAYEE_WORD = range(3)
"""The public words of every recursive proof: statement, the recursion's own key, payee."""

PUBLIC_USES = (1, 1, 1)
"""How often a program reads each of them."""

LOG_HEIGHT = 16
"""Base-2 logarithm of the rows of lifts and joins: five verifications fill them."""


@dataclass(frozen=True, slots=True, eq=False)
class RecursionProgram:
    """A program laid out and ready to be run."""

    wiring: Wiring
    execution: Execution

    def values(self, publics: Sequence[int], inputs: FieldArray, hasher: Hasher) -> Values:
        """Runs the program and checks its claims.

        Raises:
            ProvingError: One does not hold, by its name.
        """
        words = np.array(publics, dtype=np.uint32).reshape(-1, WORD)
        values = self.execution.run(words, inputs, hasher)
        self.execution.check(values)
        return values

    def trace(self, values: Values, hasher: Hasher) -> FieldArray:
        """Returns the trace of a run."""
        return fill_trace(self.execution, self.wiring, values, hasher)


_programs: dict[tuple[str, ...], RecursionProgram] = {}
"""By name and digests of the keys that it is about."""


def program_about(
    name: str,
    write: Callable[..., Tape],
    keys: Sequence[VerifyingKey],
    log_height: int = LOG_HEIGHT,
) -> RecursionProgram:
    """Returns a program about proofs of some keys, written once per process; two seconds."""
    place = (name, *(key.digest_hex for key in keys))
    if place not in _programs:
        tape = write(*keys)
        _programs[place] = RecursionProgram(wire(tape, log_height), Execution(tape))
    return _programs[place]


def recursion_air(make_wiring: Callable[[], Wiring], log_height: int = LOG_HEIGHT) -> RecursionAir:
    """Returns the circuit of a recursive kind; its wiring is made when it is asked for."""
    return RecursionAir("recursion", log_height, PUBLIC_USES, make_wiring)
