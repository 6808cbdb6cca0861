"""Merkle paths over SHA-256, cut to 26 bytes. Source: proving/README.md "SHA-256" and "Merkle caps"."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import sha256

from proving.light.errors import ProofRejected
from proving.light.key import DIGEST_BYTES

NODE_TAG = b"\x01"
"""First byte of the message of an inner node."""


def check_paths(
    rows: bytes,
    width: int,
    paths: bytes,
    *,
    indices: Sequence[int],
    cap: Sequence[bytes],
    where: str,
) -> None:
    """Checks that rows are what a cap commits to.

    Args:
        rows: All queries' rows, one after the other.
        width: Elements of a row.
        paths: All queries' siblings, leaf first.
        indices: Leaf of each query.
        cap: Digests that the tree ends in.
        where: Names the tree in errors.

    Raises:
        ProofRejected: A path ends in another digest; the first query whose path does is named.
    """
    prefix, size = struct.pack("<I", width << 8), 4 * width
    step = len(paths) // len(indices)
    for query, index in enumerate(indices):
        digest = sha256(prefix + rows[size * query : size * (query + 1)]).digest()[:DIGEST_BYTES]
        for start in range(step * query, step * (query + 1), DIGEST_BYTES):
            sibling = paths[start : start + DIGEST_BYTES]
            pair = sibling + digest if index & 1 else digest + sibling
            digest = sha256(NODE_TAG + pair).digest()[:DIGEST_BYTES]
            index >>= 1  # noqa: PLW2901 - the position on the next level
        if digest != cap[index]:
            place = f"{where}/query {query}"
            raise ProofRejected("merkle_path", place, cap[index].hex(), digest.hex())
