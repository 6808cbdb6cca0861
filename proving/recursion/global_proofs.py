"""Proofs about all shards: shards' spans in, an epoch's proof out; adjacent runs in, one proof out; and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.backends.port import Backend, FieldArray, Hasher
from proving.errors import ProofRejected, RejectionReason
from proving.kinds import PROGRAMS, verifying_key
from proving.prover import OnPhase
from proving.recursion.children import NO_KEY
from proving.recursion.day import DAY_SLOTS, day_inputs
from proving.recursion.epoch import EPOCH_SLOTS, EpochInputs, epoch_inputs
from proving.recursion.epoch_links import ARRAYS
from proving.recursion.global_span import (
    GlobalSpan,
    join_runs,
    merge_shards,
)
from proving.recursion.recursive_proofs import (
    fill_child,
    prove_recursive,
    recursive_publics,
    verify_recursive,
)
from proving.recursion.shard_part import ShardPart, link_path, links_tree
from proving.recursion.span import NO_HISTORY, Span
from proving.recursion.span_proofs import SpanProof, verify_span
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import VerifiedStatement
from schemas.errors import ParameterError
from schemas.run import WordElements, why_no_run
from schemas.units import ZERO_WORD, word_elements

EPOCH_KIND, DAY_KIND = "epoch", "day"

GLOBAL_KINDS = (EPOCH_KIND, DAY_KIND)
"""Kinds of proof about all shards."""


@dataclass(frozen=True, slots=True)
class GlobalProof:
    """A proof about a run of all shards.

    Attributes:
        run: What it says.
        data: The proof's bytes.
    """

    run: GlobalSpan
    data: bytes


@dataclass(frozen=True, slots=True)
class EpochChildren:
    """What an epoch is made of.

    Attributes:
        chain: Chain number.
        windows: The run of windows.
        validators: Root of the set of validators in charge.
        parts: What every shard did, in order; at most `EPOCH_SLOTS`.
        proofs: Proof of every part's span; None for a shard without a block.
        filler: Any proof of a span, for the slots that need none; taken from the parts if there is one.
    """

    chain: int
    windows: range
    validators: WordElements
    parts: Sequence[ShardPart]
    proofs: Sequence[bytes | None]
    filler: SpanProof | None = None

    def claims(self) -> list[SpanProof | None]:
        """Returns the spans with their proofs.

        Raises:
            ParameterError: A span lacks its proof, or a proof its span.
        """
        claims: list[SpanProof | None] = []
        for shard, (part, proof) in enumerate(zip(self.parts, self.proofs, strict=True)):
            if (part.span is None) != (proof is None):
                raise ParameterError(f"shard {shard} has a span without a proof, or the reverse")
            claims.append(
                None if part.span is None or proof is None else SpanProof(part.span, proof)
            )
        return claims

    def fill(self) -> SpanProof:
        """Returns the proof for slots that need none.

        Raises:
            ParameterError: No shard made a block and there is no other proof.
        """
        found = self.filler or next((claim for claim in self.claims() if claim), None)
        if found is None:
            raise ParameterError(
                "no shard made a block in this run: there is no proof to fill the slots with",
                "prove it together with a later epoch, or give any earlier proof of a span",
            )
        return found


def prove_epoch(
    children: EpochChildren,
    backend: Backend,
    on_phase: OnPhase | None = None,
    *,
    payee: Sequence[int] = NO_KEY,
) -> GlobalProof:
    """Proves that verified spans are what all shards did in a run of windows.

    Args:
        children: The shards' parts and proofs.
        backend: Does the arithmetic.
        on_phase: Called after each phase.
        payee: Word of who is paid for it.

    Raises:
        ParameterError: There are too few or too many, or they do not fit together, by name.
        ProofError: A proof does not verify.
    """
    if not 1 <= len(children.parts) <= EPOCH_SLOTS:
        raise ParameterError(f"an epoch takes 1..{EPOCH_SLOTS} shards, got {len(children.parts)}")
    run = merge_shards(
        children.parts,
        children.windows,
        chain=children.chain,
        validators=children.validators,
        hasher=backend,
    )
    for claim in [*children.claims(), children.fill()]:
        if claim is not None:
            verify_span(claim, backend)
    publics = recursive_publics(EPOCH_KIND, run.digest(backend), payee, backend)
    inputs = epoch_witness(children, backend)
    return GlobalProof(run, prove_recursive(EPOCH_KIND, publics, inputs, backend, on_phase))


def prove_day(
    children: Sequence[GlobalProof],
    backend: Backend,
    on_phase: OnPhase | None = None,
    *,
    payee: Sequence[int] = NO_KEY,
) -> GlobalProof:
    """Proves that verified runs follow each other.

    Args:
        children: Proofs of adjacent runs, at most `DAY_SLOTS`.
        backend: Does the arithmetic.
        on_phase: Called after each phase.
        payee: Word of who is paid for it.

    Raises:
        ParameterError: There are too few or too many, or they do not follow each other, by name.
        ProofError: One of them does not verify.
    """
    if not 1 <= len(children) <= DAY_SLOTS:
        raise ParameterError(f"a proof of days takes 1..{DAY_SLOTS} proofs, got {len(children)}")
    for child in children:
        verify_run(child, backend)
    run = join_runs([child.run for child in children], backend)
    publics = recursive_publics(DAY_KIND, run.digest(backend), payee, backend)
    inputs = day_witness(children, backend)
    return GlobalProof(run, prove_recursive(DAY_KIND, publics, inputs, backend, on_phase))


def verify_run(
    claim: GlobalProof, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> VerifiedStatement:
    """Verifies that a proof, an epoch's or a longer one, is about a run.

    Args:
        claim: Any bytes, and the run that they are said to show.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.

    Raises:
        ProofMalformed: The bytes are no proof about a run.
        ProofRejected: They are, of something that does not hold, of another run, or with too few bits; or the
            run's fields are out of range.
    """
    problem = why_no_run(claim.run)
    if problem is not None:
        raise ProofRejected(RejectionReason.BAD_STATEMENT, "run", "a run in order", problem)
    statement = claim.run.digest(hasher)
    return verify_recursive(claim.data, statement, GLOBAL_KINDS, hasher, minimum_bits)


def epoch_witness(children: EpochChildren, hasher: Hasher) -> FieldArray:
    """Returns the private inputs of an epoch, by `epoch_inputs`."""
    _, names = PROGRAMS[EPOCH_KIND]
    places = epoch_inputs([verifying_key(name, hasher) for name in names])
    inputs = np.zeros(places.validators.stop, dtype=np.uint32)
    filler, claims = children.fill(), children.claims()
    count = len(children.parts)
    for slot, shard in enumerate(places.shards):
        # An absent slot shows the first one's span and links again; nothing asks whose they are.
        number = slot if slot < count else 0
        claim = claims[slot] if slot < count else None
        fill_child(inputs, shard.child, (claim or filler).data, trusted=names, hasher=hasher)
        span = _span_in(children, number, filler.span)
        inputs[shard.span.start : shard.span.stop] = span.elements()
        inputs[shard.present.start] = slot < count
        inputs[shard.active.start] = claim is not None
    absent = [children.parts[0]] * (EPOCH_SLOTS - count)
    _fill_links(inputs, places, [*children.parts, *absent], count, hasher)
    windows = children.windows
    head = (children.chain, len(children.parts), windows.start, windows.stop)
    inputs[places.head.start : places.head.stop : EXTENSION_DEGREE] = head
    inputs[places.validators.start : places.validators.stop] = children.validators
    return inputs


def day_witness(children: Sequence[GlobalProof], hasher: Hasher) -> FieldArray:
    """Returns the private inputs of a proof of adjacent runs; the last child fills the slots left."""
    _, names = PROGRAMS[DAY_KIND]
    slots = day_inputs(verifying_key(names[0], hasher))
    inputs = np.zeros(slots[-1].switch.stop, dtype=np.uint32)
    filled = [*children, *[children[-1]] * (DAY_SLOTS - len(children))]
    for number, (slot, child) in enumerate(zip(slots, filled, strict=True)):
        fill_child(inputs, slot.child, child.data, trusted=(*names, DAY_KIND), hasher=hasher)
        inputs[slot.run.start : slot.run.stop] = child.run.elements()
        inputs[slot.switch.start] = 0 < number < len(children)
    return inputs


def _span_in(children: EpochChildren, shard: int, sample: Span) -> Span:
    """Returns a shard's span; of one without a block, the span that goes from where it stays to there."""
    part = children.parts[shard]
    if part.span is not None:
        return part.span
    return replace(
        sample,
        chain=children.chain,
        shard=shard,
        shards=len(children.parts),
        history=NO_HISTORY,
        before=part.at,
        after=part.at,
    )


def _fill_links(
    inputs: FieldArray, places: EpochInputs, parts: Sequence[ShardPart], count: int, hasher: Hasher
) -> None:
    """Opens every slot's links, and says which were delivered."""
    for slot, part in enumerate(parts):
        arrays = (part.sent, part.received, part.received_after)
        for name, heads in zip(ARRAYS, arrays, strict=True):
            tree = links_tree(heads, hasher)
            for other in range(len(parts)):
                if other != slot:
                    opening = places.links.openings[name, slot, other]
                    word = heads[other] if other < len(heads) else ZERO_WORD
                    inputs[opening.word.start : opening.word.stop] = word_elements(word)
                    inputs[opening.path.start : opening.path.stop] = link_path(tree, other)
    for receiver, sender in permutations(range(count), 2):
        taken = parts[receiver].received_after[sender] == parts[sender].sent[receiver]
        inputs[places.links.delivered[receiver, sender].start] = taken
