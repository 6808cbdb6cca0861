"""Segments of a running chain, proven again: what a prover can make that nobody asked for."""

from __future__ import annotations

from dataclasses import replace

from operators.proof_worker import process_backend
from operators.topic_view import TopicView
from proving.ledger.rules import LedgerParameters
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, genesis_ledger
from proving.ledger.witness import SegmentWitness, decode_witness
from proving.segment_proofs import prove_segment, segment_layout
from schemas.job import planned_envelope
from schemas.statement import SegmentStatement
from schemas.tables import JOBS
from tests.suites.mini_chain import MiniChain

Proven = tuple[SegmentStatement, bytes]


def planned_witness(day: MiniChain, job_id: bytes) -> SegmentWitness:
    """Returns the witness of a job on the log."""
    for row in TopicView(day.log()).rows("jobs", JOBS):
        envelope = planned_envelope(row)
        if envelope is not None and envelope.job_id == job_id:
            return decode_witness(envelope.witness)
    raise LookupError(job_id.hex())


def proven_for_another_chain(day: MiniChain, job_id: bytes) -> Proven:
    """Proves a job's segment under the next chain's number: the circuit holds for any."""
    witness = planned_witness(day, job_id)
    statement = replace(witness.statement, chain=witness.statement.chain + 1)
    return statement, prove_segment(replace(witness, statement=statement), process_backend()).data


def proven_for_more_shards(day: MiniChain, job_id: bytes) -> Proven:
    """Proves a job's segment as if the chain had one more shard: value could leave to nowhere."""
    witness = planned_witness(day, job_id)
    statement = replace(witness.statement, shards=witness.statement.shards + 1)
    return statement, prove_segment(replace(witness, statement=statement), process_backend()).data


def proven_other_history(day: MiniChain, job_id: bytes) -> Proven:
    """Proves that the chain began with one empty block, which it did not.

    Args:
        day: The chain.
        job_id: Job of the segment whose window and slot the block is given.
    """
    witness, backend = planned_witness(day, job_id), process_backend()
    parameters = LedgerParameters(day.genesis.chain, witness.statement.shard)
    ledger = genesis_ledger(parameters, backend, day.genesis.issuer_key)
    window = witness.statement.window
    block = Block(1, witness.entries[0].slot, window, ())
    (other,) = cut_window(ledger, [block], window, segment_layout())
    return other.statement, prove_segment(other, backend).data
