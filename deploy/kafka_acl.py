"""Kafka's access list per role, from the table of roles in `schemas/topics.py`.

Run as `python -m deploy.kafka_acl --write` it writes `deploy/kafka/acl.json`, the list for namespace `ecliptica`; `make docs`
does so. With `--commands BROKER` it prints what Kafka's own `kafka-acls` is to be called with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.topics import ACCESS, SCRATCH_GROUP, SHARD_STEMS, Access, positions_topic

FILE = Path(__file__).resolve().parent / "kafka" / "acl.json"
NAMESPACE = "ecliptica"


@dataclass(frozen=True, slots=True)
class Grant:
    """One line of an access list.

    Attributes:
        role: Whom it is for: the user of that name.
        resource: `topic`, `group` or `transactional-id`.
        pattern: `literal` or `prefixed`.
        name: Name or beginning of names.
        operations: What is allowed, as Kafka calls it.
    """

    role: str
    resource: str
    pattern: str
    name: str
    operations: tuple[str, ...]


def grants(namespace: str) -> list[Grant]:
    """Returns the access list of all roles for one namespace."""
    return [one for role, access in ACCESS.items() for one in _grants(namespace, role, access)]


def command(grant: Grant) -> list[str]:
    """Returns the arguments with which `kafka-acls` adds a grant."""
    allowed = [part for one in grant.operations for part in ("--operation", one)]
    place = [f"--{grant.resource}", grant.name, "--resource-pattern-type", grant.pattern]
    return ["--add", "--allow-principal", f"User:{grant.role}", *allowed, *place]


def as_json() -> str:
    """Returns the text of the file."""
    lines = [json.dumps(asdict(one)) for one in grants(NAMESPACE)]
    return "[\n  " + ",\n  ".join(lines) + "\n]\n"


def _grants(namespace: str, role: str, access: Access) -> Iterator[Grant]:
    for topic in dict.fromkeys((*access.all_reads, *access.writes)):
        is_stem = topic in SHARD_STEMS
        allowed = [
            *(["Read"] if topic in access.all_reads else []),
            *(["Write"] if topic in access.writes else []),
            "Describe",
        ]
        yield Grant(
            role,
            "topic",
            "prefixed" if is_stem else "literal",
            f"{namespace}.{topic}." if is_stem else f"{namespace}.{topic}",
            tuple(allowed),
        )
    scratch = f"{namespace}.{SCRATCH_GROUP}"
    yield Grant(role, "group", "literal", scratch, ("Read", "Describe"))
    for reader in access.readers:
        beginning = f"{namespace}.{reader}"
        yield Grant(role, "group", "prefixed", beginning, ("Read", "Describe"))
        yield Grant(role, "transactional-id", "prefixed", beginning, ("Write", "Describe"))
        yield Grant(
            role,
            "topic",
            "prefixed",
            f"{namespace}.{positions_topic(reader)}",
            ("Read", "Write", "Create", "Describe"),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file, checks it, or prints commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="deploy.kafka_acl", description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--commands", metavar="BROKER")
    given = parser.parse_args(arguments)
    if given.write:
        FILE.write_text(as_json(), encoding="utf-8")
    elif given.commands:
        for one in grants(NAMESPACE):
            line = ["kafka-acls", "--bootstrap-server", given.commands, *command(one)]
            sys.stdout.write(" ".join(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
