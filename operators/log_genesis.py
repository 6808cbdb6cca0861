"""The chain that a log is of: its genesis document, the first record of the topic `genesis`.

Several processes may claim an empty log at once; the first record decides, whoever wrote it.
"""

from __future__ import annotations

from pydantic import ValidationError

from operators.event_log import EventLog, LogCorrupt
from operators.topic_view import TopicView
from schemas.errors import InvariantError, ParameterError
from schemas.genesis import Genesis
from schemas.tables import GENESIS as TABLE
from schemas.tables import encode
from schemas.topics import GENESIS


def read_genesis(log: EventLog) -> Genesis | None:
    """Returns the genesis of the chain that a log is of; None if no chain has claimed it.

    Raises:
        LogCorrupt: The first record is no genesis document.
    """
    if GENESIS not in log.topics():
        return None
    view = TopicView(log)
    if view.end(GENESIS) == 0:
        return None
    document = [row["document"] for _, row in view.placed_rows(GENESIS, TABLE, count=1)]
    try:
        return Genesis.model_validate_json(document[0] if document else b"")
    except ValidationError as error:
        raise LogCorrupt(f"{log.url}: topic {GENESIS} begins with no genesis document") from error


def require_chain(log: EventLog, genesis: Genesis) -> None:
    """Checks that a log is of a chain.

    Raises:
        ParameterError: It is of another one, or of none.
        LogCorrupt: See `read_genesis`.
    """
    if read_genesis(log) != genesis:
        raise ParameterError(
            f"the log {log.url} is not of this chain", "give the --log that the chain is on"
        )


def claim_log(log: EventLog, genesis: Genesis) -> Genesis:
    """Writes the genesis of a chain onto a log that has none, and returns the one that stands.

    Args:
        log: The log; its topics are there.
        genesis: The chain.

    Raises:
        LogCorrupt: What stands first on it is no genesis document.
        InvariantError: What was appended cannot be read.
    """
    found = read_genesis(log)
    if found is not None:
        return found
    batch = TABLE.batch([{"document": genesis.model_dump_json().encode()}])
    TopicView(log).append(GENESIS, *encode(TABLE, batch))
    if (standing := read_genesis(log)) is None:
        raise InvariantError(f"{log.url} does not show what was appended to {GENESIS}")
    return standing
