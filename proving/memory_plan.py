"""How much memory a proof takes, from the shape of its circuit, and whether the machine has it.

The prover keeps every committed column three times (values, coefficients, points of the evaluation domain) until
the queries are answered, of a long domain the first two, and each phase adds arrays of its own on top. `peak_bytes` adds up what `prover` and
`stark` allocate; `tests/proving/test_memory_plan.py` holds it against the peak of a real process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.errors import ProvingError
from proving.stark.key import QUOTIENT_CHUNKS, VerifyingKey
from proving.stark.setup import KEPT_LOG_BLOWUP

ELEMENT_BYTES = 4
"""Bytes of a stored residue."""

WIDE_BYTES = 8
"""Bytes of a residue in an intermediate product."""

PROCESS_BYTES = 160 * 2**20
"""Bytes: interpreter, libraries, compiled code, the verifier's own objects."""

MEMORY_INFO = Path("/proc/meminfo")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
MEMORY_USED = Path("/sys/fs/cgroup/memory.current")


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes that a proof takes at its peak.

    Attributes:
        columns: Values, coefficients and evaluations of all committed columns.
        trees: Digests of all Merkle trees and FRI layers.
        work: The largest phase's own arrays.
        process: Everything that does not grow with the circuit.
    """

    columns: int
    trees: int
    work: int
    process: int

    @property
    def peak(self) -> int:
        """All of it."""
        return self.columns + self.trees + self.work + self.process


def plan_memory(key: VerifyingKey) -> MemoryPlan:
    """Returns what a proof under a key takes; rows x columns x (2 + blow-up), and the work on top."""
    rows, points = 2**key.log_height, 2**key.log_size
    layout, groups = key.system.layout, key.system.num_groups
    chunks = QUOTIENT_CHUNKS * EXTENSION_DEGREE
    committed = layout.fixed + layout.main + layout.lookup + chunks
    values = layout.fixed + layout.main + layout.lookup
    kept = min(points, rows << KEPT_LOG_BLOWUP)
    held = committed * points if kept == points else max(key.widths.values()) * kept
    columns = ELEMENT_BYTES * (committed * rows + held + values * rows)
    layers = sum(2**layer.log_size for layer in key.schedule)
    digests = 2 * points * len(key.widths) + 2 * sum(2**layer.log_leaves for layer in key.schedule)
    trees = ELEMENT_BYTES * (WORD * digests + EXTENSION_DEGREE * layers)
    degree = EXTENSION_DEGREE
    # Helpers, their sum and the norms as the program leaves them, beside the columns made of them; wide sums.
    lookups = (degree * (groups + 1) + 1) * rows * ELEMENT_BYTES + 4 * degree * rows * WIDE_BYTES
    lookups *= groups > 0
    # The columns of the next row on the quotient's points, all others if they are not kept, and the combined sums.
    following = layout.main_next + layout.lookup_next
    computed = values if kept < points else 0
    quotient = (computed + 2 * following + 4 * degree) * 2 * rows * ELEMENT_BYTES
    # Numerators, denominators and inverses of both opening points, two of them wide.
    openings = degree * points * (4 * ELEMENT_BYTES + 3 * WIDE_BYTES)
    return MemoryPlan(columns, trees, max(lookups, quotient, openings), PROCESS_BYTES)


def available_bytes() -> int | None:
    """Returns how much memory this process may still take; None where the system does not say."""
    found: list[int] = []
    if MEMORY_INFO.is_file():
        lines = MEMORY_INFO.read_text("ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    if MEMORY_LIMIT.is_file() and MEMORY_USED.is_file():
        limit = MEMORY_LIMIT.read_text("ascii").strip()
        if limit != "max":
            found.append(int(limit) - int(MEMORY_USED.read_text("ascii")))
    if not found and "SC_AVPHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def require_memory(key: VerifyingKey) -> None:
    """Refuses a proof that does not fit, before anything is done.

    Raises:
        ProvingError: It takes more than there is, with both figures.
    """
    available, plan = available_bytes(), plan_memory(key)
    if available is not None and plan.peak > available:
        raise ProvingError(
            f"a proof of {key.system.name} takes {plan.peak / 2**30:.1f} GiB (2^{key.log_height} rows, blow-up "
            f"{2**key.parameters.log_blowup}), and {available / 2**30:.1f} GiB are available: free some, or "
            "prove a smaller kind"
        )
