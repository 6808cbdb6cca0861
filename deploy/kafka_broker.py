"""A real Kafka broker on this machine: `python -m deploy.kafka_broker start`, for development and tests.

Maven brings the jars that `deploy/kafka/pom.xml` names; a Java of version 17 or newer runs them. The broker listens on
loopback alone and keeps its jars, data, log and process number in one folder.
"""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from deploy.java_service import (
    LOOK_SECONDS,
    ServiceCommand,
    ServiceMissing,
    end_process,
    fetch_jars,
    free_port,
    last_line,
    run_command,
    running_pid,
    start_process,
)

FILES = Path(__file__).resolve().parent / "kafka"
DEFAULT_HOME = Path(".kafka")
DEFAULT_PORT = 9092
HEAP_MEGABYTES = 512
START_SECONDS = 180.0
"""Longest wait for the broker; it takes 4 s on an idle machine."""


TOOLS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "acls": "org.apache.kafka.tools.AclCommand",
    "configs": "kafka.admin.ConfigCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
}
"""Kafka's own command-line tools by the name of their script, without `kafka-`."""


MAIN_CLASS = "kafka.Kafka"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker in a folder.

    Attributes:
        home: The folder.
        port: Plain listener.
        jars: Folder of the jars; below `home` unless shared.
        controller_port: Port of the controller.
        secure_port: Listener with TLS, users and access lists; 0 for none.
        keystore: PEM file with the listener's private key and certificate.
        admin: User and password that the secure listener begins with.
        host: Address of this machine that the plain listener is on; loopback, or one that other machines do not reach.
    """

    home: Path
    port: int = DEFAULT_PORT
    jars: Path | None = None
    controller_port: int = field(default_factory=free_port)
    secure_port: int = 0
    keystore: Path | None = None
    admin: tuple[str, str] = ("", "")
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Address of a log on it, without a namespace."""
        return f"kafka://{self.host}:{self.port}"

    @property
    def library(self) -> Path:
        """Folder of the jars."""
        return self.jars or self.home / "lib"

    @property
    def pid(self) -> int | None:
        """Process number, if it runs."""
        return running_pid(self.home / "pid", MAIN_CLASS)

    def fetch(self) -> None:
        """Brings the jars, unless those of this pom are there.

        Raises:
            ServiceMissing: There is no Java or Maven, or Maven cannot get them.
        """
        fetch_jars(FILES / "pom.xml", self.library)

    def start(self) -> None:
        """Starts it on the data that is there; returns when it answers.

        Raises:
            ServiceMissing: It cannot run, or does not answer in time.
        """
        if self.pid is not None:
            return
        self.fetch()
        self.home.mkdir(parents=True, exist_ok=True)
        properties = self.home / "server.properties"
        properties.write_text(self._properties())
        if not (self.home / "data" / "meta.properties").exists():
            self._format(properties)
        command = [*self._java(f"-Xmx{HEAP_MEGABYTES}m"), MAIN_CLASS, str(properties)]
        process = start_process(command, self.home / "broker.log", self.home / "pid")
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServiceMissing(f"it does not start: see {self.home / 'broker.log'}")
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Ends it in order, or by force if that takes too long."""
        end_process(self.home / "pid", MAIN_CLASS, signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash does."""
        end_process(self.home / "pid", MAIN_CLASS, signal.SIGKILL)

    def tool(
        self, name: str, *arguments: str, timeout_seconds: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of Kafka's own tools (`TOOLS`); standard error is mixed into its output."""
        command = [*self._java("-Xmx256m"), TOOLS[name]]
        return run_command([*command, *arguments], timeout_seconds)

    def _properties(self) -> str:
        text = (FILES / "server.properties").read_text()
        if self.secure_port:
            text += (FILES / "secure.properties").read_text()
        return Template(text).substitute(
            host=self.host,
            port=self.port,
            controller_port=self.controller_port,
            more_listeners=f",SASL_SSL://127.0.0.1:{self.secure_port}" if self.secure_port else "",
            data=self.home.resolve() / "data",
            keystore=self.keystore or "",
        )

    def _format(self, properties: Path) -> None:
        identity = uuid.uuid4().bytes
        identity = (
            bytes([identity[0] & 0x7F]) + identity[1:]
        )  # its text must not begin with a hyphen
        cluster = base64.urlsafe_b64encode(identity).decode().rstrip("=")
        command = [*self._java("-Xmx256m"), "kafka.tools.StorageTool", "format", "--standalone"]
        command += ["-t", cluster, "-c", str(properties)]
        user, password = self.admin
        if user:
            command += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        done = run_command(command, START_SECONDS)
        if done.returncode:
            raise ServiceMissing(f"its storage cannot be made: {last_line(done.stdout)}")

    def _java(self, heap: str) -> list[str]:
        logger = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", heap, logger, "-cp", f"{self.library.resolve()}/*"]

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only a start needs the client
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        with socket.socket() as probe:
            if probe.connect_ex((self.host, self.port)):
                return False
        admin = AdminClient({"bootstrap.servers": f"{self.host}:{self.port}", "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=5.0).brokers)
        except KafkaException:
            return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code: 5 when it cannot be had."""

    def answers(broker: Broker) -> str:
        return f"a broker answers at {broker.url}; its log: {broker.home / 'broker.log'}"

    command = ServiceCommand(
        "deploy.kafka_broker", "broker", "54 MB to download", DEFAULT_HOME, DEFAULT_PORT
    )
    return command.run(Broker, answers, arguments)


if __name__ == "__main__":
    sys.exit(main())
