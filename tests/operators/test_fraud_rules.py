"""F1 to F6, one by one, with the design's own numbers; every order of events is in test_rules_exploration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.fraud_blocks import Exposure
from operators.fraud_rules import FraudRules, bonds_of, is_bonded
from operators.fraud_state import (
    NOBODY,
    BlockFacts,
    BlockFinal,
    BlocksProven,
    BlocksRemoved,
    BlockStatus,
    BondLocked,
    BondReleased,
    Claim,
    ClaimEnded,
    Deposited,
    EpochBegan,
    EquivocationShown,
    Fate,
    FaultClaimed,
    FaultKind,
    FraudEffect,
    FraudEvent,
    FraudState,
    Judged,
    Loss,
    PoolFunded,
    ProofAccepted,
    ProofContradicted,
    ProvingOpened,
    Refunded,
    Slashed,
    UnbondRequested,
    Withdrawn,
)
from operators.rule_state import BURNED, POOL, Pot, PotKind, Table, digest
from schemas.economics import ECLIPT, FraudTerms
from schemas.errors import InvariantError, ParameterError
from schemas.refusal import FraudRefusal

RULES = FraudRules()
BOND = 100_000 * ECLIPT
CLAIM = 1_000 * ECLIPT
POOLED = 50_000 * ECLIPT


def block(name: str, parent: str = "", height: int = 1, **changes: object) -> BlockFacts:
    facts = BlockFacts(
        0, height, name.encode(), parent.encode(), 0, height, 0, b"v", (), 60_000 * ECLIPT
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def claim(
    name: str, of: str, kind: FaultKind = FaultKind.TRANSACTION, reporter: bytes = b"r"
) -> FaultClaimed:
    return FaultClaimed(Claim(name.encode(), reporter, kind, of.encode(), 0, 1_000))


def after(state: FraudState, *events: FraudEvent) -> tuple[FraudState, list[FraudEffect]]:
    effects: list[FraudEffect] = []
    for event in events:
        step = RULES.step(state, event)
        assert step.refusal is None, (event, step.refusal)
        state = step.state
        effects += step.effects
        assert state.books.is_balanced()
    return state, effects


def refusal(state: FraudState, event: FraudEvent) -> FraudRefusal | None:
    step = RULES.step(state, event)
    if step.refusal is not None:
        assert (step.state, step.effects) == (state, ())
    return step.refusal


@pytest.fixture
def start() -> FraudState:
    """Two bonded validators, two reporters with the bond of one claim each, a pool, and blocks a - b - c."""
    events: list[FraudEvent] = [PoolFunded(POOLED)]
    for party in (b"v", b"w"):
        events += [Deposited(party, BOND), BondLocked(party, BOND)]
    events += [Deposited(party, CLAIM) for party in (b"r", b"s")]
    events += [
        BlockFinal(block("a")),
        BlockFinal(block("b", "a", 2)),
        BlockFinal(block("c", "b", 3, proposer=b"w")),
    ]
    return after(FraudState(), *events)[0]


def held(state: FraudState, kind: PotKind, party: bytes = b"") -> int:
    return state.books.held(Pot(kind, party))


def test_f1_a_fault_reverts_slashes_pays_and_refunds_at_once(start: FraudState) -> None:
    losses = (Loss(b"x", 50_000 * ECLIPT), Loss(b"y", 70_000 * ECLIPT))
    state, effects = after(start, claim("1", "b"), Judged(b"1", is_fraud=True, losses=losses))
    assert effects == [
        ClaimEnded(b"1", b"r", 0),
        Slashed(b"v", b"b", BOND, b"r", BOND // 10, BOND // 10),
        Refunded(b"x", 50_000 * ECLIPT, 37_500 * ECLIPT),
        Refunded(b"y", 70_000 * ECLIPT, 52_500 * ECLIPT),
        BlocksRemoved((b"b", b"c"), Fate.REVERTED, ((0, b"a"),), ()),
    ]
    assert held(state, PotKind.FREE, b"r") == CLAIM + BOND // 10
    assert held(state, PotKind.BURNED) == BOND // 10
    assert held(state, PotKind.POOL) == POOLED - 10_000 * ECLIPT
    assert bonds_of(state, (b"v", b"w")) == {b"v": 0, b"w": BOND}
    assert not is_bonded(state, b"v", BOND)
    assert is_bonded(state, b"w", BOND)


def test_f1_heights_and_views_go_on_above_what_was_reverted(start: FraudState) -> None:
    state, _ = after(start, claim("1", "b"), Judged(b"1", is_fraud=True))
    for height, view in ((2, 9), (3, 9)):
        again = block("d", "a", height, view=view)
        assert refusal(state, BlockFinal(again)) is FraudRefusal.HEIGHT_REUSED
    assert refusal(state, BlockFinal(block("d", "a", 5))) is FraudRefusal.HEIGHT_SKIPPED
    assert refusal(state, BlockFinal(block("d", "c", 4))) is FraudRefusal.NOT_ON_TIP
    assert refusal(state, BlockFinal(block("d", "a", 4, view=3))) is FraudRefusal.VIEW_WENT_BACK
    state, _ = after(state, BlockFinal(block("d", "a", 4)))
    assert [RULES.status(state, name) for name in (b"a", b"b", b"c", b"d")] == [
        BlockStatus.BFT_FINAL,
        BlockStatus.REVERTED,
        BlockStatus.REVERTED,
        BlockStatus.BFT_FINAL,
    ]


def test_f1_who_follows_the_effects_has_the_state_of_a_replay_without_the_reverted_blocks(
    start: FraudState,
) -> None:
    """A ledger of nullifiers and fees, rolled back to the tip that the effect names, and one that never saw b and c."""
    made = {b"a": (b"n1", 3), b"b": (b"n2", 5), b"c": (b"n3", 7), b"d": (b"n2", 11)}

    def ledger(chain: list[bytes]) -> tuple[frozenset[bytes], int]:
        spent = [made[name][0] for name in chain]
        assert len(set(spent)) == len(spent), "a nullifier is spent twice"
        return frozenset(spent), sum(made[name][1] for name in chain)

    chain = [b"a", b"b", b"c"]
    state, effects = after(start, claim("1", "b"), Judged(b"1", is_fraud=True))
    (removed,) = [effect for effect in effects if isinstance(effect, BlocksRemoved)]
    chain = chain[: chain.index(removed.tips[0][1]) + 1]
    state, _ = after(state, BlockFinal(block("d", "a", 4)))
    chain.append(b"d")
    live = [r.facts for r in state.blocks.values() if r.fate is Fate.LIVE]
    replayed = [facts.id for facts in sorted(live, key=lambda facts: facts.height)]
    assert ledger(chain) == ledger(replayed) == ledger([b"a", b"d"])


def test_f1_of_two_reporters_of_one_fault_the_first_verdict_pays_and_the_other_loses_nothing(
    start: FraudState,
) -> None:
    both, _ = after(start, claim("1", "b"), claim("2", "b", reporter=b"s"))
    state, _ = after(both, Judged(b"2", is_fraud=True))
    state, effects = after(state, Judged(b"1", is_fraud=True))
    assert effects == [ClaimEnded(b"1", b"r", 0)]
    assert held(state, PotKind.FREE, b"r") == CLAIM
    assert held(state, PotKind.FREE, b"s") == CLAIM + BOND // 10
    third = claim("3", "b", reporter=b"s")
    assert refusal(state, third) is FraudRefusal.ALREADY_CONVICTED


def test_f1_equivocation_is_slashed_once_whoever_shows_it(start: FraudState) -> None:
    shown = EquivocationShown(b"view 3", b"w", b"r")
    state, effects = after(start, shown)
    assert effects == [Slashed(b"w", b"view 3", BOND, b"r", BOND // 10, BOND // 10)]
    assert refusal(state, replace(shown, reporter=b"s")) is FraudRefusal.ALREADY_PUNISHED
    other = replace(shown, offence=b"view 4")
    assert refusal(state, other) is FraudRefusal.NOTHING_BONDED


def test_f1_what_nobody_is_paid_for_goes_to_the_pool(start: FraudState) -> None:
    state, effects = after(start, EquivocationShown(b"view 3", b"w", NOBODY))
    assert effects == [Slashed(b"w", b"view 3", BOND, NOBODY, 0, BOND // 10)]
    assert held(state, PotKind.FREE, NOBODY) == 0
    assert held(state, PotKind.POOL) == POOLED + BOND - BOND // 10
    assert state.books.is_balanced()


def test_f2_a_bogus_claim_costs_its_bond_and_changes_nothing_else(start: FraudState) -> None:
    claimed, _ = after(start, claim("1", "b"))
    assert RULES.status(claimed, b"b") is BlockStatus.CHALLENGED
    state, effects = after(claimed, Judged(b"1", is_fraud=False))
    assert effects == [ClaimEnded(b"1", b"r", CLAIM)]
    assert held(state, PotKind.POOL) == POOLED + CLAIM
    assert (state.blocks, state.shards) == (start.blocks, start.shards)
    assert refusal(state, Judged(b"1", is_fraud=True)) is FraudRefusal.ALREADY_JUDGED
    assert refusal(state, claim("1", "b")) is FraudRefusal.REPLAYED_CLAIM
    assert refusal(state, claim("2", "b")) is FraudRefusal.CLAIM_WITHOUT_BOND


def test_f2_what_is_not_worth_judging_is_refused_before_it_costs_anything(
    start: FraudState,
) -> None:
    given = claim("1", "b").claim
    tried = {
        FraudRefusal.OVERSIZED_CLAIM: replace(given, evidence_bytes=64 * 1024 + 1),
        FraudRefusal.UNKNOWN_BLOCK: replace(given, block=b"nowhere"),
        FraudRefusal.WRONG_EPOCH: replace(given, epoch=1),
        FraudRefusal.CLAIM_WITHOUT_BOND: replace(given, reporter=b"nobody"),
    }
    for reason, bad in tried.items():
        assert refusal(start, FaultClaimed(bad)) is reason
    state, _ = after(start, claim("1", "b"))
    assert refusal(state, claim("2", "b")) is FraudRefusal.ALREADY_CLAIMED


def test_f3_a_proof_first_answers_claims_about_transitions_and_no_others(start: FraudState) -> None:
    state, _ = after(start, ProofAccepted(b"b"))
    assert [RULES.status(state, name) for name in (b"a", b"b", b"c")] == [
        BlockStatus.SHOWN,
        BlockStatus.SHOWN,
        BlockStatus.BFT_FINAL,
    ]
    late = claim("1", "b", FaultKind.TRANSITION)
    assert refusal(state, late) is FraudRefusal.PREEMPTED_BY_PROOF
    state, effects = after(state, claim("2", "b"), Judged(b"2", is_fraud=True))
    assert effects[-1] == BlocksRemoved((b"b", b"c"), Fate.REVERTED, ((0, b"a"),), (b"b",))


def test_f3_a_claim_first_and_a_proof_before_the_verdict_is_an_alarm_and_no_revert(
    start: FraudState,
) -> None:
    """A sound proof of a false transition does not exist: a verdict that says so shows a defect in one verifier."""
    state, _ = after(start, claim("1", "b", FaultKind.TRANSITION), ProofAccepted(b"b"))
    state, effects = after(state, Judged(b"1", is_fraud=True))
    assert effects == [ClaimEnded(b"1", b"r", 0), ProofContradicted(b"b", b"1")]
    assert RULES.status(state, b"b") is BlockStatus.SHOWN
    assert bonds_of(state, (b"v",)) == {b"v": BOND}


def test_f3_a_claim_and_its_verdict_before_the_proof_revert(start: FraudState) -> None:
    state, _ = after(start, claim("1", "b", FaultKind.TRANSITION), Judged(b"1", is_fraud=True))
    assert refusal(state, ProofAccepted(b"b")) is FraudRefusal.BLOCK_REVERTED
    state, _ = after(state, ProofAccepted(b"a"))
    assert refusal(state, ProofAccepted(b"a")) is FraudRefusal.ALREADY_SHOWN


def test_f3_a_block_is_proven_once_shown_and_its_window_over_and_then_stays(
    start: FraudState,
) -> None:
    state, effects = after(start, ProofAccepted(b"c"), EpochBegan(1))
    assert not effects
    assert refusal(state, claim("1", "b")) is None
    state, effects = after(state, EpochBegan(2))
    assert effects == [BlocksProven((b"a", b"b", b"c"))]
    assert refusal(state, claim("1", "b")) is FraudRefusal.WINDOW_CLOSED
    with pytest.raises(InvariantError, match="proven block"):
        RULES.remove(state, (b"b",), Fate.REVERTED)


def test_f3_a_claim_in_time_keeps_its_block_open_until_the_verdict(start: FraudState) -> None:
    state, _ = after(start, ProofAccepted(b"c"), EpochBegan(1), claim("1", "b"))
    state, effects = after(state, EpochBegan(2))
    assert effects == [BlocksProven((b"a",))]
    _, effects = after(state, Judged(b"1", is_fraud=False))
    assert effects[-1] == BlocksProven((b"b", b"c"))


def test_f4_a_child_that_was_bad_too_is_punished_after_its_parent_took_it_along(
    start: FraudState,
) -> None:
    state, _ = after(start, claim("1", "b"), claim("2", "c", reporter=b"s"))
    state, _ = after(state, Judged(b"1", is_fraud=True))
    losses = (Loss(b"x", 1),)
    refused = refusal(state, Judged(b"2", is_fraud=True, losses=losses))
    assert refused is FraudRefusal.LOSSES_MALFORMED
    state, effects = after(state, Judged(b"2", is_fraud=True))
    assert effects[1] == Slashed(b"w", b"c", BOND, b"s", BOND // 10, BOND // 10)
    assert not any(isinstance(effect, BlocksRemoved) for effect in effects)


def test_f4_a_revert_crosses_epochs_and_shards(start: FraudState) -> None:
    taking = block("d", shard=1, epoch=1, sources=(b"b",), proposer=b"w")
    above = block("e", "d", 2, shard=1, epoch=1, proposer=b"w")
    later = block("f", "c", 4, epoch=1)
    state, _ = after(start, EpochBegan(1), *map(BlockFinal, (taking, above, later)))
    state, effects = after(state, claim("1", "b"), Judged(b"1", is_fraud=True))
    assert effects[-1] == BlocksRemoved(
        (b"b", b"c", b"f", b"d", b"e"),
        Fate.REVERTED,
        ((0, b"a"), (1, b"")),
        (),
    )
    again = replace(taking, id=b"g", height=3, view=3)
    assert refusal(state, BlockFinal(again)) is FraudRefusal.REVERTED_SOURCE
    unknown = replace(again, sources=(b"nowhere",))
    assert refusal(state, BlockFinal(unknown)) is FraudRefusal.UNKNOWN_SOURCE


def test_f4_a_block_is_not_proven_before_what_it_took_deliveries_from(start: FraudState) -> None:
    taking = block("d", shard=1, sources=(b"c",), proposer=b"w")
    state, _ = after(start, BlockFinal(taking), ProofAccepted(b"d"), EpochBegan(1))
    state, effects = after(state, EpochBegan(2))
    assert not effects
    _, effects = after(state, ProofAccepted(b"c"))
    assert effects == [BlocksProven((b"a", b"b", b"c", b"d"))]


def test_f5_losses_cannot_exceed_what_the_reverted_blocks_moved(start: FraudState) -> None:
    state, _ = after(start, claim("1", "c"))
    most = 60_000 * ECLIPT
    tried = {
        FraudRefusal.LOSSES_BEYOND_VALUE: (Loss(b"x", most), Loss(b"y", 1)),
        FraudRefusal.LOSSES_MALFORMED: (Loss(b"x", 1), Loss(b"x", 1)),
    }
    for reason, losses in tried.items():
        assert refusal(state, Judged(b"1", is_fraud=True, losses=losses)) is reason
    none = Judged(b"1", is_fraud=True, losses=(Loss(b"x", 0),))
    assert refusal(state, none) is FraudRefusal.LOSSES_MALFORMED
    _, effects = after(state, Judged(b"1", is_fraud=True, losses=(Loss(b"x", most),)))
    assert Refunded(b"x", most, most) in effects


def test_f6_a_good_block_is_reverted_by_no_verdict_that_is_true(start: FraudState) -> None:
    """Every true verdict on a good block is bogus; only its parent's fault can take it out."""
    for kind in FaultKind:
        state, _ = after(start, claim("1", "c", kind), Judged(b"1", is_fraud=False))
        assert state.blocks == start.blocks


def test_a_withheld_proof_opens_proving_to_all_and_then_prunes_and_admits_again(
    start: FraudState,
) -> None:
    state, _ = after(start, ProofAccepted(b"a"), *map(EpochBegan, (1, 2)))
    state, effects = after(state, EpochBegan(3))
    assert effects == [ProvingOpened((b"b", b"c"))]
    saved, _ = after(state, ProofAccepted(b"c"))
    assert all(record.is_proven for record in saved.blocks.values())
    state, effects = after(state, EpochBegan(4))
    assert effects == [BlocksRemoved((b"b", b"c"), Fate.PRUNED, ((0, b"a"),), ())]
    assert refusal(state, claim("1", "b")) is FraudRefusal.BLOCK_PRUNED
    assert refusal(state, ProofAccepted(b"b")) is FraudRefusal.BLOCK_PRUNED


def test_a_claim_that_waits_while_its_block_is_pruned_still_punishes(start: FraudState) -> None:
    state, _ = after(start, *map(EpochBegan, (1, 2, 3)), claim("1", "a", FaultKind.TRANSITION))
    state, _ = after(state, EpochBegan(4))
    state, effects = after(state, Judged(b"1", is_fraud=True))
    assert [type(effect) for effect in effects] == [ClaimEnded, Slashed]


def test_a_bond_stays_while_a_block_of_its_owner_can_be_faulted(start: FraudState) -> None:
    state, _ = after(start, UnbondRequested(b"w"), ProofAccepted(b"c"), claim("1", "c"))
    assert refusal(state, UnbondRequested(b"w")) is FraudRefusal.ALREADY_UNBONDING
    assert refusal(state, BondLocked(b"w", 1)) is FraudRefusal.BALANCE_TOO_SMALL
    assert not is_bonded(state, b"w", BOND)
    state, effects = after(state, *map(EpochBegan, (1, 2, 3, 4)))
    assert not any(isinstance(effect, BondReleased) for effect in effects)
    state, _ = after(state, Judged(b"1", is_fraud=False))
    _, effects = after(state, EpochBegan(5))
    assert BondReleased(b"w", BOND) in effects


def test_a_bond_that_is_asked_for_can_still_be_slashed(start: FraudState) -> None:
    state, _ = after(start, UnbondRequested(b"w"), claim("1", "c"), EpochBegan(1))
    state, effects = after(state, Judged(b"1", is_fraud=True))
    assert Slashed(b"w", b"c", BOND, b"r", BOND // 10, BOND // 10) in effects


def test_what_nothing_can_happen_to_any_more_is_forgotten(start: FraudState) -> None:
    state, _ = after(start, ProofAccepted(b"c"), claim("1", "a"), Judged(b"1", is_fraud=False))
    state, _ = after(state, *map(EpochBegan, range(1, 6)))
    assert list(state.blocks) == [b"c"]
    assert not len(state.judged)
    state, _ = after(state, BlockFinal(block("d", "c", 4, epoch=5)), ProofAccepted(b"d"))
    with pytest.raises(ParameterError, match="not known"):
        RULES.status(state, b"a")


def test_exposure_is_what_the_proposer_moves_against_what_a_slash_gives_back(
    start: FraudState,
) -> None:
    expected = Exposure(120_000 * ECLIPT, 90_000 * ECLIPT)
    assert RULES.exposure(start, b"a") == RULES.exposure(start, b"b") == expected
    state, _ = after(start, ProofAccepted(b"c"), EpochBegan(1), EpochBegan(2))
    assert RULES.exposure(state, b"a") == Exposure(0, 90_000 * ECLIPT)
    with pytest.raises(ParameterError, match="not known"):
        RULES.exposure(state, b"nowhere")


@pytest.mark.parametrize("units", [0, -1, 2**60])
def test_only_amounts_move(start: FraudState, units: int) -> None:
    events: tuple[FraudEvent, ...] = (
        Deposited(b"r", units),
        Withdrawn(b"r", units),
        PoolFunded(units),
        BondLocked(b"r", units),
    )
    for event in events:
        assert refusal(start, event) is FraudRefusal.AMOUNT_OUT_OF_RANGE


def test_nobody_takes_what_he_has_not(start: FraudState) -> None:
    assert refusal(start, Withdrawn(b"r", CLAIM + 1)) is FraudRefusal.BALANCE_TOO_SMALL
    assert refusal(start, BondLocked(b"r", CLAIM + 1)) is FraudRefusal.BALANCE_TOO_SMALL
    assert refusal(start, UnbondRequested(b"r")) is FraudRefusal.NOTHING_BONDED
    state, _ = after(start, Withdrawn(b"r", CLAIM))
    assert (held(state, PotKind.FREE, b"r"), state.books.outflow) == (0, CLAIM)


def test_books_refuse_debts_and_tables_compare_by_value(start: FraudState) -> None:
    with pytest.raises(InvariantError, match="would hold"):
        start.books.move(BURNED, POOL, 1)
    with pytest.raises(InvariantError, match="cannot move"):
        start.books.move(POOL, BURNED, -1)
    one, other = Table({1: 2, 3: 4}), Table({3: 4}).with_entry(1, 2)
    assert (one, hash(one), list(other)) == (other, hash(other), [1, 3])
    assert one.without(3) != one


def test_equal_states_have_one_digest_in_every_process_and_others_another(
    start: FraudState,
) -> None:
    """The digest does not depend on the order of events, nor on how Python hashes."""
    one, _ = after(start, claim("1", "b"), claim("2", "c", reporter=b"s"))
    other, _ = after(start, claim("2", "c", reporter=b"s"), claim("1", "b"))
    assert (one, digest(one)) == (other, digest(other))
    assert digest(one) != digest(start)
    assert digest(FraudState()).hex().startswith("29694645a342d48a")
    assert digest(Table({1: b"2"})) != digest(Table({1: "2"}))
    assert digest((b"ab", b"c")) != digest((b"a", b"bc"))
    with pytest.raises(InvariantError, match="no canonical bytes"):
        digest(1.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"claim_bond": 0},
        {"slash_permille": 1001},
        {"reporter_permille": 901, "burned_permille": 100},
        {"deadline_epochs": 0},
        {"validator_bond": 2**60},
    ],
)
def test_terms_out_of_range_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ParameterError):
        FraudTerms(**changes)
