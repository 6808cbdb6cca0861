"""`campaign mutate-proofs`: proofs with one thing changed, and bytes that never were proofs; none may be accepted.

Every mutant starts from a real segment proof that is accepted unchanged. Anything but a named refusal, such as
another exception, counts as a failure of the verifier too.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from math import prod
from multiprocessing import get_context
from typing import Any

from operators.proof_worker import process_backend
from pipelines.progress import Progress
from pipelines.sample_window import sample_window
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.errors import ProofError
from proving.kinds import verifying_key
from proving.segment_proofs import SEGMENT_KIND, prove_segment, verify_segment
from proving.stark.encoding import HEADER_BYTES, proof_sections
from schemas.units import MODULUS

DEFAULT_RUNS = 10_000
CHUNK = 50
ELEMENT_BYTES = 4


@dataclass(frozen=True, slots=True)
class SectionPlace:
    """Where a section lies.

    Attributes:
        name: Of the section.
        start: Its first byte.
        rows: Its first dimension.
        elements: Field elements in all.
    """

    name: str
    start: int
    rows: int
    elements: int

    @property
    def whole(self) -> slice:
        """Its bytes."""
        return slice(self.start, self.start + ELEMENT_BYTES * self.elements)

    def row(self, number: int) -> slice:
        """The bytes of a row."""
        size = ELEMENT_BYTES * self.elements // self.rows
        return slice(self.start + number * size, self.start + (number + 1) * size)


Mutation = Callable[[bytes, bytes, random.Random], bytes]


def flip_bit(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One bit anywhere."""
    return _with(proof, at := rng.randrange(len(proof)), bytes([proof[at] ^ 1 << rng.randrange(8)]))


def change_element(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element becomes another canonical one."""
    return _changed(proof, _element_at(proof, rng), rng)


def wrap_element(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element is written with the modulus added: the same residue, not canonical."""
    at = _element_at(proof, rng)
    old = int.from_bytes(proof[at : at + ELEMENT_BYTES], "little")
    return _with(proof, at, ((old + MODULUS) % 2**32).to_bytes(ELEMENT_BYTES, "little"))


def change_in_section(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element of a section, however small, becomes another canonical one."""
    section = rng.choice(_sections())
    at = section.start + ELEMENT_BYTES * rng.randrange(section.elements)
    return _changed(proof, at, rng)


def change_public(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One public input."""
    publics = _sections()[0]
    return _changed(proof, publics.start + ELEMENT_BYTES * rng.randrange(publics.elements), rng)


def leave_the_field(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element of a section is not below the modulus."""
    section = rng.choice(_sections())
    at = section.start + ELEMENT_BYTES * rng.randrange(section.elements)
    value = rng.choice((MODULUS, MODULUS + 1, 2**32 - 1, rng.randrange(MODULUS, 2**32)))
    return _with(proof, at, value.to_bytes(ELEMENT_BYTES, "little"))


def swap_rows(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Two rows of a section change places, such as the openings of two queries or two columns."""
    for _ in range(64):
        section = rng.choice(_sections())
        first, second = sorted(rng.randrange(section.rows) for _ in range(2))
        one, two = section.row(first), section.row(second)
        if proof[one] != proof[two]:
            swapped = _with(proof, one.start, proof[two])
            return _with(swapped, two.start, proof[one])
    return change_element(proof, other, rng)


def drop_row(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """A row of a section is missing; what follows moves up."""
    section = rng.choice(_sections())
    row = section.row(rng.randrange(section.rows))
    return proof[: row.start] + proof[row.stop :]


def repeat_row(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """A row of a section is there twice; what follows moves down."""
    section = rng.choice(_sections())
    row = section.row(rng.randrange(section.rows))
    return proof[: row.stop] + proof[row] + proof[row.stop :]


def end_at_a_section(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Nothing comes after a section."""
    return proof[: rng.choice(_sections()).start]


def swap_words(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Two different runs of 32 bytes change places."""
    first, second = sorted(_element_at(proof, rng, 32) for _ in range(2))
    if second < first + 32 or proof[first : first + 32] == proof[second : second + 32]:
        return change_element(proof, other, rng)
    swapped = _with(proof, first, proof[second : second + 32])
    return _with(swapped, second, proof[first : first + 32])


def splice_section(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One section comes from a proof of another statement."""
    for _ in range(64):
        part = rng.choice(_sections()).whole
        if proof[part] != other[part]:
            return _with(proof, part.start, other[part])
    return change_element(proof, other, rng)


def zero_section(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One section becomes zeros."""
    for _ in range(64):
        part = rng.choice(_sections()).whole
        if any(proof[part]):
            return _with(proof, part.start, bytes(part.stop - part.start))
    return change_element(proof, other, rng)


def change_header(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One byte of the header."""
    at = rng.randrange(HEADER_BYTES)
    return _with(proof, at, bytes([(proof[at] + rng.randrange(1, 256)) % 256]))


def truncate(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Any shorter length."""
    return proof[: rng.randrange(len(proof))]


def extend(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Up to 64 bytes too many."""
    return proof + rng.randbytes(rng.randrange(1, 65))


def random_bytes(proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Bytes that never were a proof, of any length or with a true header."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(2 * len(proof)))
    return proof[:HEADER_BYTES] + rng.randbytes(len(proof) - HEADER_BYTES)


MUTATIONS: dict[str, Mutation] = {
    "flip_bit": flip_bit,
    "change_element": change_element,
    "wrap_element": wrap_element,
    "change_in_section": change_in_section,
    "change_public": change_public,
    "leave_the_field": leave_the_field,
    "swap_words": swap_words,
    "swap_rows": swap_rows,
    "drop_row": drop_row,
    "repeat_row": repeat_row,
    "end_at_a_section": end_at_a_section,
    "splice_section": splice_section,
    "zero_section": zero_section,
    "change_header": change_header,
    "truncate": truncate,
    "extend": extend,
    "random_bytes": random_bytes,
}


@dataclass(frozen=True, slots=True)
class MutationShift:
    """A piece of a campaign for one process.

    Attributes:
        seed: Seed of the campaign.
        first: Number of its first mutant.
        count: Mutants.
        proof: What is mutated.
        other: A proof of another statement.
    """

    seed: int
    first: int
    count: int
    proof: bytes
    other: bytes

    def run(self) -> dict[str, Any]:
        """Makes the mutants and verifies each; returns counts by mutation and reason, and what was accepted."""
        reasons: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        sections: Counter[str] = Counter()
        accepted: list[str] = []
        hasher = process_backend()  # bit for bit the NumPy one, and four times as fast
        names = list(MUTATIONS)
        for number in range(self.first, self.first + self.count):
            rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - reproducible, no secret
            name = names[number % len(names)]
            mutant = MUTATIONS[name](self.proof, self.other, rng)
            kinds[name] += 1
            sections.update(sections_changed(mutant, self.proof))
            if mutant in (self.proof, self.other):
                reasons["unchanged"] += 1
                continue
            try:
                verify_segment(mutant, hasher)
            except ProofError as error:
                reasons[error.reason.value] += 1
            except Exception as error:
                accepted.append(f"mutant {number} {name}: {type(error).__name__}: {error}")
            else:
                accepted.append(f"mutant {number} {name}: accepted")
        found = {"reasons": reasons, "kinds": kinds, "sections": sections}
        return {**found, "accepted": accepted}


def run_mutations(
    seed: int, runs: int, processes: int, report: Progress, is_stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Runs the campaign.

    Args:
        seed: Of the mutations.
        runs: Mutants.
        processes: Processes side by side.
        report: Progress.
        is_stopped: Ends the campaign after the present pieces.

    Returns:
        The campaign's evidence; `ok` when every mutant was refused by name.
    """
    started = time.monotonic()
    report.phase("two proofs to start from", 2)
    proofs = []
    for number in range(2):
        witness = sample_window(8, seed + number)[0]
        proofs.append(prove_segment(witness, process_backend()).data)
        verify_segment(proofs[-1], NumpyHasher())
        report.advance(1)
    report.phase("mutants", runs)
    reasons: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    sections: Counter[str] = Counter()
    accepted: list[str] = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        shifts = [
            MutationShift(seed, first, min(CHUNK, runs - first), *proofs)
            for first in range(0, runs, CHUNK)
        ]
        waiting = [pool.submit(shift.run) for shift in shifts]
        for future in as_completed(waiting):
            if is_stopped():
                pool.shutdown(wait=False, cancel_futures=True)
                break
            found = future.result()
            reasons += found["reasons"]
            kinds += found["kinds"]
            sections += found["sections"]
            accepted += found["accepted"]
            report.advance(sum(found["kinds"].values()))
    done = kinds.total()
    return {
        "name": "mutate-proofs",
        "seed": seed,
        "runs": done,
        "accepted": len(accepted),
        "evidence": {
            "mutations": dict(sorted(kinds.items())),
            "refused": dict(sorted(reasons.items())),
            "sections": {place.name: sections[place.name] for place in _sections()},
            "accepted": accepted[:20],
            "proof_bytes": len(proofs[0]),
            "seconds": round(time.monotonic() - started, 1),
        },
        "ok": not accepted and done == runs and not reasons["unchanged"],
    }


def _with(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _element_at(proof: bytes, rng: random.Random, room: int = ELEMENT_BYTES) -> int:
    count = (len(proof) - HEADER_BYTES - room) // ELEMENT_BYTES
    return HEADER_BYTES + ELEMENT_BYTES * rng.randrange(count + 1)


def _changed(proof: bytes, at: int, rng: random.Random) -> bytes:
    old = int.from_bytes(proof[at : at + ELEMENT_BYTES], "little")
    new = (old + rng.randrange(1, MODULUS)) % MODULUS
    return _with(proof, at, new.to_bytes(ELEMENT_BYTES, "little"))


@cache
def _sections() -> tuple[SectionPlace, ...]:
    """Returns the sections that hold anything, in order; the public inputs come first."""
    places: list[SectionPlace] = []
    start = HEADER_BYTES
    for section in proof_sections(verifying_key(SEGMENT_KIND, NumpyHasher())):
        elements = prod(section.shape)
        if elements:
            places.append(SectionPlace(section.name, start, section.shape[0], elements))
        start += ELEMENT_BYTES * elements
    return tuple(places)


def sections_changed(mutant: bytes, proof: bytes) -> list[str]:
    """Returns the sections in which a mutant of the same length differs; none for another length."""
    if len(mutant) != len(proof):
        return []
    return [place.name for place in _sections() if mutant[place.whole] != proof[place.whole]]
