"""ML-DSA-44 from the `cryptography` package, which every install of the project has."""

from __future__ import annotations

from functools import lru_cache

import cryptography
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.backends.openssl import backend as openssl
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

KEY_CACHE_ENTRIES = 8192
"""Loaded public keys kept (about 25 MB): a hot signer is parsed once, a load costs 7 us of 118."""


@lru_cache(maxsize=KEY_CACHE_ENTRIES)
def _load(public_key: bytes) -> MLDSA44PublicKey:
    return MLDSA44PublicKey.from_public_bytes(public_key)


class StockBackend:
    """Verification through `cryptography`; the interpreter lock is released while it works."""

    name = "cryptography"

    def verify(self, public_key: bytes, message: bytes, signature: bytes, context: bytes) -> bool:
        """Whether the signature holds; lengths were checked by the caller."""
        try:
            _load(public_key).verify(signature, message, context)
        except InvalidSignature:
            return False
        return True

    def version(self) -> str:
        """Versions of the package and of the library under it."""
        return f"cryptography {cryptography.__version__}, {openssl.openssl_version_text()}"


def load_private_key(seed: bytes) -> MLDSA44PrivateKey:
    """Returns the private key of a 32-byte seed, checked by the caller."""
    return MLDSA44PrivateKey.from_seed_bytes(seed)
