"""Proofs with one thing changed, and bytes that never were proofs: what verifiers must refuse by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from proving.stark.encoding import HEADER_BYTES, proof_sections
from proving.stark.key import VerifyingKey
from schemas.units import MODULUS

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


Sections = tuple[SectionPlace, ...]
"""A proof's sections that hold anything, in order; the public inputs come first."""

Mutation = Callable[[Sections, bytes, bytes, random.Random], bytes]
"""Sections, the proof, one of another statement, random source -> the mutant."""


def flip_bit(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One bit anywhere."""
    return _with(proof, at := rng.randrange(len(proof)), bytes([proof[at] ^ 1 << rng.randrange(8)]))


def change_element(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element becomes another canonical one."""
    return _changed(proof, _element_at(proof, rng), rng)


def wrap_element(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element is written with the modulus added: the same residue, not canonical."""
    at = _element_at(proof, rng)
    old = int.from_bytes(proof[at : at + ELEMENT_BYTES], "little")
    return _with(proof, at, ((old + MODULUS) % 2**32).to_bytes(ELEMENT_BYTES, "little"))


def change_in_section(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element of a section, however small, becomes another canonical one."""
    section = rng.choice(sections)
    at = section.start + ELEMENT_BYTES * rng.randrange(section.elements)
    return _changed(proof, at, rng)


def change_public(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One public input."""
    publics = sections[0]
    return _changed(proof, publics.start + ELEMENT_BYTES * rng.randrange(publics.elements), rng)


def leave_the_field(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One field element of a section is not below the modulus."""
    section = rng.choice(sections)
    at = section.start + ELEMENT_BYTES * rng.randrange(section.elements)
    value = rng.choice((MODULUS, MODULUS + 1, 2**32 - 1, rng.randrange(MODULUS, 2**32)))
    return _with(proof, at, value.to_bytes(ELEMENT_BYTES, "little"))


def swap_rows(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Two rows of a section change places, such as the openings of two queries or two columns."""
    for _ in range(64):
        section = rng.choice(sections)
        first, second = sorted(rng.randrange(section.rows) for _ in range(2))
        one, two = section.row(first), section.row(second)
        if proof[one] != proof[two]:
            swapped = _with(proof, one.start, proof[two])
            return _with(swapped, two.start, proof[one])
    return change_element(sections, proof, other, rng)


def drop_row(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """A row of a section is missing; what follows moves up."""
    section = rng.choice(sections)
    row = section.row(rng.randrange(section.rows))
    return proof[: row.start] + proof[row.stop :]


def repeat_row(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """A row of a section is there twice; what follows moves down."""
    section = rng.choice(sections)
    row = section.row(rng.randrange(section.rows))
    return proof[: row.stop] + proof[row] + proof[row.stop :]


def end_at_a_section(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Nothing comes after a section."""
    return proof[: rng.choice(sections).start]


def swap_words(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Two different runs of 32 bytes change places."""
    first, second = sorted(_element_at(proof, rng, 32) for _ in range(2))
    if second < first + 32 or proof[first : first + 32] == proof[second : second + 32]:
        return change_element(sections, proof, other, rng)
    swapped = _with(proof, first, proof[second : second + 32])
    return _with(swapped, second, proof[first : first + 32])


def splice_section(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One section comes from a proof of another statement."""
    for _ in range(64):
        part = rng.choice(sections).whole
        if proof[part] != other[part]:
            return _with(proof, part.start, other[part])
    return change_element(sections, proof, other, rng)


def zero_section(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One section becomes zeros."""
    for _ in range(64):
        part = rng.choice(sections).whole
        if any(proof[part]):
            return _with(proof, part.start, bytes(part.stop - part.start))
    return change_element(sections, proof, other, rng)


def change_header(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """One byte of the header."""
    at = rng.randrange(HEADER_BYTES)
    return _with(proof, at, bytes([(proof[at] + rng.randrange(1, 256)) % 256]))


def truncate(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Any shorter length."""
    return proof[: rng.randrange(len(proof))]


def extend(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Up to 64 bytes too many."""
    return proof + rng.randbytes(rng.randrange(1, 65))


def random_bytes(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Bytes that never were a proof, of any length or with a true header."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(2 * len(proof)))
    return proof[:HEADER_BYTES] + rng.randbytes(len(proof) - HEADER_BYTES)


def splice_query(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """All that one query opens comes from a proof of another statement."""
    found, number = proof, rng.randrange(1 << 20)
    for section in sections:
        if section.name.endswith(("_rows", "_paths", "_leaves")):
            row = section.row(number % section.rows)
            found = _with(found, row.start, other[row])
    return found


def splice_end(sections: Sections, proof: bytes, other: bytes, rng: random.Random) -> bytes:
    """Everything from a section on comes from a proof of another statement."""
    start = rng.choice(sections[1:]).start
    return proof[:start] + other[start:]


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
    "splice_query": splice_query,
    "splice_end": splice_end,
}


def section_places(key: VerifyingKey) -> Sections:
    """Returns where the sections of a key's proofs lie."""
    places: list[SectionPlace] = []
    start = HEADER_BYTES
    for section in proof_sections(key):
        elements = prod(section.shape)
        places.append(SectionPlace(section.name, start, section.shape[0], elements))
        start += ELEMENT_BYTES * elements
    return tuple(places)


def sections_changed(sections: Sections, mutant: bytes, proof: bytes) -> list[str]:
    """Returns the sections in which a mutant of the same length differs; none for another length."""
    if len(mutant) != len(proof):
        return []
    return [place.name for place in sections if mutant[place.whole] != proof[place.whole]]


def _with(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _element_at(proof: bytes, rng: random.Random, room: int = ELEMENT_BYTES) -> int:
    count = (len(proof) - HEADER_BYTES - room) // ELEMENT_BYTES
    return HEADER_BYTES + ELEMENT_BYTES * rng.randrange(count + 1)


def _changed(proof: bytes, at: int, rng: random.Random) -> bytes:
    old = int.from_bytes(proof[at : at + ELEMENT_BYTES], "little")
    new = (old + rng.randrange(1, MODULUS)) % MODULUS
    return _with(proof, at, new.to_bytes(ELEMENT_BYTES, "little"))
