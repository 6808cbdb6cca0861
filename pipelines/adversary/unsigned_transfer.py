"""What becomes of a transfer that its sender never signed: provers can prove it, and honest validators refuse its block.

No circuit of the ledger checks a signature. Whoever skips the validators can execute a stolen transfer by the rules,
prove the day that holds it and wrap it for light clients; the only thing that he cannot make is a certificate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from operators.application import BlockContent, Check, CheckState
from operators.block_payload import encode_payload
from operators.log_memory import MemoryLog, MemoryStore
from operators.record_input import input_of
from operators.shard_application import ShardApplication
from operators.shard_start import ShardPlace, open_shard
from operators.topic_view import TopicView
from operators.transaction_store import rows_of
from pipelines.sample_days import (
    ACCOUNTS,
    SHARDS,
    VICTIM,
    account_keys,
    account_pair,
    sample_issuer,
    stolen_transfer,
)
from pipelines.sample_shards import CHAIN, shard_opening
from pipelines.sample_votes import committee
from proving.backends.port import Hasher
from proving.ledger.rules import LedgerParameters
from proving.signatures import KeyPair
from schemas.config import Configuration
from schemas.errors import InvariantError
from schemas.genesis import Genesis, encode_key
from schemas.tables import TRANSACTIONS, SchemaRegistry, encode
from schemas.topics import all_topics, shard_topic
from schemas.transactions import SIGNATURE_CONTEXT, Transaction
from schemas.units import SIGNATURE_BYTES

Signed = tuple[Transaction, bytes]


def stolen_signatures() -> Mapping[str, bytes]:
    """Returns what a thief has in the place of the victim's signature, and the victim's own, by name."""
    body = stolen_transfer().body()
    victim, thief = account_pair(VICTIM), account_pair(VICTIM + 1)
    flipped = bytearray(victim.sign(body, SIGNATURE_CONTEXT))
    flipped[7] ^= 1
    return {
        "signed_by_its_sender": victim.sign(body, SIGNATURE_CONTEXT),
        "none": bytes(SIGNATURE_BYTES),
        "of_the_thief": thief.sign(body, SIGNATURE_CONTEXT),
        "of_another_transfer": victim.sign(b"another", SIGNATURE_CONTEXT),
        "with_one_bit_changed": bytes(flipped),
    }


def validators_say(hasher: Hasher) -> dict[str, str]:
    """Returns an honest validator's verdict on the block with the stolen transfer, by the signature that comes with it.

    The validator stands behind the block that opens the accounts. The blocks are made by a producer who executes and
    checks nothing else; they differ in the signature alone.
    """
    log = MemoryLog("memory://stolen", MemoryStore())
    log.create_topics(dict.fromkeys(all_topics(SHARDS), 1))
    application = open_shard(
        ShardPlace(log, _genesis(), 0, Configuration(), hasher), None
    ).application
    issuer, owner = sample_issuer(), LedgerParameters(CHAIN, 0, shards=SHARDS)
    opening = [_signed(one, issuer) for one in shard_opening(owner, ACCOUNTS, account_keys())]
    opened = _propose(application, log, 1, opening)
    if opened.state is not CheckState.VALID:
        raise InvariantError(f"a block of signed transactions is {opened}")
    application.finalize(_name(0))
    verdicts: dict[str, str] = {}
    for name, signature in stolen_signatures().items():
        found = _propose(application, log, 2, [(stolen_transfer(), signature)])
        verdicts[name] = f"{found.state}: {found.reason}" if found.reason else str(found.state)
    return verdicts


def _propose(
    application: ShardApplication, log: MemoryLog, height: int, transactions: Sequence[Signed]
) -> Check:
    """Makes a block as a producer does who checks no signature, and has the validator check it."""
    rows = [
        {"body": body.body(), "signature": signature, "submitted_millis": 0}
        for body, signature in transactions
    ]
    topic = shard_topic("tx", 0)
    offset = TopicView(log).append(topic, *encode(TRANSACTIONS, TRANSACTIONS.batch(rows)))
    taken = input_of(log.read(topic, offset, 1)[0], TRANSACTIONS, SchemaRegistry())
    application.mempool.take_transactions(taken)
    references = [row.reference for row in rows_of(taken)]
    ledger = application.final.ledger.branch()
    bodies = [body for body, _ in transactions]
    effects = ledger.execute_block(bodies, height, height, application.genesis.window_of(height))
    content = BlockContent(
        encode_payload(references),
        effects.transactions_root,
        effects.state_root,
        len(references),
    )
    return application.check(_name(offset), application.final_hash, height, height, content)


def _signed(body: Transaction, pair: KeyPair) -> Signed:
    return body, pair.sign(body.body(), SIGNATURE_CONTEXT)


def _name(offset: int) -> bytes:
    return sha256(b"block of record %d" % offset).digest()


def _genesis() -> Genesis:
    return Genesis(
        chain=CHAIN,
        shards=SHARDS,
        slot_micros=50_000,
        slots_per_window=16,
        windows_per_epoch=1,
        start_millis=0,
        issuer=encode_key(sample_issuer().public_key),
        validators=tuple(encode_key(key) for key in committee().keys),
    )
