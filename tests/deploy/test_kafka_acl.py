"""The access list is that of the table of roles, and its roles those that are run."""

from __future__ import annotations

from deploy.kafka_acl import FILE, as_json, command, grants
from pipelines.node_plan import ROLES
from schemas.topics import ACCESS, SHARD_STEMS, SHARED_TOPICS


def test_the_stored_list_is_the_tables() -> None:
    assert FILE.read_text(encoding="utf-8") == as_json()


def test_every_role_that_is_run_has_a_list_and_no_list_names_a_topic_that_is_not() -> None:
    assert set(ROLES) <= set(ACCESS)
    for access in ACCESS.values():
        assert {*access.reads, *access.writes} <= {*SHARD_STEMS, *SHARED_TOPICS}


def test_nobody_but_validators_may_write_votes_and_nobody_may_write_everything() -> None:
    writers = {
        one.role for one in grants("n") if one.name == "n.votes." and "Write" in one.operations
    }
    assert writers == {"validator"}
    assert not [one for one in grants("n") if one.name in {"*", "n.", ""}]


def test_a_grant_is_one_call_of_kafkas_tool() -> None:
    (first, *_) = grants("n")
    assert command(first) == [
        *("--add", "--allow-principal", "User:wallet"),
        *("--operation", "Read", "--operation", "Write", "--operation", "Describe"),
        *("--topic", "n.tx.", "--resource-pattern-type", "prefixed"),
    ]
