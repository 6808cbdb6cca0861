"""Keys that a seed determines: one per account of an import or a workload, and the issuer's.

Such keys are for traffic and tests: whoever knows the seed can sign for every account.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from proving.signatures import KeyPair
from schemas.errors import ParameterError
from schemas.units import ADDRESS_BYTES

KEY_DOMAIN = b"ecliptica/account-key/v1"
ISSUER_LABEL = b"issuer"
KEY_RING_ENTRIES = 4096
"""Loaded private keys kept; one costs 0.16 ms to make again."""


def seed_key(seed: int, label: bytes) -> bytes:
    """Returns the 32-byte ML-DSA seed of an account: SHAKE256(domain, seed, length of label, label).

    Args:
        seed: In [0, 2^64).
        label: The account's address, or `ISSUER_LABEL`; at most 255 bytes.

    Raises:
        ParameterError: The seed or the label is outside its range.
    """
    if not 0 <= seed < 1 << 64:
        raise ParameterError(f"a seed is in [0, 2^64), got {seed}")
    if len(label) > 255:
        raise ParameterError(f"a key label has at most 255 bytes, got {len(label)}")
    content = KEY_DOMAIN + seed.to_bytes(8, "little") + bytes([len(label)]) + label
    return hashlib.shake_256(content).digest(32)


def own_address(public_key: bytes) -> bytes:
    """Returns the 20-byte address of a wallet's own key: SHAKE256 of the public key."""
    return hashlib.shake_256(public_key).digest(ADDRESS_BYTES)


def issuer_pair(seed: int) -> KeyPair:
    """Returns the issuer's key pair of a seed, for genesis documents of test chains."""
    return KeyPair.from_seed(seed_key(seed, ISSUER_LABEL))


@dataclass(slots=True)
class KeyRing:
    """Key pairs by address, the most recently used kept; threads may share it."""

    seed: int
    capacity: int = KEY_RING_ENTRIES
    _pairs: OrderedDict[bytes, KeyPair] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def pair(self, label: bytes) -> KeyPair:
        """Returns the key pair of an address or label."""
        with self._lock:
            found = self._pairs.get(label)
            if found is not None:
                self._pairs.move_to_end(label)
                return found
        made = KeyPair.from_seed(seed_key(self.seed, label))  # outside the lock: keys in parallel
        with self._lock:
            self._pairs[label] = made
            if len(self._pairs) > self.capacity:
                self._pairs.popitem(last=False)
        return made
