"""One real broker for all tests that need one: started when first asked for, stopped when the run ends."""

from __future__ import annotations

import atexit
import datetime
import ipaddress
import os
import shutil
import tempfile
import uuid
from functools import cache
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.java_service import ServiceMissing, free_port
from deploy.kafka_broker import Broker

JARS = Path(__file__).resolve().parents[2] / ".kafka" / "lib"
"""Where `make kafka` keeps the jars too."""


@cache
def _started() -> Broker | str:
    home = Path(tempfile.mkdtemp(prefix="ecliptica-kafka-"))
    certificate = make_certificate(home)
    broker = Broker(
        home,
        free_port(),
        jars=JARS,
        secure_port=free_port(),
        keystore=certificate,
        admin=("admin", uuid.uuid4().hex),
    )
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:
            broker.kill()
            shutil.rmtree(home, ignore_errors=True)

    atexit.register(end)
    try:
        broker.start()
    except ServiceMissing as error:
        return str(error)
    return broker


def kafka_broker() -> Broker:
    """Returns the broker; skips the test, and says why in the summary, where it cannot be had."""
    found = _started()
    if isinstance(found, str):
        pytest.skip(f"NO KAFKA: not one test of the Kafka log ran, since {found}")
    return found


def log_url(broker: Broker) -> str:
    """Returns the address of a new, empty log."""
    return f"{broker.url}/t-{uuid.uuid4().hex[:12]}"


def certificate_of(broker: Broker) -> Path:
    """Returns the file that clients trust."""
    return broker.home / "ca.pem"


def add_user(broker: Broker, name: str) -> str:
    """Makes a user and returns the password."""
    password = uuid.uuid4().hex
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{broker.port}"})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(name, info, password.encode())
    for future in admin.alter_user_scram_credentials([wanted]).values():
        future.result(30)
    return password


def make_certificate(home: Path) -> Path:
    """Makes a key and a certificate for loopback that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (home / "ca.pem").write_bytes(public)
    keystore = home / "broker.pem"
    keystore.write_bytes(private + public)
    return keystore
