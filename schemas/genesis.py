"""The genesis document of a chain: what every node and every auditor must agree on before block one."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from schemas.economics import FIRST_TERMS, FRAUD_TERMS, FraudTerms
from schemas.errors import ParameterError
from schemas.units import AMOUNT_LIMIT

ML_DSA_44_PUBLIC_KEY_BYTES = 1312

PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+=*$", min_length=1752, max_length=1752)]
"""Base64 of an ML-DSA-44 public key."""


BONDED_VERSION = 2
"""Version of a document with bonds; one without has version 1 and the bytes that it always had."""


class Bonds(BaseModel):
    """What the validators have at stake on the beacon before its first block.

    Attributes:
        terms: Number of the terms in `economics.FRAUD_TERMS`, which hold the numbers themselves.
        units: Bond of every validator in index order, units of 1e-9 ECLIPT; at least the terms' `validator_bond`,
            below 2^60.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    terms: int = FIRST_TERMS
    units: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.terms not in FRAUD_TERMS:
            raise ValueError(f"terms {self.terms} are unknown")
        least = FRAUD_TERMS[self.terms].validator_bond
        if not all(least <= units < AMOUNT_LIMIT for units in self.units):
            raise ValueError(f"a bond has {least} to {AMOUNT_LIMIT - 1} units")
        return self


class Genesis(BaseModel):
    """Chain constants, stored as `DATA/genesis.json` and beside every export.

    Attributes:
        schema_version: Version of this document: 2 with bonds, 1 without.
        chain: Chain number, part of every signed byte string.
        shards: Number of ledger shards.
        slot_micros: Length of a slot in microseconds.
        slots_per_window: Slots in a window.
        windows_per_epoch: Windows in a shard epoch.
        start_millis: UTC milliseconds at which slot 0 begins.
        issuer: Public key registered at the reserve account.
        validators: Public keys of the first validator set, in index order.
        bonds: What they have at stake; None on chains of version 1, whose beacon slashes nobody.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(default=1, ge=1, le=BONDED_VERSION)
    chain: int = Field(ge=1, lt=2**30)
    shards: int = Field(ge=1, le=64)
    slot_micros: int = Field(ge=1000)
    slots_per_window: int = Field(ge=1)
    windows_per_epoch: int = Field(ge=1)
    start_millis: int = Field(ge=0)
    issuer: PublicKey
    validators: tuple[PublicKey, ...] = Field(min_length=1)
    bonds: Bonds | None = None

    @model_validator(mode="after")
    def _check_bonds(self) -> Self:
        if (self.bonds is None) != (self.schema_version < BONDED_VERSION):
            raise ValueError(f"a document has bonds from version {BONDED_VERSION} on")
        if self.bonds is not None and len(self.bonds.units) != len(self.validators):
            raise ValueError("every validator has one bond")
        return self

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = write(self)
        if self.bonds is None:
            del document["bonds"]
        return document

    def slot_at(self, millis: int) -> int:
        """Returns the slot that contains a UTC time; slot 0 before the start."""
        return max(0, (millis - self.start_millis) * 1000 // self.slot_micros)

    def window_of(self, slot: int) -> int:
        """Returns the window of a slot."""
        return slot // self.slots_per_window

    def epoch_of(self, window: int) -> int:
        """Returns the shard epoch of a window."""
        return window // self.windows_per_epoch

    @property
    def fraud_terms(self) -> FraudTerms:
        """The terms of the chain's bonds; the first ones where nothing is bonded, and nothing is at stake."""
        return FRAUD_TERMS[FIRST_TERMS if self.bonds is None else self.bonds.terms]

    @property
    def issuer_key(self) -> bytes:
        """The issuer's raw public key, 1312 bytes."""
        return decode_key(self.issuer)

    @property
    def validator_keys(self) -> tuple[bytes, ...]:
        """Raw public keys of the validators, 1312 bytes each."""
        return tuple(decode_key(key) for key in self.validators)


def encode_key(key: bytes) -> str:
    """Returns the base64 form of a raw public key.

    Raises:
        ParameterError: The key is not 1312 bytes.
    """
    if len(key) != ML_DSA_44_PUBLIC_KEY_BYTES:
        raise ParameterError(f"an ML-DSA-44 public key has 1312 bytes, got {len(key)}")
    return base64.b64encode(key).decode()


def decode_key(text: str) -> bytes:
    """Inverse of `encode_key`.

    Raises:
        ParameterError: The text is not the base64 of 1312 bytes.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ParameterError("a public key is not base64") from error
    if len(key) != ML_DSA_44_PUBLIC_KEY_BYTES:
        raise ParameterError(f"an ML-DSA-44 public key has 1312 bytes, got {len(key)}")
    return key


def load_genesis(path: Path) -> Genesis:
    """Reads a genesis document.

    Raises:
        ParameterError: The file is absent or is not a genesis document.
    """
    try:
        return Genesis.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ParameterError(
            f"{path} does not exist",
            "start with `ecliptica demo`, or copy the chain's genesis.json",
        ) from error
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise ParameterError(f"{path}: {place}: {first['msg']}") from error
