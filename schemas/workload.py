"""Workload files: what `traffic generate` makes, as YAML whose file name is its summary."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import ParameterError
from schemas.units import AMOUNT_LIMIT

MAX_WORKLOAD_BYTES = 1 << 20


class Invalidity(StrEnum):
    """What can be wrong with a generated transaction; each is refused for its own reason.

    `bad_signature`: one bit of the signature flipped. `wrong_key`: signed by another account. `nonce_gap`:
    a nonce ahead of the account's. `replay`: the bytes of an earlier valid transaction again. `overdraft`:
    more than was ever issued. `expired`: its last slot was slot 0. `expiry_too_far`: valid for longer than
    allowed. `unknown_sender`, `unknown_recipient`: an index that nobody registered. `reserved_account`:
    paid to a cell of the ledger itself. `not_issuer`: a user issues money. `wrong_chain`, `wrong_shard`:
    signed for another one. `fee_too_low`: no fee. `amount_too_large`: 2^60 units. `wrong_length`: the body
    cut short. `short_signature`: the signature cut short. `unknown_kind`: a kind that does not exist.
    `unsupported_kind`: one that is only reserved. `garbage`: random bytes.
    """

    BAD_SIGNATURE = "bad_signature"
    WRONG_KEY = "wrong_key"
    NONCE_GAP = "nonce_gap"
    REPLAY = "replay"
    OVERDRAFT = "overdraft"
    EXPIRED = "expired"
    EXPIRY_TOO_FAR = "expiry_too_far"
    UNKNOWN_SENDER = "unknown_sender"
    UNKNOWN_RECIPIENT = "unknown_recipient"
    RESERVED_ACCOUNT = "reserved_account"
    NOT_ISSUER = "not_issuer"
    WRONG_CHAIN = "wrong_chain"
    WRONG_SHARD = "wrong_shard"
    FEE_TOO_LOW = "fee_too_low"
    AMOUNT_TOO_LARGE = "amount_too_large"
    WRONG_LENGTH = "wrong_length"
    SHORT_SIGNATURE = "short_signature"
    UNKNOWN_KIND = "unknown_kind"
    UNSUPPORTED_KIND = "unsupported_kind"
    GARBAGE = "garbage"


class AmountDistribution(StrEnum):
    """How amounts are drawn: every value, or every power of two, equally likely."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "log_uniform"


class Amounts(BaseModel):
    """Range of the amounts of valid transfers, in units of 1e-9, both ends included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: int = Field(default=0, ge=0, lt=AMOUNT_LIMIT)
    maximum: int = Field(default=1_000_000_000, ge=0, lt=AMOUNT_LIMIT)
    distribution: AmountDistribution = AmountDistribution.LOG_UNIFORM

    @model_validator(mode="after")
    def _ordered(self) -> Amounts:
        if self.minimum > self.maximum:
            raise ValueError("minimum is above maximum")
        return self


class Workload(BaseModel):
    """A mix of transfers.

    Attributes:
        schema_version: Version of this document.
        accounts: New accounts, registered and funded before the first transfer; with a base corpus its
            accounts take part too.
        funding: Units of 1e-9 that each new account is issued.
        sender_exponent: Zipf exponent of how often an account sends; 0 is uniform.
        recipient_exponent: The same for receiving: hot accounts.
        amounts: Range of amounts.
        cross_shard: Share of the valid transfers that go to another shard, on a chain that has one. One in
            eight of those is for an account that nobody has, and goes back.
        rate: Transactions per second of the recorded times, what `replay --rate 1x` sends.
        invalid: Share of each kind of invalid transaction; the rest is valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(default=1, ge=1, le=1)
    accounts: int = Field(ge=0, le=2**24)
    funding: int = Field(default=1_000_000_000_000, ge=0, lt=AMOUNT_LIMIT)
    sender_exponent: float = Field(default=0.0, ge=0.0, le=4.0)
    recipient_exponent: float = Field(default=0.0, ge=0.0, le=4.0)
    amounts: Amounts = Amounts()
    cross_shard: float = Field(default=0.0, ge=0.0, le=1.0)
    rate: float = Field(default=100.0, gt=0.0, le=1e6)
    invalid: dict[Invalidity, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _shares(self) -> Workload:
        if any(not 0.0 <= share <= 1.0 for share in self.invalid.values()):
            raise ValueError("a share of invalid is outside [0, 1]")
        if sum(self.invalid.values()) > 1.0 + 1e-9:
            raise ValueError("the shares of invalid sum to more than 1")
        if self.accounts * self.funding >= AMOUNT_LIMIT:
            raise ValueError("accounts * funding is not below 2^60")
        return self


def load_workload(path: Path) -> Workload:
    """Reads a workload file.

    Raises:
        ParameterError: The file is absent, too large, no YAML mapping, or a field is wrong; named.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_WORKLOAD_BYTES + 1)
    except OSError as error:
        raise ParameterError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_WORKLOAD_BYTES:
        raise ParameterError(f"{path} is larger than {MAX_WORKLOAD_BYTES} bytes")
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ParameterError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ParameterError(f"{path} is not a YAML mapping")
    return parse_workload(document, str(path))


def parse_workload(document: object, place: str) -> Workload:
    """Validates a workload that was read from `place`.

    Raises:
        ParameterError: A field is wrong; the message names it.
    """
    try:
        return Workload.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "workload"
        raise ParameterError(f"{place}: {where}: {first['msg']}") from error
