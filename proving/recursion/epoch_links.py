"""What an epoch claims about the links between its shards: who received took all that had been sent, or nothing.

A shard's arrays OUT and INB hold one word per other shard. Their roots are in its boundaries; here their cells are
opened and compared. Source: proving/ledger/README.md "Links", proving/recursion/README.md "Epoch".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.span_circuit import Chooser, read_bit
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element, Word
from schemas.units import ARRAY_DEPTH

ARRAYS = ("OUT before", "INB before", "INB after")
"""What is opened of every shard, a cell for every other one."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a cell's opening lies in the input.

    Attributes:
        word: What the cell holds.
        path: Siblings up to the root, leaf first.
    """

    word: range
    path: range


@dataclass(frozen=True, slots=True)
class LinkInputs:
    """Where the openings of all slots lie.

    Attributes:
        openings: By name of the array, slot that keeps it, and slot of the other shard.
        delivered: By receiving and sending slot: a bit, the receiver took what had been sent.
        stop: First position after them.
    """

    openings: dict[tuple[str, int, int], Opening]
    delivered: dict[tuple[int, int], range]
    stop: int


def link_inputs(slots: int, start: int) -> LinkInputs:
    """Lays the openings out."""
    openings: dict[tuple[str, int, int], Opening] = {}
    delivered: dict[tuple[int, int], range] = {}
    place = start
    for slot, other in permutations(range(slots), 2):
        for name in ARRAYS:
            path = place + WORD
            openings[name, slot, other] = Opening(
                range(place, path), range(path, path + WORD * ARRAY_DEPTH)
            )
            place = path + WORD * ARRAY_DEPTH
        delivered[slot, other] = range(place, place + EXTENSION_DEGREE)
        place += EXTENSION_DEGREE
    return LinkInputs(openings, delivered, place)


def require_delivered(
    builder: CircuitBuilder,
    inputs: LinkInputs,
    roots: Sequence[Sequence[Word]],
    present: Sequence[Element],
) -> None:
    """Claims for every ordered pair of shards that the receiver took all that had been sent, or nothing.

    Args:
        builder: The circuit.
        inputs: From `link_inputs`.
        roots: Of every slot the roots of `ARRAYS`.
        present: Bits that only fall from slot to slot: the slot has a shard.
    """
    trees = [
        [
            _offer(builder, f"{name} of slot {slot}", root)
            for name, root in zip(ARRAYS, words, strict=True)
        ]
        for slot, words in enumerate(roots)
    ]

    def cell(name: str, slot: int, other: int) -> list[Element]:
        opening = inputs.openings[name, slot, other]
        leaf = Sponge.given(builder, opening.word)
        word = leaf.shown()
        siblings = [opening.path[k : k + WORD] for k in range(0, WORD * ARRAY_DEPTH, WORD)]
        leaf.climb(builder.constant(other), siblings, trees[slot][ARRAYS.index(name)])
        return builder.cells_of(word)

    for (receiver, sender), place in inputs.delivered.items():
        what = f"what slot {receiver} received of slot {sender}"
        takes = Chooser(builder, read_bit(builder, place, what))
        sent, before = cell("OUT before", sender, receiver), cell("INB before", receiver, sender)
        both = Chooser(builder, present[max(receiver, sender)])
        both.all_equal(what, cell("INB after", receiver, sender), takes.choose(sent, before))


def _offer(builder: CircuitBuilder, name: str, root: Word) -> int:
    """Offers a root as the cap of its tree; returns the tree's number."""
    tree = builder.new_tree(name)
    Sponge(builder).absorb(root, tree=tree, position=0)
    return tree
