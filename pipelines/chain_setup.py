"""The first start of a chain in a data directory: genesis document, validator keys, topics.

A second start finds everything and changes nothing, also after a kill at any instruction: keys come first,
then the document that names them, in one rename.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from operators.event_log import EventLog, is_absent, open_log
from operators.log_genesis import claim_log, read_genesis
from operators.log_schemas import announce
from pipelines.account_keys import issuer_pair
from pipelines.key_store import create_key, key_path, load_key
from proving.signatures import KeyPair
from schemas.config import Configuration
from schemas.economics import FIRST_TERMS, FRAUD_TERMS
from schemas.errors import EclipticaError, ParameterError
from schemas.genesis import BONDED_VERSION, Bonds, Genesis, encode_key, load_genesis
from schemas.topics import all_topics, shard_topic

VALIDATOR_KEY = "validator"
"""Name of a validator's key in its own directory."""

ISSUER_WALLET = "issuer"
"""Wallet of the chain's issuer: it registers accounts free of charge and issues units."""


def genesis_path(data: Path) -> Path:
    """Returns where a data directory keeps its genesis document."""
    return data / "genesis.json"


def validator_directory(data: Path, index: int) -> Path:
    """Returns the directory of a validator."""
    return data / "validators" / str(index)


def validator_key(data: Path, index: int) -> KeyPair:
    """Returns the key pair of a validator of this data directory.

    Raises:
        ParameterError: There is none.
    """
    return load_key(validator_directory(data, index), VALIDATOR_KEY).pair


def prepare_chain(
    data: Path, configuration: Configuration, seed: int, now_millis: Callable[[], int]
) -> Genesis:
    """Returns the chain of a data directory, made now if it has none.

    Args:
        data: Data directory; made if absent.
        configuration: Chain and clock of a new chain.
        seed: Gives the issuer's key, so that traffic of the same seed can fund its accounts.
        now_millis: UTC milliseconds; slot 0 of a new chain begins then.

    Raises:
        ParameterError: The chain that is there is another one than the configuration and seed describe.
        EclipticaError: The directory cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        path = genesis_path(data)
        if path.exists():
            return _existing(path, configuration, seed)
        return _make(data, configuration, seed, now_millis)
    except OSError as error:
        raise EclipticaError(
            f"{data}: {error.strerror or error}", "choose another directory with --data"
        ) from error


def check_log(url: str, data: Path) -> None:
    """Checks, before anything is written, that the processes of a data directory's chain can share a log.

    Raises:
        ParameterError: It lives in the memory of one process, or is of a chain and the directory of none.
        LogUnreachable, LogCorrupt: See `open_log`.
    """
    if url.startswith("memory:"):
        raise ParameterError(
            f"the log {url} lives in one process and a chain is made of several",
            "leave --log out, or say sqlite:///PATH",
        )
    if genesis_path(data).exists() or is_absent(url):
        return
    with closing(open_log(url)) as log:
        if read_genesis(log) is not None:
            raise ParameterError(
                f"the log {url} is of a chain, and {data} holds none",
                "give the --data of that chain or copy its genesis.json, or choose another --log",
            )


def open_chain(log: EventLog, data: Path, genesis: Genesis) -> None:
    """Makes the topics of a data directory's chain; a log with neither becomes the chain's own.

    It also announces the schemas of this version, so that older processes can read what newer ones write.

    Raises:
        ParameterError: The log is of another chain.
        EclipticaError: It has lost what the chain's validators have voted on.
    """
    standing = read_genesis(log) or genesis
    if standing == genesis:
        create_topics(log, genesis)
        check_history(log, data)
        standing = claim_log(log, genesis)
    if standing != genesis:
        raise ParameterError(
            f"the log {log.url} is of another chain than {data}",
            "give the --data of that chain, or choose another --log",
        )
    announce(log)


def create_topics(log: EventLog, genesis: Genesis) -> None:
    """Makes the topics of a chain, one partition each; existing ones stay."""
    log.create_topics(dict.fromkeys(all_topics(genesis.shards), 1))


def check_history(log: EventLog, data: Path) -> None:
    """Checks that a log holds the votes of validators that have made blocks final before.

    Raises:
        EclipticaError: It is empty and they have; nothing could ever move on such a log.
    """
    snapshots = sorted((data / "validators").glob("*/shard-*.snapshot"))
    if snapshots and not log.end_offset(shard_topic("votes", 0)):
        raise EclipticaError(
            f"the log {log.url} is empty, but the validators of {data} have made blocks final",
            "restore the log these validators have voted on, or begin anew in another --data",
        )


def _existing(path: Path, configuration: Configuration, seed: int) -> Genesis:
    genesis = load_genesis(path)
    found = {
        "chain": genesis.chain,
        "shards": genesis.shards,
        "slot_micros": genesis.slot_micros,
        "slots_per_window": genesis.slots_per_window,
        "windows_per_epoch": genesis.windows_per_epoch,
        "validators": len(genesis.validators),
    }
    wanted = _constants(configuration) | {"validators": configuration.chain.validators}
    for name, value in wanted.items():
        if found[name] != value:
            raise ParameterError(
                f"{path} is of a chain with {name} {found[name]}, not {value}",
                "choose another --data, or the configuration the chain was made with",
            )
    if genesis.issuer_key != issuer_pair(seed).public_key:
        raise ParameterError(
            f"seed {seed} does not give the issuer of the chain in {path}",
            "give the --seed that the chain was made with, or another --data",
        )
    return genesis


def _make(
    data: Path, configuration: Configuration, seed: int, now_millis: Callable[[], int]
) -> Genesis:
    validators = []
    for index in range(configuration.chain.validators):
        directory = validator_directory(data, index)
        directory.mkdir(parents=True, exist_ok=True)
        if not key_path(directory, VALIDATOR_KEY).exists():
            create_key(directory, VALIDATOR_KEY)
        validators.append(encode_key(validator_key(data, index).public_key))
    if not key_path(data, ISSUER_WALLET).exists():
        create_key(data, ISSUER_WALLET, issuer_pair(seed).seed)
    bond = FRAUD_TERMS[FIRST_TERMS].validator_bond
    genesis = Genesis(
        schema_version=BONDED_VERSION,
        **_constants(configuration),
        start_millis=now_millis(),
        issuer=encode_key(issuer_pair(seed).public_key),
        validators=tuple(validators),
        bonds=Bonds(units=(bond,) * len(validators)),
    )
    path = genesis_path(data)
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(genesis.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return genesis


def _constants(configuration: Configuration) -> dict[str, int]:
    return {
        "chain": configuration.chain.number,
        "shards": configuration.chain.shards,
        "slot_micros": configuration.clock.slot_micros,
        "slots_per_window": configuration.clock.slots_per_window,
        "windows_per_epoch": configuration.clock.windows_per_shard_epoch,
    }
