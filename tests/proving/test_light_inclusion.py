"""Inclusion: every transaction has a path in a pyramid of any shape, and no path shows anything else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from operators.inclusion_path import ListedTransaction, find_in_window, inclusion_path
from operators.pyramid_tree import Node
from proving.light.errors import ProofError, ProofMalformed, ProofRejected
from proving.light.flaws import DayFlaw
from proving.light.inclusion import (
    MAX_FOLDS,
    HistoryFold,
    Inclusion,
    RunFold,
    check_inclusion,
    decode_inclusion,
)
from proving.light.poseidon2 import ZEROS, compress
from proving.recursion.pyramid_work import said_bytes
from schemas.errors import ParameterError
from schemas.run import RunStatement
from schemas.transactions import Transaction, TransactionKind
from schemas.units import MODULUS
from tests.suites.shaped_days import HASHER, SHAPES, Sent, day, tree_of

MUTATIONS = 200
"""Random mutations in the default tier; the slow tier makes thousands."""


def listed(sent: Sent) -> ListedTransaction:
    found = find_in_window(sent.transaction, day().witnesses[sent.transaction.shard, sent.window])
    assert found is not None
    return found


def run_of(tree: Node) -> RunStatement:
    return RunStatement.from_bytes(said_bytes(tree.said))


def transfers(shard: int) -> list[Sent]:
    return [
        sent
        for sent in day().sent
        if sent.transaction.kind is TransactionKind.TRANSFER and sent.transaction.shard == shard
    ]


@cache
def path(number: int = 7, shard: int = 0) -> Inclusion:
    return inclusion_path(tree_of("left", "left"), listed(transfers(shard)[number]), HASHER)


RUN = run_of(tree_of("left", "left"))


def refused(inclusion: Inclusion, flaw: DayFlaw = DayFlaw.NOT_INCLUDED) -> None:
    with pytest.raises(ProofRejected) as error:
        check_inclusion(decode_inclusion(inclusion.to_bytes()), RUN)
    assert error.value.reason is flaw


@pytest.mark.parametrize(
    ("spans", "runs"),
    [("planner", "planner"), *((shape, shape) for shape in SHAPES), ("left", "right")],
)
def test_every_transaction_has_a_path_in_any_shape(spans: str, runs: str) -> None:
    tree = tree_of(spans, runs)
    run = run_of(tree)
    for sent in day().sent[:: 1 if spans == "planner" else 3]:
        made = inclusion_path(tree, listed(sent), HASHER)
        data = made.to_bytes()
        shown = check_inclusion(decode_inclusion(data), run)
        given = sent.transaction
        assert decode_inclusion(data) == made
        assert (shown.kind, shown.shard) == (given.kind.name.lower(), given.shard)
        assert (shown.sender, shown.amount, shown.fee) == (given.sender, given.amount, given.fee)
        assert (shown.nonce, shown.expiry) == (given.nonce, given.expiry)
        is_new = given.kind is TransactionKind.REGISTER
        assert shown.digest == (None if is_new else given.digest().hex())
        assert shown.recipient == (made.recipient if is_new else given.recipient)


def test_shapes_give_other_paths_and_statements() -> None:
    histories = {run_of(tree_of(shape, shape)).history for shape in SHAPES}
    assert len(histories) > 1
    places = {fold.place for inclusion in (path(7), path(20)) for fold in inclusion.run_folds}
    assert places == {0, 1}
    assert path(7).span_folds


CHANGES: list[tuple[str, Callable[[Transaction], Transaction]]] = [
    ("a unit more", lambda one: replace(one, amount=one.amount + 1)),
    ("a unit less", lambda one: replace(one, amount=one.amount - 1)),
    ("another sender", lambda one: replace(one, sender=one.sender + 1)),
    ("another nonce", lambda one: replace(one, nonce=one.nonce + 1)),
    ("another fee", lambda one: replace(one, fee=one.fee + 1)),
    ("another expiry", lambda one: replace(one, expiry=one.expiry + 1)),
    ("the other shard", lambda one: replace(one, shard=1 - one.shard)),
    ("an issue", lambda one: replace(one, kind=TransactionKind.ISSUE)),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_another_transaction_has_not_this_path(
    name: str, change: Callable[[Transaction], Transaction]
) -> None:
    for shard in range(2):
        given = transfers(shard)[4].transaction
        inclusion = path(4, shard)
        refused(replace(inclusion, body=change(given).body()))


def test_another_recipient_is_refused_in_the_body_and_beside_it() -> None:
    given = transfers(0)[7].transaction
    other = replace(given, recipient=given.recipient + 1)
    refused(replace(path(), body=other.body()), DayFlaw.NO_SUCH_TRANSACTION)
    refused(replace(path(), recipient=other.recipient), DayFlaw.NO_SUCH_TRANSACTION)
    refused(replace(path(), body=other.body(), recipient=other.recipient))


def test_another_chain_and_bytes_that_are_no_body_are_refused() -> None:
    given = transfers(0)[7].transaction
    refused(replace(path(), body=replace(given, chain=8).body()), DayFlaw.OTHER_CHAIN)
    for body in (b"", given.body()[:-1], given.body() + b"\0", bytes(36)):
        refused(replace(path(), body=body), DayFlaw.NO_SUCH_TRANSACTION)


def test_a_registrations_account_is_bound_and_its_digest_is_not_claimed() -> None:
    sent = next(one for one in day().sent if one.transaction.kind is TransactionKind.REGISTER)
    inclusion = inclusion_path(tree_of("left", "left"), listed(sent), HASHER)
    assert check_inclusion(inclusion, RUN).digest is None
    refused(replace(inclusion, recipient=inclusion.recipient + 1))


def test_another_index_is_refused() -> None:
    inclusion = path()
    for bit in range(30):
        refused(replace(inclusion, index=inclusion.index ^ 1 << bit))


def test_swapped_children_are_refused() -> None:
    inclusion = path()
    siblings = inclusion.siblings
    for first, second in ((0, 1), (3, 29)):
        turned = list(siblings)
        turned[first], turned[second] = turned[second], turned[first]
        refused(replace(inclusion, siblings=tuple(turned)))
    other = path(4)
    before, behind = other.closing
    assert before != behind
    refused(replace(other, closing=(behind, before)))
    for number, link in enumerate(inclusion.span_folds):
        folds = list(inclusion.span_folds)
        folds[number] = HistoryFold(2 - link.place, link.others)
        refused(replace(inclusion, span_folds=tuple(folds)))
        if link.others[0] != link.others[1]:
            folds[number] = HistoryFold(link.place, link.others[::-1])
            refused(replace(inclusion, span_folds=tuple(folds)))
    for number, fold in enumerate(inclusion.run_folds):
        runs = list(inclusion.run_folds)
        runs[number] = RunFold(1 - fold.place, fold.other)
        refused(replace(inclusion, run_folds=tuple(runs)))


def test_one_step_more_or_less_is_refused() -> None:
    inclusion = path()
    link, fold = HistoryFold(0, (ZEROS, ZEROS)), RunFold(0, ZEROS)
    for changed in (
        replace(inclusion, span_folds=inclusion.span_folds[1:]),
        replace(inclusion, span_folds=inclusion.span_folds[:-1]),
        replace(inclusion, span_folds=(*inclusion.span_folds, link)),
        replace(inclusion, span_folds=(link, *inclusion.span_folds)),
        replace(inclusion, run_folds=inclusion.run_folds[1:]),
        replace(inclusion, run_folds=inclusion.run_folds[:-1]),
        replace(inclusion, run_folds=(*inclusion.run_folds, fold)),
    ):
        refused(changed)
    for siblings in (inclusion.siblings[1:], (*inclusion.siblings, ZEROS)):
        with pytest.raises(ProofMalformed):
            decode_inclusion(replace(inclusion, siblings=siblings).to_bytes())


def test_the_shards_are_counted_and_in_order() -> None:
    inclusion = path()
    for shards in ((), (*inclusion.shards, ZEROS)):
        refused(replace(inclusion, shards=shards), DayFlaw.NO_SUCH_TRANSACTION)
    given = transfers(0)[7].transaction
    moved = replace(inclusion, body=replace(given, shard=2).body())
    refused(moved, DayFlaw.NO_SUCH_TRANSACTION)
    more = replace(RUN, shards=3)
    with pytest.raises(ProofRejected):
        check_inclusion(replace(inclusion, shards=(*inclusion.shards, ZEROS)), more)


def test_a_fold_of_shards_does_not_pass_for_a_fold_of_runs() -> None:
    """Shard 0's link to shard 1 has the form of a run's: said of shard 1, the fold begins elsewhere and not with zeros."""
    inclusion = path(7, 0)
    given = transfers(0)[7].transaction
    posed = replace(
        inclusion,
        body=replace(given, shard=1).body(),
        shards=(ZEROS,),
        run_folds=(RunFold(0, inclusion.shards[0]), *inclusion.run_folds),
    )
    refused(posed)


def test_a_node_of_the_tree_is_no_transaction() -> None:
    """The word of a node above the leaf, with the path from there: one sibling short, however it is filled up."""
    inclusion = path()
    for shorter in (inclusion.siblings[1:], inclusion.siblings[:-1]):
        for filled in ((*shorter, ZEROS), (ZEROS, *shorter), (*shorter, shorter[-1])):
            refused(replace(inclusion, siblings=filled))
            refused(replace(inclusion, siblings=filled, index=inclusion.index >> 1))


def test_a_list_does_not_stand_on_a_historys_place() -> None:
    data = replace(path(), span_folds=(HistoryFold(1, (ZEROS, ZEROS)),)).to_bytes()
    with pytest.raises(ProofMalformed) as error:
        decode_inclusion(data)
    assert error.value.where == "inclusion.span_folds.place"


def test_the_other_days_history_is_refused() -> None:
    with pytest.raises(ProofRejected) as error:
        check_inclusion(path(), run_of(tree_of("right", "left")))
    assert error.value.reason is DayFlaw.NOT_INCLUDED


def test_a_path_needs_the_window_and_its_list() -> None:
    tree, found = tree_of(), listed(transfers(0)[7])
    for other, problem in (
        (replace(found, window=99), "in no epoch"),
        (replace(found, window=2), "made no block in window 2"),
        (replace(found, shard=1, window=5), "made no block in this epoch"),
        (replace(found, words=found.words[:-1]), "closed with another list"),
    ):
        with pytest.raises(ParameterError, match=problem):
            inclusion_path(tree, other, HASHER)
    absent = replace(transfers(0)[7].transaction, amount=1)
    assert find_in_window(absent, day().witnesses[0, transfers(0)[7].window]) is None


def test_bytes_that_are_no_path_are_refused() -> None:
    data = path().to_bytes()
    cuts = [data[:cut] for cut in range(0, len(data), 7)]
    for wrong in [*cuts, data[:-1], data + b"\0", b"\xff" * len(data), bytes(len(data))]:
        with pytest.raises(ProofMalformed) as error:
            decode_inclusion(wrong)
        assert error.value.reason is DayFlaw.MALFORMED
    with pytest.raises(ProofMalformed):
        decode_inclusion(replace(path(), run_folds=(RunFold(0, ZEROS),) * 513).to_bytes())
    assert MAX_FOLDS == 512
    with pytest.raises(ParameterError):
        replace(path(), siblings=((MODULUS,) * 8,) * 30).to_bytes()


def test_any_change_of_a_path_ends_in_one_of_two_errors() -> None:
    data, rng = path().to_bytes(), random.Random(2)  # noqa: S311 - a seed, no secret
    for _ in range(MUTATIONS):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with pytest.raises(ProofError):
            check_inclusion(decode_inclusion(bytes(changed)), RUN)


def test_compress_is_not_symmetric() -> None:
    assert compress(ZEROS, (1,) * 8) != compress((1,) * 8, ZEROS)
