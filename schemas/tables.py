"""Arrow schemas of every record on the log and of every exported file, with their fingerprints.

A record on the log is the body of one Arrow record batch (`RecordBatch.serialize`) plus a header
`schema` that holds the fingerprint of the writer's schema. The topic `schemas` maps fingerprints to
schemas, so that a reader can decode a batch written by a newer version: columns it does not know are
dropped, columns it misses are nulls. A table evolves by adding nullable columns only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.errors import ParameterError, WireError

SCHEMA_HEADER = "schema"
"""Header that carries the writer's schema fingerprint, ASCII."""


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _optional(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=True)


@dataclass(frozen=True, slots=True)
class Table:
    """A named Arrow schema.

    Attributes:
        name: Stable name, part of the fingerprint.
        schema: Fields in order.
    """

    name: str
    schema: pa.Schema

    @property
    def fingerprint(self) -> str:
        """First 16 bytes of SHA-256 over the name and every field's name, type and nullability, hex."""
        return fingerprint_of(self.name, self.schema)

    def batch(self, rows: Iterable[Mapping[str, Any]]) -> pa.RecordBatch:
        """Builds a batch from dictionaries; a missing key is a null."""
        return pa.RecordBatch.from_pylist([dict(row) for row in rows], schema=self.schema)


def fingerprint_of(name: str, schema: pa.Schema) -> str:
    """Returns the fingerprint of a schema under a table name."""
    lines = [f"{f.name}:{f.type}:{int(f.nullable)}" for f in schema]
    return hashlib.sha256("\n".join([name, *lines]).encode()).hexdigest()[:32]


TRANSACTIONS = Table(
    "transactions",
    pa.schema(
        [
            _required("body", pa.binary()),
            _required("signature", pa.binary()),
            _required("submitted_millis", pa.int64()),
        ]
    ),
)
"""`tx.<shard>`: signed transactions; `submitted_millis` is the sender's scheduled send time, UTC."""

ADMITTED = Table(
    "admitted",
    pa.schema(
        [
            _required("source_offset", pa.int64()),
            _required("row_count", pa.int32()),
            _required("verdicts", pa.binary()),
            _required("admitted_millis", pa.int64()),
            _optional("blocks_end", pa.int64()),
        ]
    ),
)
"""`admitted.<shard>`: one row per record of `tx.<shard>`; bit i of `verdicts` (LSB first) admits row i. Judged by the final
blocks below offset `blocks_end` of `blocks.<shard>`."""

REJECTED = Table(
    "rejected",
    pa.schema(
        [
            _required("stage", pa.string()),
            _required("reason", pa.string()),
            _required("detail", pa.string()),
            _required("topic", pa.string()),
            _required("partition", pa.int32()),
            _required("offset", pa.int64()),
            _required("row", pa.int32()),
            _required("schema", pa.string()),
            _required("attempt", pa.int32()),
            _required("original", pa.binary()),
            _required("rejected_millis", pa.int64()),
            _optional("digest", pa.binary(32)),
        ]
    ),
)
"""`rejected`: dead letters. `row` is -1 when the whole record was refused; `original` are its bytes."""

CONSENSUS = Table(
    "consensus",
    pa.schema(
        [
            _required("sender", pa.int32()),
            _required("message", pa.binary()),
            _required("sent_millis", pa.int64()),
        ]
    ),
)
"""`proposals`, `votes`, `certificates` of a shard and `beacon`: canonical consensus messages."""

BLOCKS = Table(
    "blocks",
    pa.schema(
        [
            _required("height", pa.int64()),
            _required("slot", pa.int64()),
            _required("view", pa.int64()),
            _required("block_hash", pa.binary(32)),
            _required("header", pa.binary()),
            _required("payload", pa.binary()),
            _required("certificate", pa.binary()),
            _required("transactions", pa.int32()),
            _required("proposed_millis", pa.int64()),
            _required("certified_millis", pa.int64()),
            _required("post_state_root", pa.binary(32)),
        ]
    ),
)
"""`blocks.<shard>`: final blocks in height order, each once."""

WINDOWS = Table(
    "windows",
    pa.schema(
        [
            _required("shard", pa.int32()),
            _required("window", pa.int64()),
            _required("first_height", pa.int64()),
            _required("end_height", pa.int64()),
            _required("transactions", pa.int32()),
            _required("segments", pa.int32()),
            _required("pre_state_root", pa.binary(32)),
            _required("post_state_root", pa.binary(32)),
            _required("closed_millis", pa.int64()),
            _optional("links", pa.binary()),
            _optional("received", pa.int32()),
            _optional("accounts_root", pa.binary(32)),
        ]
    ),
)
"""`windows.<shard>`: closed windows; heights are half-open. `links` are the words of OUT and then of INB after the window, one for
every shard: 64 bytes a shard. `received` counts what came from other shards. `accounts_root` is ACC's after the window."""

JOBS = Table(
    "jobs",
    pa.schema(
        [
            _required("job_id", pa.binary(32)),
            _required("event", pa.string()),
            _required("attempt", pa.int32()),
            _required("worker", pa.string()),
            _required("at_millis", pa.int64()),
            _required("lease_until_millis", pa.int64()),
            _optional("envelope", pa.binary()),
            _optional("detail", pa.string()),
        ]
    ),
)
"""`jobs`: what happened to a job (`planned`, `leased`, `heartbeat`, `proved`, `failed`, `lost`, `accepted`)."""

PROOFS = Table(
    "proofs",
    pa.schema(
        [
            _required("job_id", pa.binary(32)),
            _required("level", pa.string()),
            _required("shard", pa.int32()),
            _required("window", pa.int64()),
            _required("segment", pa.int32()),
            _required("statement_digest", pa.binary(32)),
            _required("statement", pa.binary()),
            _required("proof", pa.binary()),
            _required("proven_bits", pa.float64()),
            _required("prover", pa.string()),
            _required("prove_seconds", pa.float64()),
            _required("phases", pa.string()),
            _required("created_millis", pa.int64()),
        ]
    ),
)
"""`proofs`: finished proofs; `phases` is the prover's span list as JSON."""

RECEIPTS = Table(
    "receipts",
    pa.schema(
        [
            _required("digest", pa.binary(32)),
            _required("state", pa.string()),
            _required("shard", pa.int32()),
            _required("at_millis", pa.int64()),
            _required("submitted_millis", pa.int64()),
            _optional("height", pa.int64()),
            _optional("window", pa.int64()),
            _optional("epoch", pa.int64()),
            _optional("signers", pa.list_(pa.int32())),
            _optional("proof_digest", pa.binary(32)),
            _optional("reason", pa.string()),
        ]
    ),
)
"""`receipts`: one row per state a transaction reaches."""

SLASHES = Table(
    "slashes",
    pa.schema(
        [
            _required("height", pa.int64()),
            _required("block_hash", pa.binary(32)),
            _required("shard", pa.int32()),
            _required("epoch", pa.int64()),
            _required("view", pa.int64()),
            _required("validator", pa.int32()),
            _required("kind", pa.string()),
            _required("offender", pa.binary(32)),
            _required("offence", pa.binary(32)),
            _required("units", pa.int64()),
            _optional("reporter", pa.binary(32)),
            _required("reward", pa.int64()),
            _required("burned", pa.int64()),
            _required("pooled", pa.int64()),
            _required("at_millis", pa.int64()),
        ]
    ),
)
"""`faults`, beside evidence in records of `consensus`: whom a final beacon block (`height`, `block_hash`) slashed, each
offence once. `shard`, `epoch`, `view` and `validator` say where two signatures contradict each other, `kind` how
(`block.Offence`). `units` = `reward` + `burned` + `pooled`, in 1e-9 ECLIPT; a null `reporter` is nobody."""

SCHEMA_ENTRIES = Table(
    "schema_entries",
    pa.schema(
        [
            _required("fingerprint", pa.string()),
            _required("table", pa.string()),
            _required("schema", pa.binary()),
        ]
    ),
)
"""`schemas`: the Arrow IPC schema behind each fingerprint."""

GENESIS = Table("genesis", pa.schema([_required("document", pa.binary())]))
"""`genesis`: the JSON document of the chain that the log is of, its first record."""

LOG_TABLES = (
    TRANSACTIONS,
    ADMITTED,
    REJECTED,
    CONSENSUS,
    BLOCKS,
    WINDOWS,
    JOBS,
    PROOFS,
    RECEIPTS,
    SLASHES,
    SCHEMA_ENTRIES,
    GENESIS,
)


def check_evolution(old: pa.Schema, new: pa.Schema) -> None:
    """Checks that `new` only adds nullable columns at the end of `old`.

    Raises:
        ParameterError: A column was removed, moved, retyped, or a required one added.
    """
    for index, before in enumerate(old):
        if index >= len(new) or new.field(index) != before:
            raise ParameterError(f"column {before.name!r} was removed, moved or changed")
    for added in list(new)[len(old) :]:
        if not added.nullable:
            raise ParameterError(f"new column {added.name!r} must be nullable")


MAX_ASKED = 4096
"""Foreign fingerprints that are remembered; then all are forgotten."""


@dataclass(slots=True)
class SchemaRegistry:
    """The schemas a reader can decode, by fingerprint; starts with this version's own.

    Attributes:
        known: Table and schema by fingerprint.
        source: Returns table and schema of what other versions have announced, or None.
        announced: Says how much they have announced; a fingerprint that is not known is looked for once until
            that has grown, so that junk costs little and cannot hide what is announced after it.
    """

    known: dict[str, tuple[str, pa.Schema]] = field(
        default_factory=lambda: {t.fingerprint: (t.name, t.schema) for t in LOG_TABLES}
    )

    source: Callable[[], Iterable[tuple[str, pa.Schema]]] | None = None
    announced: Callable[[], int] = lambda: 0
    _asked: dict[str, int] = field(default_factory=dict)

    def table_of(self, fingerprint: str) -> str:
        """Returns the name of the table that a fingerprint is of; empty if it is of none."""
        return self._find(fingerprint)[0]

    def learn(self, table: str, schema: pa.Schema) -> str:
        """Adds another version of a known table and returns its fingerprint.

        Raises:
            ParameterError: The table is unknown or the schemas do not evolve into each other.
        """
        own = next((t for t in LOG_TABLES if t.name == table), None)
        if own is None:
            raise ParameterError(f"there is no table {table!r}")
        shorter, longer = sorted((own.schema, schema), key=len)
        check_evolution(shorter, longer)
        fingerprint = fingerprint_of(table, schema)
        self.known[fingerprint] = (table, schema)
        return fingerprint

    def decode(self, table: Table, fingerprint: str, body: bytes) -> pa.RecordBatch:
        """Decodes a record's body and conforms it to `table`.

        Raises:
            WireError: Foreign fingerprint, bytes that are no batch of it, or a null where none may be.
        """
        name, writer_schema = self._find(fingerprint)
        if name != table.name:
            raise WireError("schema", f"foreign schema fingerprint {fingerprint[:32]!r}")
        try:
            batch = pa.ipc.read_record_batch(pa.py_buffer(body), writer_schema)
            batch.validate(full=True)
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            raise WireError(table.name, f"not an Arrow batch: {error}") from error
        return _conform(table, batch)

    def _find(self, fingerprint: str) -> tuple[str, pa.Schema | None]:
        if fingerprint not in self.known and self.source is not None:
            end = self.announced()
            if self._asked.get(fingerprint) != end:
                if len(self._asked) >= MAX_ASKED:
                    self._asked.clear()
                self._asked[fingerprint] = end
                for table, schema in self.source():
                    with suppress(
                        ParameterError
                    ):  # of a table or version that this one cannot read
                        self.learn(table, schema)
        return self.known.get(fingerprint, ("", None))


def _conform(table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for target in table.schema:
        index = batch.schema.get_field_index(target.name)
        column = pa.nulls(batch.num_rows, target.type) if index < 0 else batch.column(index)
        if not target.nullable and column.null_count:
            raise WireError(f"{table.name}.{target.name}", "is null")
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def encode(table: Table, batch: pa.RecordBatch) -> tuple[tuple[tuple[str, bytes], ...], bytes]:
    """Returns the headers and the body of a record that holds `batch`.

    Raises:
        ParameterError: The batch has another schema.
    """
    if batch.schema != table.schema:
        raise ParameterError(f"the batch does not have the schema of {table.name}")
    headers = ((SCHEMA_HEADER, table.fingerprint.encode()),)
    return headers, batch.serialize().to_pybytes()
