"""Proof bytes: the fixed layout of a key's proofs, read without copying what need not be copied.

Source: proving/README.md "Byte layout".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from proving.light.errors import ProofMalformed, ProofRejected
from proving.light.field import DEGREE, Element, P
from proving.light.key import DIGEST_BYTES, PROTOCOL_VERSION, LightKey

MAGIC = b"ECLP"

HEADER_BYTES = 44
"""Bytes: magic, version, kind, key digest."""

MAX_PROOF_BYTES = 64 * 2**20
"""Bytes: longer input is refused before it is looked at."""

ELEMENT_BYTES = 4
QUOTIENT_COLUMNS = 2 * DEGREE


@dataclass(frozen=True, slots=True)
class Section:
    """Where a part of a proof lies.

    Attributes:
        name: Such as `main_cap`.
        start: First byte.
        length: Bytes.
        entry_bytes: 4 of elements, 1 of digests.
    """

    name: str
    start: int
    length: int
    entry_bytes: int


class Proof:
    """A proof whose length and elements are those of its key.

    Attributes:
        data: All bytes.
        elements: Numbers of the sections of elements, by name.
    """

    def __init__(self, key: LightKey, data: bytes) -> None:
        """Reads a proof.

        Raises:
            ProofMalformed: The bytes are no proof of the key.
            ProofRejected: They name another key.
        """
        _check_header(key, data)
        self.data = data
        self.elements: dict[str, tuple[int, ...]] = {}
        self._sections = {section.name: section for section in sections_of(key)}
        last = list(self._sections.values())[-1]
        wanted = last.start + last.length
        if len(data) != wanted:
            reason = "truncated" if len(data) < wanted else "trailing_bytes"
            raise ProofMalformed(reason, "proof", wanted, len(data))
        for section in self._sections.values():
            if section.entry_bytes == ELEMENT_BYTES:
                self.elements[section.name] = self._residues(section)

    def _residues(self, section: Section) -> tuple[int, ...]:
        count = section.length // ELEMENT_BYTES
        values = struct.unpack_from(f"<{count}I", self.data, section.start)
        if max(values) >= P:
            place, value = next((k, value) for k, value in enumerate(values) if value >= P)
            where = f"{section.name}/{place}"
            raise ProofMalformed("non_canonical_element", where, f"below {P}", value)
        return values

    def has(self, name: str) -> bool:
        """Tells whether proofs of the key have a section."""
        return name in self._sections

    def raw(self, name: str) -> bytes:
        """Returns the bytes of a section."""
        section = self._sections[name]
        return self.data[section.start : section.start + section.length]

    def field_elements(self, name: str) -> list[Element]:
        """Returns a section of challenge-field elements; none if the key has no such section."""
        values = self.elements.get(name, ())
        step = range(0, len(values), DEGREE)
        return [
            (values[k], values[k + 1], values[k + 2], values[k + 3], values[k + 4]) for k in step
        ]

    def digests(self, name: str) -> list[bytes]:
        """Returns a section of digests; none if the key has no such section."""
        if name not in self._sections:
            return []
        data = self.raw(name)
        return [data[k : k + DIGEST_BYTES] for k in range(0, len(data), DIGEST_BYTES)]


def sections_of(key: LightKey) -> list[Section]:
    """Returns every section of a key's proofs, in order."""
    cap, queries = DIGEST_BYTES << key.log_cap, key.settings["num_queries"]
    element, digit = ELEMENT_BYTES, ELEMENT_BYTES * DEGREE
    grinding = {name: element * (bits > 0) for name, bits in key.settings.items() if "pow" in name}
    widths = key.widths
    parts = [
        ("publics", element * key.num_publics, element),
        ("main_cap", cap, 1),
        ("lookup_nonce", grinding["lookup_pow_bits"], element),
        ("lookup_cap", cap, 1),
        ("quotient_cap", cap, 1),
        ("point_nonce", grinding["deep_pow_bits"], element),
        *[(f"{name}_openings", digit * width, element) for name, width in widths.items()],
        ("main_next_openings", digit * key.main_next, element),
        ("lookup_next_openings", digit * key.lookup_next, element),
        ("batching_nonce", grinding["batching_pow_bits"], element),
    ]
    for number, layer in enumerate(key.layers):
        parts.append((f"layer{number}_cap", DIGEST_BYTES << layer.log_cap, 1))
        parts.append((f"layer{number}_nonce", grinding["commit_pow_bits"], element))
    parts.append(("final_polynomial", digit << key.settings["log_final_length"], element))
    parts.append(("query_nonce", grinding["query_pow_bits"], element))
    for name, width in widths.items():
        log_cap = key.log_key_cap if name == "fixed" else key.log_cap
        parts.append((f"{name}_rows", queries * element * width, element))
        parts.append((f"{name}_paths", queries * DIGEST_BYTES * (key.log_size - log_cap), 1))
    for number, layer in enumerate(key.layers):
        depth = layer.log_leaves - layer.log_cap
        parts.append((f"layer{number}_leaves", queries * digit << layer.log_arity, element))
        parts.append((f"layer{number}_paths", queries * DIGEST_BYTES * depth, 1))
    return _placed(parts)


def _placed(parts: list[tuple[str, int, int]]) -> list[Section]:
    found: list[Section] = []
    start = HEADER_BYTES
    for name, length, entry_bytes in parts:
        if length:
            found.append(Section(name, start, length, entry_bytes))
            start += length
    return found


def _check_header(key: LightKey, data: bytes) -> None:
    if len(data) > MAX_PROOF_BYTES:
        raise ProofMalformed("too_large", "proof", MAX_PROOF_BYTES, len(data))
    if data[:4] != MAGIC[: len(data[:4])]:
        raise ProofMalformed("bad_magic", "header", MAGIC.hex(), data[:4].hex())
    if len(data) < HEADER_BYTES:
        raise ProofMalformed("truncated", "header", HEADER_BYTES, len(data))
    version, kind, *digest = struct.unpack_from("<10I", data, 4)
    if version != PROTOCOL_VERSION:
        raise ProofMalformed("unknown_version", "header", PROTOCOL_VERSION, version)
    known, named = key_hex(key.digest), key_hex(digest)
    if known != named:
        expected = (
            f"the one key that this light client knows, {known} (a newer client knows newer keys)"
        )
        raise ProofRejected("unknown_key", "header", expected, named)
    if kind != key.kind:
        raise ProofMalformed("unknown_key", "header", f"kind {key.kind}", kind)


def key_hex(digest: tuple[int, ...] | list[int]) -> str:
    """Returns a key's digest as 64 hexadecimal characters."""
    return struct.pack("<8I", *digest).hex()
