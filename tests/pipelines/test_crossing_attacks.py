"""What shards must not do to each other is refused, each by its own name; the honest block is not."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from operators.block_payload import LinkEntry
from operators.deliveries import (
    DELIVERED_TWICE,
    PARTIAL_DELIVERY,
    RUNNING_EPOCH,
    UNKNOWN_SOURCE,
    UNSENT_WORD,
    WRONG_ORDER,
)
from pipelines.adversary.block_attacks import BlockAttack
from pipelines.adversary.crossing_attacks import CROSSING_ATTACKS
from pipelines.adversary.crossing_world import HONEST, crossing_world
from pipelines.adversary.honest_traffic import base

WRONG_SENT = "wrong_sent"
EXPECTED: Mapping[str, set[str]] = {
    "delivery_never_sent": {UNSENT_WORD, UNKNOWN_SOURCE},
    "delivery_of_another_amount": {UNSENT_WORD},
    "delivery_to_another_account": {UNSENT_WORD},
    "delivery_to_another_shard": {UNSENT_WORD},
    "delivery_twice_in_a_block": {DELIVERED_TWICE},
    "delivery_twice_in_two_blocks": {DELIVERED_TWICE},
    "delivery_before_its_epoch": {RUNNING_EPOCH},
    "delivery_left_out": {PARTIAL_DELIVERY, WRONG_ORDER},
    "delivery_out_of_order": {WRONG_ORDER},
    "sent_with_another_amount": {WRONG_SENT},
    "sent_to_another": {WRONG_SENT},
    "sent_by_nobody": {WRONG_SENT},
    "sent_and_not_said": {WRONG_SENT},
    "forged_final_block": {
        "blocks.payload",
        "blocks.certificate",
        "bad_signature",
        "wrong_shard",
        "uncertified",
    },
    "final_block_twice": {"known_height"},
}
ATTACKS = {one.__name__: one for listed in CROSSING_ATTACKS.values() for one in listed}


def test_every_attack_has_its_reasons() -> None:
    assert set(ATTACKS) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_between_shards_is_refused_by_name(name: str) -> None:
    attack: BlockAttack = ATTACKS[name]
    reasons = {attack(base("test"), random.Random(f"{name}/{n}")) for n in range(6)}  # noqa: S311
    assert reasons <= EXPECTED[name]
    assert reasons


def test_what_the_attacks_start_from_is_valid() -> None:
    """So that what is refused is refused for what it does."""
    world = crossing_world(0)
    assert world.judge(world.due) is None
    assert world.judge(world.due, world.returned) is None
    assert world.judge(()) is None
    assert world.judge((), parent=HONEST) is None
    assert len(world.returned) == 2


@pytest.mark.parametrize("change", ["less", "more", "order", "amount", "destination"])
def test_a_block_that_does_not_say_what_it_sends_is_refused_by_name(change: str) -> None:
    world = crossing_world(1)
    first, second = world.returned
    lists: Mapping[str, tuple[LinkEntry, ...]] = {
        "less": (first,),
        "more": (first, second, second),
        "order": (second, first),
        "amount": (first, LinkEntry(second.peer, second.sender, second.recipient, 1, second.nonce)),
        "destination": (
            first,
            LinkEntry(first.peer, second.sender, second.recipient, second.amount, second.nonce),
        ),
    }
    assert world.judge(world.due, lists[change]) == WRONG_SENT
