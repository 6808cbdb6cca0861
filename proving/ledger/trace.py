"""The trace of a segment: the whole main trace and the public inputs, from a witness alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proving.arithmetic.modulus import PERMUTATION_WIDTH
from proving.backends.port import Hasher
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.ledger.air import LedgerAir
from proving.ledger.air_steps import MONEY_FIELDS, RANGED_FIELDS
from proving.ledger.layout import Layout
from proving.ledger.permutation import hash_bytes
from proving.ledger.trace_nodes import ColumnsOf, compression_columns, fill_nodes
from proving.ledger.trace_steps import SegmentRun
from proving.ledger.transfers import words_of_accounts
from proving.ledger.trees import TreeTrace, empty_digests, partial_tree, untouched_trace
from proving.ledger.witness import SegmentWitness
from proving.stark.air import FieldArray
from schemas.errors import InvariantError, WireError
from schemas.statement import (
    DIGEST_OFFSET,
    TOUCHED_ARRAYS,
    SegmentStatement,
    boundary_rules,
    publics_of,
    statement_of_publics,
)
from schemas.steps import STEPS
from schemas.units import (
    AMOUNT_LIMBS,
    LIMB_LIMIT,
    LINK_ARRAYS,
    ZERO_WORD,
    Array,
    word_elements,
)


def statement_digest(statement: SegmentStatement, hasher: Hasher) -> bytes:
    """Returns the word that stands for a statement."""
    return hash_bytes(hasher, "segment", statement.preimage())


def build_trace(
    air: LedgerAir,
    witness: SegmentWitness,
    hasher: Hasher,
    payee: bytes = ZERO_WORD,
    vk_self: bytes = ZERO_WORD,
    *,
    columns_of: ColumnsOf = compression_columns,
) -> tuple[FieldArray, list[int]]:
    """Builds the main trace and the public inputs of a segment.

    Args:
        air: The circuit.
        witness: The segment.
        hasher: Where permutations run.
        payee: Word that binds prover, job and epoch.
        vk_self: Word passed through to recursion.
        columns_of: Computes what the hash lanes store; `compiled_columns` does it faster.

    Returns:
        (num_main, height) canonical residues and `num_publics` public inputs.

    Raises:
        ProvingError: The witness does not show its statement, or does not fit the circuit.
    """
    layout = air.layout
    trace = np.zeros((layout.num_main, layout.height), dtype=np.uint32)
    run = SegmentRun(trace, layout, witness, hasher)
    run.run()
    trees = _update_trees(witness, run, hasher)
    pairs = np.frombuffer(b"".join(run.hashes), dtype="<u4").astype(np.uint32)
    fill_nodes(trace, layout, trees, pairs.reshape(-1, PERMUTATION_WIDTH), columns_of)
    _fill_ranges(trace, layout)
    digest = statement_digest(witness.statement, hasher)
    return trace, publics_of(witness.statement, digest, vk_self, payee)


def _update_trees(
    witness: SegmentWitness, run: SegmentRun, hasher: Hasher
) -> list[tuple[Array, TreeTrace]]:
    old: dict[Array, dict[int, bytes]] = {Array.ACC: dict(witness.accounts)}
    held = words_of_accounts(run.accounts.values())
    new = {Array.ACC: dict(zip(run.accounts, held, strict=True))}
    for array in LINK_ARRAYS:
        old[array] = {peer: word for kind, peer, word in witness.links if kind is array}
        new[array] = {peer: run.links[array, peer] for peer in old[array]}
    for array, words in run.appended.items():
        old[array], new[array] = dict.fromkeys(words, ZERO_WORD), words
    traces: list[tuple[Array, TreeTrace]] = []
    for array, siblings in zip(TOUCHED_ARRAYS, witness.siblings, strict=True):
        try:
            trace = _update(old[array], new[array], siblings, hasher)
        except InvariantError as error:
            raise ProvingError(f"the witness's multiproof of {array.name} is broken") from error
        roots = (trace.old_digest[-1], trace.new_digest[-1])
        before, after = (root.astype("<u4").tobytes() for root in roots)
        if before != witness.statement.before.root(array):
            raise ProvingError(f"the witness does not open {array.name} at the statement's root")
        if after != witness.statement.after.root(array):
            raise ProvingError(f"{array.name} does not end at the statement's root")
        traces.append((array, trace))
    return traces


def _update(
    old: dict[int, bytes], new: dict[int, bytes], siblings: Sequence[bytes], hasher: Hasher
) -> TreeTrace:
    """Returns the nodes above an array's cells, the root last; its top node alone without cells."""
    if not old:
        return untouched_trace(hasher, siblings)
    return partial_tree(hasher, old, siblings).update(new)


def _fill_ranges(trace: FieldArray, layout: Layout) -> None:
    lane = layout.steps
    touching = np.zeros(layout.height, dtype=np.bool_)
    moving = np.zeros(layout.height, dtype=np.bool_)
    for step in STEPS:
        here = trace[lane.column(step.name)] == 1
        touching |= here & (step.array is not None)
        moving |= here & step.moves
    money = [lane.column("new", j) for j in range(AMOUNT_LIMBS)]
    money += [column for name in MONEY_FIELDS for column in lane.places[name]]
    columns = [column for name in RANGED_FIELDS for column in lane.places[name]]
    values = np.concatenate([trace[money][:, moving].ravel(), trace[columns][:, touching].ravel()])
    if values.size and int(values.max()) >= LIMB_LIMIT:
        raise ProvingError("a limb is out of range")
    counts = np.zeros(len(layout.ranges) * layout.height, dtype=np.uint32)
    found = np.bincount(values, minlength=LIMB_LIMIT)
    counts[:LIMB_LIMIT] = found
    trace[layout.ranges.start : layout.ranges.stop] = counts.reshape(len(layout.ranges), -1)


def check_statement(publics: Sequence[int], hasher: Hasher) -> SegmentStatement:
    """Checks the public inputs of a segment's proof as the verifier must, before anything else.

    Every field must lie in its range, the boundaries must be in order, a window's first segment must start
    with empty lists and no open block, and the digest must be the statement's.

    Returns:
        The statement they say.

    Raises:
        ProofRejected: With `BAD_STATEMENT`.
    """
    try:
        statement = statement_of_publics(list(publics))
        for offset in range(DIGEST_OFFSET, len(publics), 8):
            _ = word_elements(
                b"".join(int(e).to_bytes(4, "little") for e in publics[offset : offset + 8])
            )
    except (WireError, ValueError, OverflowError) as error:
        raise ProofRejected(
            RejectionReason.BAD_STATEMENT, "publics", "fields in range", str(error)
        ) from error
    problem = boundary_rules(statement) or window_rules(statement, hasher)
    if problem is not None:
        raise ProofRejected(
            RejectionReason.BAD_STATEMENT, "publics", "boundaries in order", problem
        )
    expected = list(word_elements(statement_digest(statement, hasher)))
    if list(publics[DIGEST_OFFSET : DIGEST_OFFSET + 8]) != expected:
        raise ProofRejected(
            RejectionReason.BAD_STATEMENT,
            "publics/digest",
            expected,
            publics[DIGEST_OFFSET : DIGEST_OFFSET + 8],
        )
    return statement


def window_rules(statement: SegmentStatement, hasher: Hasher) -> str | None:
    """Returns why a window's first segment does not begin as a window does, or None; others begin anywhere."""
    if statement.segment:
        return None
    before = statement.before
    if before.sequence or before.block_transactions or before.fee_sum:
        return "a window's first segment starts inside the window"
    empty = empty_digests(hasher)[-1]
    if any(before.root(array) != empty for array in (Array.TXS, Array.CLM)):
        return "a window's first segment starts with lists that are not empty"
    return None
