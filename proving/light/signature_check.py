"""Which ML-DSA-44 a light client checks votes with: the `cryptography` package where it can be imported, or plain Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proving.signature_backends import reference


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """A way to check a signature.

    Attributes:
        name: `cryptography`, 0.12 ms a signature, or `reference`, 10 ms.
        verify: Public key of 1312 bytes, message, signature of 2420 bytes and context in; whether it holds out.
    """

    name: str
    verify: Callable[[bytes, bytes, bytes, bytes], bool]


PLAIN_PYTHON = SignatureCheck("reference", reference.verify)
"""Needs the standard library alone."""


def best_signature_check() -> SignatureCheck:
    """Returns the fastest way that there is here."""
    try:
        from proving.signature_backends.stock import StockBackend  # noqa: PLC0415 - it may be absent
    except ImportError:
        return PLAIN_PYTHON
    return SignatureCheck("cryptography", StockBackend().verify)
