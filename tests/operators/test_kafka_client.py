"""What errors of Kafka's client mean to the port, without a broker."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from operators.event_log import FencedError, LogError, LogFull, LogUnreachable, RecordTooLarge
from operators.kafka_address import read_address
from operators.kafka_client import (
    TRANSACTION_MILLIS,
    Complaints,
    common_settings,
    is_away,
    new_admin,
    port_error,
)
from operators.kafka_commit import commit_error


@pytest.mark.parametrize(
    ("code", "meaning", "away"),
    [
        (KafkaError._TRANSPORT, LogUnreachable, True),
        (KafkaError._DESTROY, LogUnreachable, True),
        (KafkaError._DESTROY_BROKER, LogUnreachable, True),
        (KafkaError._FENCED, FencedError, False),
        (KafkaError.MSG_SIZE_TOO_LARGE, RecordTooLarge, False),
        (KafkaError.KAFKA_STORAGE_ERROR, LogFull, False),
        (KafkaError.INVALID_REQUEST, LogError, False),
    ],
)
def test_errors_of_the_client_become_those_of_the_port(
    code: int, meaning: type[LogError], away: bool
) -> None:
    error = KafkaError(code)
    assert type(port_error(error, "asking")) is meaning
    assert is_away(error) == away
    assert port_error(error, "asking").may_pass == (meaning in {LogUnreachable, LogFull})


def test_the_client_takes_the_settings_and_gives_a_deaf_connection_up_within_a_transaction() -> (
    None
):
    settings = common_settings(read_address("kafka://127.0.0.1:1/x"), Complaints())
    new_admin(settings)
    assert settings["socket.timeout.ms"] == 10_000


@pytest.mark.parametrize(
    ("code", "seconds", "meaning"),
    [
        (KafkaError._FENCED, 0.0, FencedError),
        (KafkaError._FENCED, TRANSACTION_MILLIS / 1000 - 0.001, FencedError),
        (KafkaError._FENCED, TRANSACTION_MILLIS / 1000, LogUnreachable),
        (KafkaError.KAFKA_STORAGE_ERROR, TRANSACTION_MILLIS / 1000, LogFull),
    ],
)
def test_a_transaction_that_brokers_ended_for_its_age_was_not_taken_over(
    code: int, seconds: float, meaning: type[LogError]
) -> None:
    assert type(commit_error(KafkaError(code), "stage", seconds)) is meaning
