"""Transfers between shards: nothing is lost, made or stuck, and two ends of a link say the same."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_edits import (
    AIR,
    RECEIVE,
    RETURN,
    SEND,
    SMALL,
    Forge,
    both,
    checker,
    edit,
    forgery,
    report,
)
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.ledger_traffic import (
    ISSUER_KEY,
    arrival,
    fresh_ledger,
    issue,
    mixed_blocks,
    register,
    send,
)
from proving.errors import ProvingError
from proving.ledger.rules import LedgerParameters
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, BlockEffects, Ledger, genesis_ledger, restore_ledger
from proving.ledger.trace import build_trace
from proving.ledger.witness import SegmentWitness, decode_witness
from schemas.rejection import RejectionReason
from schemas.transactions import Transaction, TransactionKind
from schemas.units import FEE_UNIT, SUPPLY_CAP, ZERO_WORD, Array, ReservedCell, issuable

USERS = 4
FUNDS = 10**15


def ledger_of(shard: int, shards: int) -> Ledger:
    parameters = LedgerParameters(7, shard, shards=shards)
    return genesis_ledger(parameters, process_backend(), ISSUER_KEY)


@dataclass
class Shard:
    """A ledger, the blocks it took, and what has come for it and is not executed yet.

    Attributes:
        ledger: Its state.
        inbox: By the shard that sent it.
        blocks: All blocks, in order.
    """

    ledger: Ledger
    inbox: dict[int, deque[Transaction]] = field(default_factory=lambda: defaultdict(deque))
    blocks: list[Block] = field(default_factory=list)

    def execute(self, transactions: list[Transaction]) -> BlockEffects:
        height = len(self.blocks) + 1
        self.blocks.append(Block(height, height, 0, tuple(transactions)))
        effects = self.ledger.execute_block(transactions, height, height, 0)
        assert effects.rejected == (), "an honest shard sends only what can be received"
        return effects

    def circulating(self) -> int:
        reserved = (ReservedCell.RESERVE, ReservedCell.TRANSIT)
        return SUPPLY_CAP - sum(self.ledger.account(cell).balance for cell in reserved)


def network(shards: int) -> list[Shard]:
    """Shards with a few funded users each."""
    made = [Shard(ledger_of(number, shards)) for number in range(shards)]
    for number, shard in enumerate(made):
        opening = [register(2 + i, i) for i in range(USERS)]
        opening += [issue(16 + i, FUNDS, USERS + i) for i in range(USERS)]
        shard.execute([replace(transaction, shard=number) for transaction in opening])
    return made


def deliver(shards: list[Shard], sent: tuple[Transaction, ...]) -> None:
    for transaction in sent:
        assert transaction.kind is TransactionKind.INBOUND
        shards[transaction.shard].inbox[transaction.peer].append(transaction)


def next_block(rng: random.Random, shards: list[Shard], number: int) -> None:
    """Executes some of what came, in order per shard, and a few new sends."""
    shard, transactions = shards[number], []
    for waiting in shard.inbox.values():
        transactions += [waiting.popleft() for _ in range(rng.randrange(len(waiting) + 1))]
    sender = rng.randrange(16, 16 + USERS)
    nonce = shard.ledger.account(sender).nonce
    others = [other for other in range(len(shards)) if other != number]
    for position in range(rng.randrange(3)):
        recipient = rng.choice([16, 17, 18, 19, 16 + USERS, 999, 2**30 - 1])
        amount = rng.choice([0, 1, 2**30, 2**30 - 1, rng.randrange(FUNDS // 50)])
        made = send(sender, recipient, amount, nonce + position, peer=rng.choice(others))
        transactions.append(replace(made, shard=number))
    deliver(shards, shard.execute(transactions).sent)


def in_transit(shards: list[Shard]) -> int:
    return sum(t.amount for shard in shards for waiting in shard.inbox.values() for t in waiting)


@pytest.mark.parametrize("count", [2, 3])
def test_shards_that_exchange_transfers_keep_the_supply_and_the_same_links(count: int) -> None:
    rng = random.Random(count)  # noqa: S311 - reproducible
    shards = network(count)
    issued = sum(shard.ledger.issued() for shard in shards)
    assert issued == count * USERS * FUNDS
    came_back = 0
    for turn in range(30):
        next_block(rng, shards, turn % count)
        assert sum(shard.circulating() for shard in shards) + in_transit(shards) == issued
        cells = [sum(a.balance for a in shard.ledger.accounts.values()) for shard in shards]
        assert cells == [SUPPLY_CAP] * count
    while any(waiting for shard in shards for waiting in shard.inbox.values()):
        for shard in shards:
            arrived = [t for waiting in shard.inbox.values() for t in waiting]
            shard.inbox.clear()
            effects = shard.execute(arrived)
            came_back += len(effects.sent)
            deliver(shards, effects.sent)
    assert came_back
    assert sum(shard.circulating() for shard in shards) == issued
    for source, destination in [(a, b) for a in range(count) for b in range(count) if a != b]:
        left = shards[source].ledger.link(Array.OUT, destination)
        assert left == shards[destination].ledger.link(Array.INB, source) != ZERO_WORD
    for number, shard in enumerate(shards):
        again = ledger_of(number, count)
        segments = cut_window(again, shard.blocks, 0, SMALL.layout)
        assert len(segments) > 2
        for segment in segments:
            trace, publics = build_trace(SMALL, segment, process_backend())
            assert checker(SMALL).check(trace, publics).holds
        assert again.state_root() == shard.ledger.state_root()


def opened(count: int = 2) -> tuple[Shard, Shard]:
    first, second = network(count)[:2]
    return first, second


def test_what_is_sent_to_nobody_comes_back_to_the_sender_without_the_fee() -> None:
    first, second = opened()
    before = first.ledger.account(16).balance
    (out,) = first.execute([replace(send(16, 500, 77, 0, peer=1), shard=0)]).sent
    (back,) = second.execute([out]).sent
    assert (back.shard, back.peer, back.sender, back.recipient) == (0, 1, 500, 16)
    assert first.execute([back]).sent == ()
    assert first.ledger.account(16).balance == before - 1000 * FEE_UNIT
    assert second.ledger.account(ReservedCell.ESCROW).balance == 0


def test_a_recipient_registered_just_before_the_arrival_is_credited() -> None:
    first, second = opened()
    (out,) = first.execute([replace(send(16, 16 + USERS, 77, 0, peer=1), shard=0)]).sent
    opening = replace(register(90, 2 * USERS), shard=1)
    assert second.execute([opening, out]).sent == ()
    assert second.ledger.account(16 + USERS).balance == 77


@pytest.mark.parametrize(
    "fault", ["twice", "other order", "other amount", "other recipient", "lost"]
)
def test_any_other_list_than_the_one_sent_is_another_word(fault: str) -> None:
    first, second = opened()
    sends = [replace(send(16, 17 + j, 77 + j, j, peer=1), shard=0) for j in range(2)]
    sent = first.execute(sends).sent
    arrivals = {
        "twice": [*sent, sent[1]],
        "other order": [sent[1], sent[0]],
        "other amount": [sent[0], replace(sent[1], amount=79)],
        "other recipient": [sent[0], replace(sent[1], recipient=19)],
        "lost": [sent[0]],
    }[fault]
    second.execute(arrivals)
    assert second.ledger.link(Array.INB, 0) != first.ledger.link(Array.OUT, 1)


CASES: dict[str, tuple[Transaction, RejectionReason]] = {
    "own shard": (send(16, 20, 1, 0, peer=1), RejectionReason.UNKNOWN_SHARD),
    "no shard": (send(16, 20, 1, 0, peer=3), RejectionReason.UNKNOWN_SHARD),
    "reserved": (send(16, 15, 1, 0, peer=2), RejectionReason.RESERVED_ACCOUNT),
    "sender": (send(40, 20, 1, 0, peer=2), RejectionReason.UNKNOWN_ACCOUNT),
    "issuer": (send(0, 20, 1, 22, peer=2), RejectionReason.RESERVED_ACCOUNT),
    "overdraft": (send(16, 20, 2**59, 0, peer=2), RejectionReason.OVERDRAFT),
    "fee": (send(16, 20, 1, 0, peer=2, fee=999), RejectionReason.FEE_TOO_LOW),
    "from itself": (arrival(16, 20, 1, 0, 1), RejectionReason.UNKNOWN_SHARD),
    "from nowhere": (arrival(16, 20, 1, 0, 3), RejectionReason.UNKNOWN_SHARD),
    "to a reserved cell": (arrival(16, 1, 1, 0, 2), RejectionReason.RESERVED_ACCOUNT),
    "from a reserved cell": (arrival(0, 20, 1, 0, 2), RejectionReason.RESERVED_ACCOUNT),
    "with a fee": (replace(arrival(16, 20, 1, 0, 2), fee=1), RejectionReason.NON_CANONICAL),
    "more than there is": (arrival(16, 20, 2**60 - 1, 0, 2), RejectionReason.BALANCE_OVERFLOW),
    "more than was issued": (arrival(16, 20, 2**59 + 2**58, 0, 2), RejectionReason.OVERDRAFT),
    "too large": (arrival(16, 20, 2**60, 0, 2), RejectionReason.AMOUNT_TOO_LARGE),
    "another chain": (replace(arrival(16, 20, 1, 0, 2), chain=8), RejectionReason.WRONG_CHAIN),
    "another's": (replace(arrival(16, 20, 1, 0, 2), shard=2), RejectionReason.WRONG_SHARD),
    "a transfer's": (
        replace(send(16, 20, 1, 0, peer=2), kind=TransactionKind.TRANSFER),
        RejectionReason.NON_CANONICAL,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_no_shard_may_send_or_receive_is_refused_by_name(name: str) -> None:
    """On shard 1 of three; the state does not move."""
    ledger = fresh_ledger()
    first = mixed_blocks()[0]
    ledger.execute_block(first.transactions, first.height, first.slot, 0)
    ledger.open_block(2, 5, 0)
    transaction, reason = CASES[name]
    before = (ledger.state_root(), {array: dict(cells) for array, cells in ledger.pending.items()})
    assert ledger.execute(transaction) is reason
    assert before == (ledger.state_root(), ledger.pending)


def test_no_trace_is_made_of_a_send_to_nowhere() -> None:
    """A witness that names another shard than there is, as a prover who skips the rules would write it."""
    ledger = fresh_ledger()
    (segment,) = cut_window(ledger, mixed_blocks(), 0, AIR.layout)
    place = next(
        j
        for j, entry in enumerate(segment.entries)
        if entry.transaction is not None and entry.transaction.kind is TransactionKind.OUTBOUND
    )
    entry = segment.entries[place]
    assert entry.transaction is not None
    for peer in (ledger.parameters.shard, ledger.parameters.shards):
        other = replace(entry, transaction=replace(entry.transaction, peer=peer))
        entries = (*segment.entries[:place], other, *segment.entries[place + 1 :])
        with pytest.raises(ProvingError, match="no other shard"):
            build_trace(AIR, replace(segment, entries=entries), process_backend())


def test_a_witness_with_links_has_one_encoding() -> None:
    (segment,) = cut_window(fresh_ledger(), mixed_blocks(), 0, AIR.layout)
    assert [(array, peer) for array, peer, _ in segment.links] == [
        (Array.OUT, 0),
        (Array.OUT, 2),
        (Array.INB, 0),
        (Array.INB, 2),
    ]
    assert decode_witness(segment.encode()) == segment


def test_a_segment_that_only_sends_back_touches_no_account_and_no_key() -> None:
    """Both arrays show their top node alone: no memory row, no path."""
    ledger = fresh_ledger()
    returns = tuple(arrival(30, 16 + j, 5, j, 2) for j in range(31))
    segments = cut_window(ledger, [Block(1, 3, 0, returns)], 0, SMALL.layout)
    assert [len(segment.accounts) for segment in segments] == [0, 0, 1]
    assert [len(segment.entries) for segment in segments] == [15, 15, 2]
    assert [len(words) for words in segments[0].siblings[:2]] == [2, 2]
    for segment in segments:
        trace, publics = build_trace(SMALL, segment, process_backend())
        assert checker(SMALL).check(trace, publics).holds


def _other_links(segment: SegmentWitness) -> SegmentWitness:
    (array, peer, _), *rest = segment.links
    return replace(segment, links=((array, peer, b"\1" + bytes(31)), *rest))


def _fewer_links(segment: SegmentWitness) -> SegmentWitness:
    return replace(segment, links=segment.links[1:])


def _long_top(segment: SegmentWitness) -> SegmentWitness:
    return replace(segment, siblings=((*segment.siblings[0], ZERO_WORD), *segment.siblings[1:]))


def _other_top(segment: SegmentWitness) -> SegmentWitness:
    return replace(segment, siblings=((ZERO_WORD, ZERO_WORD), *segment.siblings[1:]))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_other_links, "does not open OUT"),
        (_fewer_links, "lacks the link OUT of shard 2"),
        (_long_top, "multiproof of ACC is broken"),
        (_other_top, "does not open ACC"),
    ],
)
def test_a_wrong_witness_makes_no_proof(
    change: Callable[[SegmentWitness], SegmentWitness], text: str
) -> None:
    returns = tuple(arrival(30, 16 + j, 5, j, 2) for j in range(31))
    segment = cut_window(fresh_ledger(), [Block(1, 3, 0, returns)], 0, SMALL.layout)[0]
    with pytest.raises(ProvingError, match=text):
        build_trace(SMALL, change(segment), process_backend())


def test_links_survive_a_snapshot_a_branch_and_a_merge() -> None:
    ledger = fresh_ledger()
    for block in mixed_blocks()[:2]:
        branch = ledger.branch()
        branch.execute_block(block.transactions, block.height, block.slot, 0)
        dropped = ledger.branch()
        dropped.execute_block(block.transactions[:1], block.height, block.slot, 0)
        branch.merge()
    again = restore_ledger(ledger.snapshot(), process_backend())
    assert again.state_root() == ledger.state_root()
    assert again.snapshot() == ledger.snapshot()
    assert again.parameters == ledger.parameters
    for array in (Array.OUT, Array.INB):
        assert again.link(array, 2) == ledger.link(array, 2) != ZERO_WORD


@pytest.mark.parametrize("shards", [1, 2, 3, 64])
def test_a_shard_begins_with_its_part_of_the_cap_and_room_for_all_of_it(shards: int) -> None:
    ledgers = [ledger_of(number, shards) for number in range(min(shards, 3))]
    assert len({ledger.state_root() for ledger in ledgers}) == 1
    assert issuable(shards) * shards <= SUPPLY_CAP
    for ledger in ledgers:
        assert ledger.issued() == 0
        assert sum(account.balance for account in ledger.accounts.values()) == SUPPLY_CAP
        assert (ReservedCell.TRANSIT in ledger.accounts) == (shards > 1)


def relinked(*forges: Forge) -> Forge:
    return both(*forges, Forgery.relink)


def word(row: int, position: int, value: int) -> Forge:
    return lambda f: f.put("word", row, value, position)


def _less_credited(f: Forgery) -> None:
    """The recipient gets one unit less than the word says, and the transit cell loses one less."""
    for row in (RECEIVE, RECEIVE + 1, RECEIVE + 2):
        f.add("amount", row, -1)
    for row in (RECEIVE + 1, RECEIVE + 2):
        f.move(row)


def _kept_in_transit(f: Forgery) -> None:
    f.put_word("amount", RECEIVE + 2, (0, 0, 0, 0))
    f.move(RECEIVE + 2)


def _uncounted(f: Forgery) -> None:
    """The block's word says one transaction less than it has."""
    settle = RETURN + 4
    for row in range(RECEIVE + 1, settle + 1):
        f.add("block_transactions", row, -1)
    f.add("amount", settle, -1, 2)
    f.add("word", settle, -1, 2)


LIES: dict[str, tuple[Forge, set[str]]] = {
    "it came from another shard": (relinked(word(RECEIVE, 5, 2)), {"step.word[5]"}),
    "it is for another shard": (relinked(word(RECEIVE, 6, 2)), {"step.word[6]"}),
    "it is another kind": (relinked(word(RECEIVE, 7, 10)), {"step.word[7]"}),
    "another shard sends it": (relinked(word(SEND + 1, 5, 2)), {"step.word[5]"}),
    "it goes to another shard": (relinked(word(SEND + 1, 6, 2)), {"step.word[6]"}),
    "it goes as another kind": (relinked(word(SEND + 1, 7, 1)), {"step.word[7]"}),
    "it goes back from another shard": (relinked(word(RETURN + 1, 5, 0)), {"step.word[5]"}),
    "it goes back to another shard": (relinked(word(RETURN + 1, 6, 0)), {"step.word[6]"}),
    "more goes back": (relinked(edit("word", RETURN + 1, 1, 3)), {"step.link.word[3]"}),
    "it goes back to another account": (
        relinked(edit("word", RETURN + 1, 1, 1)),
        {"step.link.word[1]"},
    ),
    "less is sent": (edit("amount", SEND + 1, -1, 3), {"step.flow[3]"}),
    "less is credited": (_less_credited, {"step.word[2]"}),
    "it is credited, and still in transit": (
        _kept_in_transit,
        {"step.flow[0]", "step.flow[1]", "step.flow[2]"},
    ),
    "it is credited to another": (lambda f: f.retouch(RECEIVE + 1, 19), {"step.recipient.cell"}),
    "the block does not count it": (_uncounted, {"step.block_transactions.next"}),
}
"""What a forger may say of the links, and the constraints that do not hold then."""


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_a_link_is_found(name: str) -> None:
    forge, broken = LIES[name]
    forged = forgery()
    forge(forged)
    forged.finish()
    found = report(forged)
    assert (set(found.violations), found.unbalanced) == (broken, {})
