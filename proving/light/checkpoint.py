"""Where a light client stands: what it knows of the day before, so that the next one can be told to follow.

Bytes: magic and version, then chain, shards and the window with which the next day begins (u32 each), then the word of
the validators and the state of the chain.
"""

from __future__ import annotations

from dataclasses import dataclass

from proving.light.errors import ProofMalformed, ProofRejected
from proving.light.flaws import DayFlaw
from schemas.errors import WireError
from schemas.run import RunStatement, WordElements
from schemas.units import INDEX_LIMIT, SHARD_LIMIT, WORD_BYTES, word_bytes, word_elements
from schemas.wire import Reader, Writer

MAGIC = b"ECLK\x01"
"""Format and version."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The end of a day, or the genesis.

    Attributes:
        chain: Chain number.
        shards: Number of shards.
        end_window: The window with which the next day begins.
        validators: Word of the validators in charge.
        state: State of the chain.
    """

    chain: int
    shards: int
    end_window: int
    validators: WordElements
    state: WordElements

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes."""
        writer = Writer().fixed(MAGIC, len(MAGIC))
        writer.u32(self.chain).u32(self.shards).u32(self.end_window)
        for word in (self.validators, self.state):
            writer.fixed(word_bytes(word), WORD_BYTES)
        return writer.finish()


def checkpoint_of(run: RunStatement) -> Checkpoint:
    """Returns where a day ends."""
    return Checkpoint(run.chain, run.shards, run.end_window, run.validators, run.after)


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Inverse of `Checkpoint.to_bytes`.

    Raises:
        ProofMalformed: Anything else than the canonical bytes of a checkpoint.
    """
    reader = Reader(data, "checkpoint")
    try:
        if reader.fixed("magic", len(MAGIC)) != MAGIC:
            raise reader.fail("magic", "is not that of a checkpoint")
        chain, shards = reader.u32("chain", INDEX_LIMIT), reader.u32("shards", SHARD_LIMIT)
        end_window = reader.u32("end_window", INDEX_LIMIT)
        validators, state = (word_elements(reader.word(name)) for name in ("validators", "state"))
        reader.finish()
    except WireError as error:
        raise ProofMalformed(DayFlaw.MALFORMED, error.where, "a checkpoint", error) from error
    return Checkpoint(chain, shards, end_window, validators, state)


def check_link(run: RunStatement, trusted: Checkpoint) -> None:
    """Checks that a day follows what is trusted: same chain and validators, from that window and state on.

    Raises:
        ProofRejected: It does not, by the field that differs.
    """
    rules = (
        (DayFlaw.OTHER_CHAIN, "chain", trusted.chain, run.chain),
        (DayFlaw.OTHER_CHAIN, "shards", trusted.shards, run.shards),
        (DayFlaw.FOREIGN_VALIDATORS, "validators", trusted.validators, run.validators),
        (DayFlaw.NOT_THE_NEXT_DAY, "first_window", trusted.end_window, run.first_window),
        (DayFlaw.NOT_THE_NEXT_DAY, "before", trusted.state, run.before),
    )
    for flaw, field, wanted, found in rules:
        if found != wanted:
            raise ProofRejected(flaw, f"run.{field}", wanted, found)
