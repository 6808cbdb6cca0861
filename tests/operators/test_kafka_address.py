"""Addresses of Kafka logs: what is accepted, what is refused, and that no password can stand in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.kafka_address import PASSWORD_VARIABLE, read_address
from schemas.errors import ParameterError

SECRET = {PASSWORD_VARIABLE: "hunter2"}


def test_the_parts_of_an_address() -> None:
    plain = read_address("kafka://a:9092,b:9093/chain-1?replication=3&min_insync=2", {})
    assert (plain.brokers, plain.namespace) == ("a:9092,b:9093", "chain-1")
    assert (plain.replication, plain.min_insync) == (3, 2)
    assert plain.client == {"security.protocol": "PLAINTEXT"}
    assert plain.full_name("tx.0") == "chain-1.tx.0"
    assert plain.own_name("chain-1.tx.0") == "tx.0"
    assert plain.own_name("chain-10.tx.0") is None
    bare = read_address("kafka://a:9092", {})
    assert (bare.full_name("tx.0"), bare.own_name("tx.0")) == ("tx.0", "tx.0")


def test_a_user_means_scram_over_tls_and_a_password_from_elsewhere(tmp_path: Path) -> None:
    ca, password = tmp_path / "ca.pem", tmp_path / "password"
    ca.write_text("x")
    password.write_text("hunter3\n")
    found = read_address(f"kafka://chain@a:9093/x?ca={ca}", SECRET)
    assert found.client == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(ca),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "chain",
        "sasl.password": "hunter2",
    }
    assert "hunter2" not in repr(found)
    filed = read_address(f"kafka://chain@a:9093/x?password_file={password}", {})
    assert filed.client["sasl.password"] == "hunter3"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("kafka://", "no address"),
        ("kafka://host", "no address"),
        ("kafka://host:0", "no address"),
        ("kafka://host:9092/under_score", "no address"),
        ("kafka://host:9092/a/b", "no address"),
        ("kafka://user:secret@host:9092", "must not hold a password"),
        ("kafka://user@host:9092", "no password is given"),
        ("kafka://host:9092?colour=red", "unknown option colour"),
        ("kafka://host:9092?replication=0", "replication=0"),
        ("kafka://host:9092?replication=2&min_insync=3", "min_insync=3"),
        ("kafka://host:9092?security=SASL_SSL", "do not go together"),
        ("kafka://host:9092?security=NONE", "security=NONE"),
        ("kafka://host:9092?ca=/nowhere.pem", "no such file"),
    ],
)
def test_what_is_no_address_is_refused_by_what_is_wrong(url: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        read_address(url, {})
    assert "secret" not in str(caught.value)
