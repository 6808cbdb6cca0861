"""A closed window's parts as the rows of its tables, with the evidence behind its findings checked."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from operators.analytics_feed import Source
from operators.analytics_parts import (
    BlockPart,
    ClosingPart,
    CountPart,
    Parts,
    VotePart,
    merge_counts,
    nearest_rank,
    value_counts,
)
from operators.consensus_messages import decode_message
from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee, place_flaw
from operators.event_log import EventLog
from operators.log_schemas import registry_of
from operators.record_input import input_of
from schemas.analytics import (
    WINDOW_FINDINGS,
    WINDOW_KINDS,
    WINDOW_REJECTIONS,
    WINDOW_TOTALS,
)
from schemas.block import Phase, Vote, make_evidence, offence_of
from schemas.tables import CONSENSUS
from schemas.topics import shard_topic
from schemas.transactions import TransactionKind

Row = Mapping[str, Any]

VotePlace = tuple[int, int]
"""Offset and row on `votes.<shard>`."""

FetchVotes = Callable[[Sequence[VotePlace]], Iterable[Vote]]
"""Returns the decodable votes at some places."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Who may be accused, and how votes are looked up.

    Attributes:
        committee: The shard's validators.
        verifier: Checks their signatures.
        fetch: Reads votes.
    """

    committee: Committee
    verifier: Verifier
    fetch: FetchVotes


def votes_of(log: EventLog, shard: int) -> FetchVotes:
    """Returns what reads the votes of a shard."""

    def fetch(places: Sequence[VotePlace]) -> Iterable[Vote]:
        registry = registry_of(log)
        for offset, group in itertools.groupby(sorted(places), key=lambda place: place[0]):
            for record in log.read(shard_topic("votes", shard), offset, 1):
                batch = input_of(record, CONSENSUS, registry).batch
                for _, row in group:
                    if batch is not None and record.offset == offset:
                        message = decode_message(batch["message"][row].as_py())
                        if isinstance(message, Vote):
                            yield message

    return fetch


def closing_of(parts: Parts) -> ClosingPart | None:
    """Returns the part that says that the window has all others, or None."""
    return next((part for part in parts.values() if isinstance(part, ClosingPart)), None)


def window_rows(window: int, parts: Parts, witness: Witness) -> dict[str, list[Row]]:
    """Returns the rows of a window's tables by table name.

    Args:
        window: The window.
        parts: Everything in it, in any order.
        witness: For the findings.
    """
    blocks = [one for one in parts.values() if isinstance(one, BlockPart) and not one.is_rival]
    blocks.sort(key=lambda block: block.height)
    kinds = [_kind_row(window, kind, blocks) for kind in _kinds_of(blocks)]
    letters = _labels(parts, Source.REJECTED)
    receipts = _labels(parts, Source.RECEIPTS).total()
    executed = sum(row["transactions"] for row in kinds)
    findings = [
        *_vote_findings(parts, witness),
        *_block_findings(blocks, parts),
        *_count_findings(blocks, executed, receipts),
    ]
    totals = _totals(window, blocks) | {
        "transactions": executed,
        "fee_micros": sum(row["fee_sum"] for row in kinds),
        "votes": len(_distinct_votes(parts)),
        "final_receipts": receipts,
        "rejected": letters.total(),
        "findings": len(findings),
    }
    return {
        WINDOW_TOTALS.name: [totals],
        WINDOW_KINDS.name: kinds,
        WINDOW_REJECTIONS.name: [
            {"window": window, "stage": stage, "reason": reason, "count": count}
            for (stage, reason), count in sorted(letters.items())
        ],
        WINDOW_FINDINGS.name: sorted(
            ({"window": window, **row} for row in findings),
            key=lambda row: (row["finding"], row.get("view") or 0, row["detail"]),
        ),
    }


def _kinds_of(blocks: Sequence[BlockPart]) -> list[TransactionKind]:
    return sorted({counts.kind for block in blocks for counts in block.kinds})


def _kind_row(window: int, kind: TransactionKind, blocks: Sequence[BlockPart]) -> Row:
    counts = [one for block in blocks for one in block.kinds if one.kind == kind]
    fees = merge_counts(one.fees for one in counts)
    latencies = merge_counts(one.latencies for one in counts)
    return {
        "window": window,
        "kind": kind.name.lower(),
        "transactions": sum(one.transactions for one in counts),
        "amount": Decimal(sum(one.amount for one in counts)),
        "fee_sum": sum(value * count for value, count in fees),
        "fee_min": fees[0][0],
        "fee_p50": nearest_rank(fees, 50),
        "fee_max": fees[-1][0],
        "latency_p50": nearest_rank(latencies, 50),
        "latency_p99": nearest_rank(latencies, 99),
        "latency_max": latencies[-1][0],
    }


def _totals(window: int, blocks: Sequence[BlockPart]) -> dict[str, Any]:
    finality = value_counts(block.finality_millis for block in blocks if block.entries)
    issued = sum(
        one.amount for block in blocks for one in block.kinds if one.kind is TransactionKind.ISSUE
    )
    return {
        "window": window,
        "blocks": len(blocks),
        "empty_blocks": sum(not block.entries for block in blocks),
        "payload_bytes": sum(block.payload_bytes for block in blocks),
        "issued": issued,
        "sent_words": sum(block.sent[0] for block in blocks),
        "sent_amount": Decimal(sum(block.sent[1] for block in blocks)),
        "received_words": sum(block.received[0] for block in blocks),
        "received_amount": Decimal(sum(block.received[1] for block in blocks)),
        "first_height": blocks[0].height if blocks else None,
        "end_height": blocks[-1].height + 1 if blocks else None,
        "finality_p50": nearest_rank(finality, 50),
        "finality_p99": nearest_rank(finality, 99),
        "finality_max": finality[-1][0] if finality else None,
    }


def _labels(parts: Parts, source: Source) -> Counter[tuple[str, ...]]:
    total: Counter[tuple[str, ...]] = Counter()
    for (name, _, _), part in parts.items():
        if name == source and isinstance(part, CountPart):
            total.update(dict(part.counts))
    return total


VoteKey = tuple[int, int, int, int]
"""Signer, view, phase, mark of the ballot."""


def _distinct_votes(parts: Parts) -> dict[VoteKey, list[VotePlace]]:
    """Returns where each vote stands; a vote sent again is one vote."""
    found: dict[VoteKey, list[VotePlace]] = defaultdict(list)
    for (_, offset, _), part in parts.items():
        if isinstance(part, VotePart):
            for vote in part.votes:
                key = (vote.signer, vote.view, vote.phase, vote.ballot)
                found[key].append((offset, vote.row))
    return found


def _vote_findings(parts: Parts, witness: Witness) -> list[Row]:
    by_view: dict[tuple[int, int], list[VoteKey]] = defaultdict(list)
    places = _distinct_votes(parts)
    for key in places:
        by_view[key[0], key[1]].append(key)
    suspects = [keys for keys in by_view.values() if _may_contradict(keys)]
    wanted = [place for keys in suspects for key in keys for place in places[key]]
    votes: dict[tuple[int, int], list[Vote]] = defaultdict(list)
    for vote in _signed(witness, witness.fetch(wanted) if wanted else ()):
        votes[vote.signer, vote.ballot.view].append(vote)
    return [row for found in votes.values() for row in _accusations(found)]


def _may_contradict(keys: Sequence[VoteKey]) -> bool:
    phases = [key[2] for key in keys]
    return len(set(phases)) < len(phases) or {Phase.NULLIFY, Phase.FINALIZE} <= set(phases)


def _signed(witness: Witness, votes: Iterable[Vote]) -> list[Vote]:
    """Returns the votes that their signers have signed: nobody else's count."""
    committee = witness.committee
    own = [
        vote
        for vote in votes
        if vote.signer < committee.size
        and place_flaw(vote.ballot.chain, vote.ballot.shard, vote.ballot.epoch, committee) is None
    ]
    claims = [
        (vote.signer, vote.ballot.signed_bytes(committee.validators), vote.signature)
        for vote in own
    ]
    verdicts = witness.verifier.verify_many(claims) if claims else ()
    return [vote for vote, is_good in zip(own, verdicts, strict=True) if is_good]


def _accusations(votes: Sequence[Vote]) -> list[Row]:
    """Returns one row per offence of a signer in a view, with the first pair in canonical order."""
    ballots = {vote.ballot.to_bytes(): vote for vote in votes}
    found: dict[str, Row] = {}
    for one, other in itertools.combinations([ballots[key] for key in sorted(ballots)], 2):
        offence = offence_of(one, other)
        if offence is None or offence.name.lower() in found:
            continue
        evidence = make_evidence(one, other)
        found[offence.name.lower()] = {
            "finding": "vote_equivocation",
            "detail": offence.name.lower(),
            "signer": one.signer,
            "view": one.ballot.view,
            "first_hash": evidence.first.ballot.block_hash,
            "second_hash": evidence.second.ballot.block_hash,
        }
    return list(found.values())


def _block_findings(blocks: Sequence[BlockPart], parts: Parts) -> list[Row]:
    final = {block.height: block.block_hash for block in blocks}
    rivals = {
        (one.height, one.block_hash): one
        for one in parts.values()
        if isinstance(one, BlockPart) and one.is_rival and final.get(one.height) != one.block_hash
    }
    return [
        {
            "finding": "block_equivocation",
            "detail": f"height {height}",
            "view": rival.view,
            "height": height,
            "first_hash": final.get(height),
            "second_hash": block_hash,
        }
        for (height, block_hash), rival in sorted(rivals.items())
    ]


def _count_findings(blocks: Sequence[BlockPart], executed: int, receipts: int) -> list[Row]:
    marks = Counter(mark for block in blocks for mark in block.marks)
    twice = sorted(mark for mark, count in marks.items() if count > 1)
    found: list[Row] = [
        {"finding": "duplicate_digest", "detail": f"{mark:016x}: {marks[mark]} times"}
        for mark in twice
    ]
    if executed != receipts:
        found.append(
            {
                "finding": "receipts_differ",
                "detail": f"{executed} executed transactions, {receipts} final receipts",
            }
        )
    return found
