"""The word that stands for a set of validators in statements: who must have signed for them to count.

Nothing in a proof interprets it, so it is made of SHA-256, which a light client has at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_DOMAIN = b"ecliptica/validators/1"

_MASK = 2**30 - 1
"""Each element keeps 30 of 32 bits, so that it is below the modulus: 240 bits, 120 against collisions."""


def validators_word(keys: Sequence[bytes]) -> tuple[int, ...]:
    """Returns eight field elements that stand for public keys in index order.

    Args:
        keys: Raw public keys; their number and lengths are part of what is hashed.
    """
    parts = [len(keys).to_bytes(4, "little")]
    parts += [len(key).to_bytes(4, "little") + key for key in keys]
    digest = hashlib.sha256(_DOMAIN + b"".join(parts)).digest()
    return tuple(int.from_bytes(digest[k : k + 4], "little") & _MASK for k in range(0, 32, 4))
