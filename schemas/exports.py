"""Arrow schemas of the Parquet files of a sealed epoch, and the named audit queries over them.

One directory per shard and epoch, `DATA/epochs/shard=K/epoch=N/`, one file per table. Digests and roots are
raw bytes. Amounts are unsigned 64-bit counts of 1e-9 ECLIPT, fees counts of 1e-6 ECLIPT: no float is money.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.tables import BLOCKS, JOBS, RECEIPTS, REJECTED, WINDOWS, Table

_DIGEST = pa.binary(32)


def _table(
    name: str,
    columns: list[tuple[str, pa.DataType]],
    nullable: tuple[tuple[str, pa.DataType], ...] = (),
) -> Table:
    fields = [pa.field(n, kind, nullable=False) for n, kind in columns]
    fields += [pa.field(n, kind, nullable=True) for n, kind in nullable]
    return Table(name, pa.schema(fields))


TRANSACTIONS_EXPORT = _table(
    "transactions",
    [
        ("height", pa.int64()),
        ("position", pa.int32()),
        ("window", pa.int64()),
        ("digest", _DIGEST),
        ("kind", pa.string()),
        ("sender", pa.int64()),
        ("recipient", pa.int64()),
        ("amount", pa.uint64()),
        ("fee", pa.int64()),
        ("nonce", pa.int64()),
        ("expiry", pa.int64()),
        ("submitted_millis", pa.int64()),
        ("body", pa.binary()),
        ("signature", pa.binary()),
    ],
)
"""Executed transactions in order. `recipient` of a registration is the new account's index."""

REGISTRATIONS_EXPORT = _table(
    "registrations",
    [
        ("account", pa.int64()),
        ("address", pa.binary(20)),
        ("public_key", pa.binary(1312)),
        ("height", pa.int64()),
    ],
)
"""Accounts opened in the epoch, in index order."""

VOTES_EXPORT = _table(
    "votes",
    [
        ("sender", pa.int32()),
        ("phase", pa.string()),
        ("view", pa.int64()),
        ("block_hash", _DIGEST),
        ("message", pa.binary()),
        ("append_millis", pa.int64()),
    ],
)
"""Every decodable vote message on the log, in log order; several of one phase and view are evidence."""

CERTIFICATES_EXPORT = _table(
    "certificates",
    [
        ("height", pa.int64()),
        ("view", pa.int64()),
        ("block_hash", _DIGEST),
        ("signers", pa.list_(pa.int32())),
        ("certificate", pa.binary()),
    ],
)
"""The certificate that made each block final."""

PROOFS_EXPORT = _table(
    "proofs",
    [
        ("level", pa.string()),
        ("window", pa.int64()),
        ("segment", pa.int32()),
        ("job_id", _DIGEST),
        ("statement_digest", _DIGEST),
        ("statement", pa.binary()),
        ("path", pa.string()),
        ("sha256", _DIGEST),
        ("bytes", pa.int64()),
        ("proven_bits", pa.float64()),
        ("prover", pa.string()),
        ("prove_seconds", pa.float64()),
        ("accepted", pa.bool_()),
    ],
)
"""Proofs of the epoch; `path` is relative to DATA."""

SUPPLY_EXPORT = _table(
    "supply",
    [
        ("height", pa.int64()),
        ("cap", pa.uint64()),
        ("reserve", pa.uint64()),
        ("issued", pa.uint64()),
        ("accounts", pa.uint64()),
        ("proposer_pool", pa.uint64()),
        ("escrow", pa.uint64()),
        ("private_pool", pa.uint64()),
        ("max_private_pool", pa.uint64()),
        ("burned", pa.uint64()),
    ],
    nullable=(("departed", pa.int64()),),
)
"""One row: where every unit that the shard issued is at the epoch's last block.

`cap` is the shard's part of the chain's cap, `departed` what went to other shards less what came from them.
"""

LINKS_EXPORT = _table(
    "links",
    [
        ("direction", pa.string()),
        ("peer", pa.int32()),
        ("place", pa.int64()),
        ("height", pa.int64()),
        ("window", pa.int64()),
        ("sender", pa.int64()),
        ("recipient", pa.int64()),
        ("amount", pa.uint64()),
        ("nonce", pa.int64()),
    ],
)
"""What went over links, in order: `sent` to the peer, `received` from it. `place` counts the link's words.

Sender is an account of the sending shard, recipient one of the receiving shard, or of nobody: then the word goes
back, sender and recipient exchanged.
"""

PROOF_INDEX = _table(
    "proof_index",
    [
        ("level", pa.string()),
        ("kind", pa.string()),
        ("chain", pa.int64()),
        ("shards", pa.int32()),
        ("first_window", pa.int64()),
        ("end_window", pa.int64()),
        ("first_epoch", pa.int64()),
        ("last_epoch", pa.int64()),
        ("statement_digest", _DIGEST),
        ("statement", pa.binary()),
        ("pre_root", _DIGEST),
        ("post_root", _DIGEST),
        ("payee", _DIGEST),
        ("key_digest", _DIGEST),
        ("path", pa.string()),
        ("sha256", _DIGEST),
        ("bytes", pa.int64()),
        ("proven_bits", pa.int32()),
    ],
    nullable=(
        ("shard", pa.int32()),
        ("first_segment", pa.int64()),
        ("last_segment", pa.int64()),
        ("first_height", pa.int64()),
        ("last_height", pa.int64()),
        ("history", _DIGEST),
        ("validators", _DIGEST),
    ),
)
"""One row per proof of any level, `DATA/proofs/proof_index.parquet`: what it says, read from its statement.

Of one shard (`segment`, `window`, `shard_epoch`): shard, segments and heights are there and the roots are state
roots. Of all shards (the other levels): these are null, the roots are words that stand for all shards' boundaries,
and `validators` is the word of the set in charge. `end_window` is the window after the last, heights are those of the
last settled blocks before and after.
"""

EXPORTS = (
    TRANSACTIONS_EXPORT,
    LINKS_EXPORT,
    REGISTRATIONS_EXPORT,
    BLOCKS,
    VOTES_EXPORT,
    CERTIFICATES_EXPORT,
    WINDOWS,
    PROOFS_EXPORT,
    JOBS,
    RECEIPTS,
    REJECTED,
    SUPPLY_EXPORT,
)
"""File stem = table name. `rewards` and `faults` come with the prover market and the fraud proofs."""
