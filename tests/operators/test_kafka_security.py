"""Users, passwords, TLS and access lists on a real broker, and that secrets stay where they belong."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from deploy.kafka_acl import Grant, grants
from deploy.kafka_broker import Broker
from operators.event_log import Append, LogError, LogUnreachable, Record, open_log
from operators.kafka_address import PASSWORD_VARIABLE
from operators.kafka_client import new_producer
from operators.log_kafka import KafkaLog
from schemas.errors import ParameterError
from schemas.topics import all_topics
from tests.suites.kafka_brokers import (
    add_user,
    certificate_of,
    kafka_broker,
    make_certificate,
)

pytestmark = pytest.mark.kafka

RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def _allow(broker: Broker, wanted: list[Grant]) -> None:
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{broker.port}"})
    bindings = [
        AclBinding(
            RESOURCES[grant.resource],
            grant.name,
            ResourcePatternType[grant.pattern.upper()],
            f"User:{grant.role}",
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for grant in wanted
        for operation in grant.operations
    ]
    for future in admin.create_acls(bindings).values():
        future.result(60)


def _url(broker: Broker, user: str, namespace: str, trusted: Path | None = None) -> str:
    ca = trusted or certificate_of(broker)
    return f"kafka://{user}@127.0.0.1:{broker.secure_port}/{namespace}?ca={ca}"


def forced(log: KafkaLog, topic: str) -> int | None:
    """Sends a record past the port's own checks; returns the code of the brokers' refusal."""
    refusals: list[KafkaError | None] = []
    producer = new_producer(log._common)
    producer.produce(topic, b"forged", partition=0, on_delivery=lambda e, _: refusals.append(e))
    producer.flush(60)
    return None if refusals[0] is None else refusals[0].code()


def test_a_role_may_do_what_its_list_says_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = kafka_broker()
    namespace = f"t-{uuid.uuid4().hex[:12]}"
    with open_log(f"{broker.url}/{namespace}") as log:
        log.create_topics(dict.fromkeys(all_topics(1), 1))
        log.append("tx.0", [Record(b"a transaction")])
    _allow(broker, grants(namespace))
    monkeypatch.setenv(PASSWORD_VARIABLE, add_user(broker, "admission"))
    with open_log(_url(broker, "admission", namespace)) as log:
        reader = log.reader("admission.0", ["tx.0"])
        assert [record.value for record in reader.poll(9)] == [b"a transaction"]
        reader.commit([Append("admitted.0", [Record(b"a verdict")])])
        assert reader.committed() == {("tx.0", 0): 1}
        with pytest.raises(LogError, match="uthorization failed") as refused:  # it may read them
            reader.commit([Append("blocks.0", [Record(b"a forged block")])])
        assert type(refused.value) is LogError
        with pytest.raises(ParameterError, match=r"no topic votes\.0"):  # it is not even shown
            log.append("votes.0", [Record(b"a forged vote")])
        with pytest.raises(LogError):
            log.reader("observer-0", ["tx.0"])
        assert isinstance(log, KafkaLog)
        assert forced(log, f"{namespace}.votes.0") == KafkaError.TOPIC_AUTHORIZATION_FAILED
    with open_log(f"{broker.url}/{namespace}") as log:
        assert [record.value for record in log.read("admitted.0", 0, 9)] == [b"a verdict"]
        assert log.read("blocks.0", 0, 9) == []
        assert log.read("votes.0", 0, 9) == []


def test_a_wrong_password_a_foreign_certificate_and_no_tls_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = kafka_broker()
    monkeypatch.setattr("operators.log_kafka.ANSWER_SECONDS", 20.0)
    caplog.set_level(logging.DEBUG)
    secret = add_user(broker, "wallet")
    wrong = uuid.uuid4().hex
    monkeypatch.setenv(PASSWORD_VARIABLE, wrong)
    with pytest.raises(LogError, match="uthentication") as refused:
        open_log(_url(broker, "wallet", "t-none"))
    monkeypatch.setenv(PASSWORD_VARIABLE, secret)
    make_certificate(tmp_path)
    with pytest.raises(LogError) as distrusted:
        open_log(_url(broker, "wallet", "t-none", tmp_path / "ca.pem"))
    with pytest.raises(LogUnreachable):
        open_log(f"kafka://127.0.0.1:{broker.secure_port}/t-none")
    with open_log(_url(broker, "wallet", "t-none")) as log:
        shown = f"{log.url} {log!r} {vars(log)['_address']!r}"
    for text in (caplog.text, str(refused.value), str(distrusted.value), shown):
        assert secret not in text
        assert wrong not in text
