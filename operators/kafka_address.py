"""The address of a Kafka log: brokers, namespace, replication, and who asks; secrets never stand in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from schemas.errors import ParameterError

PASSWORD_VARIABLE = "ECLIPTICA_KAFKA_PASSWORD"  # noqa: S105 - the name of a variable
"""Where the password of a SASL user is taken from; `password_file` in the address names a file instead."""

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")
"""Ways to show a password without sending it."""

OPTIONS = (
    "replication",
    "min_insync",
    "security",
    "mechanism",
    "ca",
    "certificate",
    "key",
    "password_file",
)
"""What may stand behind the question mark of an address."""

MAX_REPLICATION = 32

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_EXAMPLE = "say kafka://HOST:PORT/NAME, NAME being letters, digits and hyphens"


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where a log is and how it is reached.

    Attributes:
        url: As given; it holds no secret.
        brokers: `host:port`, comma-separated.
        namespace: Comes before every topic, reader and group, with a dot; empty for none.
        replication: Copies of every partition that topics are made with; >= 1.
        min_insync: Copies that must hold a record before it counts as appended; 1 to `replication`.
        client: librdkafka's settings for protocol, user and certificates. Holds the password.
    """

    url: str
    brokers: str
    namespace: str
    replication: int
    min_insync: int
    client: Mapping[str, str]

    def __repr__(self) -> str:
        """Returns the address without what only the client may know."""
        return f"KafkaAddress({self.url!r})"

    def full_name(self, name: str) -> str:
        """Returns the name that the brokers know a topic or reader by."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def own_name(self, full: str) -> str | None:
        """Returns the log's name of a broker's topic; None for a topic of another namespace."""
        if not self.namespace:
            return full
        prefix = f"{self.namespace}."
        return full.removeprefix(prefix) if full.startswith(prefix) else None


def read_address(url: str, environment: Mapping[str, str] | None = None) -> KafkaAddress:
    """Reads `kafka://[USER@]HOST:PORT[,HOST:PORT...][/NAMESPACE][?OPTION=VALUE&...]`.

    Args:
        url: The options are `OPTIONS`: `security` is one of `PROTOCOLS` and SASL_SSL where a user is named,
            `mechanism` one of `MECHANISMS`, `ca`, `certificate` and `key` are PEM files.
        environment: Where the password is; the process's own when None.

    Raises:
        ParameterError: It is no such address, a file is missing, or the password is in the address or nowhere.
    """
    parts = urlsplit(url)
    user, at, brokers = parts.netloc.rpartition("@")
    if ":" in user:
        raise ParameterError(
            "an address must not hold a password: it is shown and written down",
            f"say kafka://USER@HOST:PORT and set {PASSWORD_VARIABLE}, or password_file=PATH",
        )
    namespace = parts.path.strip("/")
    if not all(_is_broker(one) for one in brokers.split(",")) or (
        namespace and not _NAMESPACE.fullmatch(namespace)
    ):
        raise ParameterError(f"{url!r} is no address of a Kafka log", _EXAMPLE)
    options = _options(url, parts.query)
    replication = _number(options, "replication", 1, MAX_REPLICATION)
    client = _security(unquote(user) if at else "", options, environment)
    return KafkaAddress(
        url,
        brokers,
        namespace,
        replication,
        _number(options, "min_insync", 1, replication),
        client,
    )


def _is_broker(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon) and port.isdecimal() and 0 < int(port) < 2**16


def _options(url: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise ParameterError(
                f"{url!r} has an unknown option {name}", f"options: {', '.join(OPTIONS)}"
            )
    return options


def _number(options: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = options.get(name, str(least))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ParameterError(f"{name}={text}: it is a number from {least} to {most}")
    return int(text)


def _security(
    user: str, options: Mapping[str, str], environment: Mapping[str, str] | None
) -> dict[str, str]:
    protocol = options.get("security", "SASL_SSL" if user else "PLAINTEXT")
    if protocol not in PROTOCOLS:
        raise ParameterError(f"security={protocol}", f"it is one of {', '.join(PROTOCOLS)}")
    if protocol.startswith("SASL") != bool(user):
        raise ParameterError(
            f"security={protocol} and a user do not go together as given",
            "say kafka://USER@HOST:PORT with SASL_SSL or SASL_PLAINTEXT, and no user otherwise",
        )
    client = {"security.protocol": protocol}
    files = {
        "ca": "ssl.ca.location",
        "certificate": "ssl.certificate.location",
        "key": "ssl.key.location",
    }
    for name, setting in files.items():
        if name in options:
            client[setting] = str(_file(name, options[name]))
    if user:
        mechanism = options.get("mechanism", MECHANISMS[0])
        if mechanism not in MECHANISMS:
            raise ParameterError(f"mechanism={mechanism}", f"it is one of {', '.join(MECHANISMS)}")
        client["sasl.mechanism"] = mechanism
        client["sasl.username"] = user
        client["sasl.password"] = _password(options, environment)
    return client


def _password(options: Mapping[str, str], environment: Mapping[str, str] | None) -> str:
    if "password_file" in options:
        return _file("password_file", options["password_file"]).read_text("utf-8").strip()
    variables = os.environ if environment is None else environment
    if not variables.get(PASSWORD_VARIABLE):
        raise ParameterError(
            "a user is named and no password is given",
            f"set {PASSWORD_VARIABLE}, or say password_file=PATH in the address",
        )
    return variables[PASSWORD_VARIABLE]


def _file(name: str, text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ParameterError(f"{name}={text}: there is no such file")
    return path
