"""Proof bytes: a fixed layout that the verifying key alone determines.

Header: `ECLP`, version, kind, key digest. Body: public inputs, then every section of `proof_sections`: canonical
residues as little-endian 32-bit words, or digests that are bytes. The exact length is known before anything is
allocated, and each proof has exactly one encoding. Source: proving/README.md "Byte layout".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.backends.port import FieldArray
from proving.errors import ProofMalformed, RejectionReason
from proving.stark.key import PROTOCOL_VERSION, QUOTIENT_CHUNKS, VerifyingKey
from schemas.errors import ParameterError

MAGIC = b"ECLP"
"""First bytes of every proof."""

HEADER_BYTES = 4 + 4 + 4 + 4 * WORD
"""Bytes: magic, version, kind, key digest."""

MAX_PROOF_BYTES = 64 * 2**20
"""Bytes: no kind of proof comes near; longer input is refused before it is looked at."""


@dataclass(frozen=True, slots=True)
class ProofHeader:
    """The self-describing start of a proof.

    Attributes:
        kind: Claimed kind.
        key_digest: Claimed key.
    """

    kind: int
    key_digest: tuple[int, ...]

    @property
    def digest_hex(self) -> str:
        """The key's digest as `VerifyingKey.digest_hex` writes it."""
        return np.array(self.key_digest, dtype="<u4").tobytes().hex()


@dataclass(frozen=True, slots=True)
class Section:
    """A named array inside the body.

    Attributes:
        name: Such as `main_cap` or `layer1_leaves`.
        shape: Its shape in numbers.
        entry_bytes: Bytes of each number: 4 of an element, 1 of a digest that is a list of bytes.
    """

    name: str
    shape: tuple[int, ...]
    entry_bytes: int = 4

    @property
    def limit(self) -> int:
        """What every number must be below."""
        return P if self.entry_bytes == 4 else 256

    @property
    def num_bytes(self) -> int:
        """Bytes of the section."""
        return self.entry_bytes * prod(self.shape)


def proof_sections(key: VerifyingKey) -> tuple[Section, ...]:
    """Returns the body's sections in order; nonces exist only where grinding is asked for."""
    return tuple(section for section in _all_sections(key) if prod(section.shape))


def _all_sections(key: VerifyingKey) -> list[Section]:
    parameters, layout, digit = key.parameters, key.system.layout, EXTENSION_DEGREE
    width, unit = parameters.digests.entries, parameters.digests.entry_bytes
    cap = (2**key.log_cap, width)
    lookup_cap = cap if layout.lookup else (0, width)
    lookup_nonce = (1 if layout.lookup and parameters.lookup_pow_bits else 0,)
    sections = [
        Section("publics", (layout.publics,)),
        Section("main_cap", cap, unit),
        Section("lookup_nonce", lookup_nonce),
        Section("lookup_cap", lookup_cap, unit),
        Section("quotient_cap", cap, unit),
        Section("point_nonce", (1 if parameters.deep_pow_bits else 0,)),
        Section("fixed_openings", (layout.fixed, digit)),
        Section("main_openings", (layout.main, digit)),
        Section("lookup_openings", (layout.lookup, digit)),
        Section("quotient_openings", (QUOTIENT_CHUNKS * digit, digit)),
        Section("main_next_openings", (layout.main_next, digit)),
        Section("lookup_next_openings", (layout.lookup_next, digit)),
        Section("batching_nonce", (1 if parameters.batching_pow_bits else 0,)),
    ]
    for number, layer in enumerate(key.schedule):
        sections.append(Section(f"layer{number}_cap", (2**layer.log_cap, width), unit))
        sections.append(Section(f"layer{number}_nonce", (1 if parameters.commit_pow_bits else 0,)))
    sections.append(Section("final_polynomial", (2**parameters.log_final_length, digit)))
    sections.append(Section("query_nonce", (1 if parameters.query_pow_bits else 0,)))
    queries = parameters.num_queries
    for name, columns in key.widths.items():
        depth = key.log_size - (key.log_key_cap if name == "fixed" else key.log_cap)
        sections.append(Section(f"{name}_rows", (queries, columns)))
        sections.append(Section(f"{name}_paths", (queries, depth, width), unit))
    for number, layer in enumerate(key.schedule):
        sections.append(Section(f"layer{number}_leaves", (queries, 2**layer.log_arity, digit)))
        sections.append(Section(f"layer{number}_paths", (queries, layer.path_length, width), unit))
    return sections


def proof_bytes(key: VerifyingKey) -> int:
    """Returns the exact length of every proof under a key, in bytes."""
    return HEADER_BYTES + sum(section.num_bytes for section in proof_sections(key))


def encode_proof(key: VerifyingKey, values: Mapping[str, FieldArray]) -> bytes:
    """Encodes a proof.

    Raises:
        ParameterError: A section is missing, unknown, of another shape or not canonical.
    """
    sections = proof_sections(key)
    if set(values) != {section.name for section in sections}:
        raise ParameterError("the sections given are not those of the key")
    parts = [
        MAGIC,
        np.array([PROTOCOL_VERSION, key.kind, *key.digest], dtype="<u4").tobytes(),
    ]
    for section in sections:
        array = values[section.name]
        if array.shape != section.shape or (array >= section.limit).any():
            raise ParameterError(
                f"{section.name} is not a canonical array of shape {section.shape}"
            )
        parts.append(np.ascontiguousarray(array, dtype=f"<u{section.entry_bytes}").tobytes())
    return b"".join(parts)


def read_header(proof: bytes) -> ProofHeader:
    """Reads which key a proof claims.

    Raises:
        ProofMalformed: Too long, too short, other magic, other version.
    """
    if len(proof) > MAX_PROOF_BYTES:
        raise ProofMalformed(RejectionReason.TOO_LARGE, "proof", MAX_PROOF_BYTES, len(proof))
    if proof[:4] != MAGIC[: len(proof[:4])]:
        raise ProofMalformed(RejectionReason.BAD_MAGIC, "header", MAGIC.hex(), proof[:4].hex())
    if len(proof) < HEADER_BYTES:
        raise ProofMalformed(RejectionReason.TRUNCATED, "header", HEADER_BYTES, len(proof))
    version, kind, *digest = np.frombuffer(proof[4:HEADER_BYTES], dtype="<u4").tolist()
    if version != PROTOCOL_VERSION:
        reason = RejectionReason.UNKNOWN_VERSION
        raise ProofMalformed(reason, "header", PROTOCOL_VERSION, version)
    return ProofHeader(kind, tuple(digest))


def decode_proof(key: VerifyingKey, proof: bytes) -> dict[str, FieldArray]:
    """Reads the body of a proof under a key.

    Returns:
        Read-only views by section name; sections of size zero are absent.

    Raises:
        ProofMalformed: The header names another key, the length is not the key's, or an element is not
            canonical.
    """
    header = read_header(proof)
    if header != ProofHeader(key.kind, key.digest):
        raise ProofMalformed(
            RejectionReason.UNKNOWN_KEY, "header", key.digest_hex, header.digest_hex
        )
    wanted = proof_bytes(key)
    if len(proof) < wanted:
        raise ProofMalformed(RejectionReason.TRUNCATED, "proof", wanted, len(proof))
    if len(proof) > wanted:
        raise ProofMalformed(RejectionReason.TRAILING_BYTES, "proof", wanted, len(proof))
    values: dict[str, FieldArray] = {}
    start = HEADER_BYTES
    for section in proof_sections(key):
        count, kind = prod(section.shape), f"<u{section.entry_bytes}"
        held = np.frombuffer(proof, dtype=kind, count=count, offset=start)
        part = held.astype(np.uint32, copy=False)
        if (part >= P).any():
            place = int(np.flatnonzero(part >= P)[0])
            raise ProofMalformed(
                RejectionReason.NON_CANONICAL_ELEMENT,
                f"{section.name}/{place}",
                f"below {P}",
                int(part[place]),
            )
        part.setflags(write=False)
        values[section.name] = part.reshape(section.shape)
        start += section.num_bytes
    return values
