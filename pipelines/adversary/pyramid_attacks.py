"""Attacks on the provers and native verifiers of the pyramid with real proofs: each must be refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pipelines.sample_children import SampleChildren
from proving.arithmetic.modulus import WORD, P
from proving.backends.port import Backend
from proving.kinds import kind_named, verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.trace import build_trace
from proving.ledger.witness import SegmentWitness
from proving.prover import prove_stark
from proving.recursion.global_proofs import (
    DAY_KIND,
    EPOCH_KIND,
    GlobalProof,
    prove_day,
    prove_epoch,
    verify_run,
)
from proving.recursion.lift import LIFT_SLOTS
from proving.recursion.recursive_proofs import prove_recursive
from proving.recursion.span import Span
from proving.recursion.span_proofs import (
    LIFT_KIND,
    SpanProof,
    lift_inputs,
    prove_join,
    prove_lift,
    verify_span,
)
from proving.recursion.wrap_proofs import prove_wrap, verify_wrap
from proving.segment_proofs import SEGMENT_KIND, verify_segment
from proving.stark.encoding import HEADER_BYTES
from proving.stark.setup import make_proving_key

Attack = Callable[[], object]
ELEMENT_BYTES = 4


def pyramid_attacks(sample: SampleChildren, backend: Backend) -> dict[str, tuple[Attack, str]]:
    """Returns attacks by name, each with what its refusal must contain."""
    return {
        **_wrong_children(sample, backend),
        **_wrong_order(sample, backend),
        **_wrong_statements(sample, backend),
        **_wrong_proofs(sample, backend),
    }


def _wrong_children(sample: SampleChildren, backend: Backend) -> dict[str, tuple[Attack, str]]:
    """Children of another kind, level or statement."""
    lift, other = sample.lifts
    segment, span, run = sample.segments[0], lift.span, sample.run.run
    return {
        "lift of a lift": (partial(prove_lift, [lift.data], backend), "unknown_key"),
        "lift of a day": (partial(prove_lift, [sample.day.data], backend), "unknown_key"),
        "join of a segment": (
            partial(prove_join, [SpanProof(span, segment)], backend),
            "unknown_key",
        ),
        "join of an epoch": (
            partial(prove_join, [SpanProof(span, sample.run.data)], backend),
            "unknown_key",
        ),
        "join of another span's proof": (
            partial(prove_join, [SpanProof(span, other.data)], backend),
            "statement_mismatch at publics/statement",
        ),
        "epoch of a day": (
            partial(
                prove_epoch, replace(sample.children, proofs=[sample.day.data, other.data]), backend
            ),
            "unknown_key",
        ),
        "epoch with its shards' proofs swapped": (
            partial(prove_epoch, replace(sample.children, proofs=[other.data, lift.data]), backend),
            "statement_mismatch at publics/statement",
        ),
        "day of a lift": (
            partial(prove_day, [GlobalProof(run, lift.data)], backend),
            "unknown_key",
        ),
        "wrap of an epoch": (partial(prove_wrap, sample.run, backend), "unknown_key"),
        "wrap of a lift": (
            partial(prove_wrap, GlobalProof(run, lift.data), backend),
            "unknown_key",
        ),
        "wrap of another day's statement": (
            partial(
                prove_wrap, GlobalProof(replace(run, history=run.after), sample.day.data), backend
            ),
            "statement_mismatch at publics/statement",
        ),
        "a day's proof shown as a wrap": (partial(verify_wrap, sample.day, backend), "unknown_key"),
        "an epoch's proof shown as a span": (
            partial(verify_span, SpanProof(span, sample.run.data), backend),
            "unknown_key",
        ),
    }


def _wrong_order(sample: SampleChildren, backend: Backend) -> dict[str, tuple[Attack, str]]:
    """Children that are honest and do not fit together."""
    lift, other = sample.lifts
    children, run = sample.children, sample.run
    idle = [replace(children.parts[0], span=None), children.parts[1]]
    reverse = [children.parts[1], children.parts[0]]
    return {
        "lift of one segment twice": (
            partial(prove_lift, [sample.segments[0]] * 2, backend),
            "child 1 begins with segment 0, not 1",
        ),
        "lift of two shards": (
            partial(prove_lift, list(sample.segments), backend),
            "child 1 is of another chain or shard",
        ),
        "join of one lift twice": (
            partial(prove_join, [lift, lift], backend),
            "child 1 begins with segment",
        ),
        "join of a join and what it holds": (
            partial(prove_join, [sample.joined, lift], backend),
            "child 1 begins with segment",
        ),
        "join of two shards": (
            partial(prove_join, [lift, other], backend),
            "child 1 is of another chain or shard",
        ),
        "epoch with its shards swapped": (
            partial(
                prove_epoch,
                replace(children, parts=reverse, proofs=[other.data, lift.data]),
                backend,
            ),
            "shard 0 is of another chain or shard",
        ),
        "epoch without a shard": (
            partial(
                prove_epoch,
                replace(children, parts=children.parts[:1], proofs=[lift.data]),
                backend,
            ),
            "shard 0 is of another chain or shard",
        ),
        "epoch of other windows": (
            partial(prove_epoch, replace(children, windows=range(1, 2)), backend),
            "shard 0 has segments of other windows",
        ),
        "epoch of no windows": (
            partial(prove_epoch, replace(children, windows=range(1, 1)), backend),
            "are no run",
        ),
        "epoch of another chain": (
            partial(prove_epoch, replace(children, chain=8), backend),
            "shard 0 is of another chain or shard",
        ),
        "epoch in which a proof has no span": (
            partial(prove_epoch, replace(children, parts=idle), backend),
            "a span without a proof, or the reverse",
        ),
        "day of one epoch twice": (
            partial(prove_day, [run, run], backend),
            "child 1 begins with window 0, not 1",
        ),
        "day of a day and what it holds": (
            partial(prove_day, [sample.day, run], backend),
            "child 1 begins with window 0, not 1",
        ),
    }


def _wrong_statements(sample: SampleChildren, backend: Backend) -> dict[str, tuple[Attack, str]]:
    """Honest proofs shown as proofs of something else."""
    run, day, mismatch = sample.day.run, sample.day.data, "statement_mismatch at publics/statement"
    others: dict[str, tuple[dict[str, object], str]] = {
        "another chain": ({"chain": 8}, mismatch),
        "another number of shards": ({"shards": 3}, mismatch),
        "a longer day": ({"end_window": run.end_window + 1}, mismatch),
        "other windows": ({"first_window": 1, "end_window": 2}, mismatch),
        "other validators": ({"validators": run.after}, mismatch),
        "a state before that is the one after": ({"before": run.after}, mismatch),
        "a day on which nothing happened": ({"after": run.before}, mismatch),
        "another history": ({"history": (run.history[0] ^ 1, *run.history[1:])}, mismatch),
        "windows that come round the modulus": ({"first_window": P - 1}, "are no run"),
        "windows past the range": ({"end_window": 2**30}, "are no run"),
        "a word that is not canonical": ({"after": _wrapped(run.after)}, "eight residues"),
        "a word cut short": ({"after": run.after[:7]}, "eight residues"),
        "a word that is too long": ({"after": (*run.after, 0)}, "eight residues"),
    }
    found: dict[str, tuple[Attack, str]] = {}
    for name, (fields, text) in others.items():
        changed = replace(run, **fields)  # type: ignore[arg-type]
        found[f"a day's proof for {name}"] = (
            partial(verify_run, GlobalProof(changed, day), backend),
            text,
        )
    span, lift = sample.lifts[0].span, sample.lifts[0].data
    changes: dict[str, tuple[Span, str]] = {
        "another shard": (replace(span, shard=1), mismatch),
        "a shard that is not there": (replace(span, shard=2), "no such shard"),
        "a longer span": (replace(span, last_segment=span.last_segment + 1), mismatch),
        "a span that ends before it begins": (
            replace(span, first_window=1),
            "ends before it begins",
        ),
        "another history": (replace(span, history=(1, *span.history[1:])), mismatch),
        "a history that is not canonical": (
            replace(span, history=_wrapped(span.history)),
            "no word",
        ),
    }
    for name, (other, text) in changes.items():
        found[f"a lift for {name}"] = partial(verify_span, SpanProof(other, lift), backend), text
    return found


def _wrapped(word: tuple[int, ...]) -> tuple[int, ...]:
    return (word[0] + P, *word[1:])


def _wrong_proofs(sample: SampleChildren, backend: Backend) -> dict[str, tuple[Attack, str]]:
    """Proofs under other keys and parameters, with other public words, and of foreign names."""
    lift, day = sample.lifts[0], sample.day
    epoch_key, day_key = (verifying_key(kind, backend) for kind in (EPOCH_KIND, DAY_KIND))
    weak = weaker_segment(sample.epoch.witnesses[0][0], backend)
    payee = HEADER_BYTES + ELEMENT_BYTES * 2 * WORD
    paid = _with_element(lift.data, payee, 1)
    foreign = foreign_name(sample, backend)
    strength = epoch_key.proven_bits + 1
    return {
        "a segment made with less grinding": (
            partial(verify_segment, weak, backend),
            "unknown_key",
        ),
        "the same in a lift": (partial(prove_lift, [weak], backend), "unknown_key"),
        "the same under the pinned key's name": (
            partial(prove_lift, [sample.segments[0][:HEADER_BYTES] + weak[HEADER_BYTES:]], backend),
            "constraints_not_satisfied",
        ),
        "a day for who wants more bits": (
            partial(verify_run, day, backend, strength),
            "parameters_too_weak",
        ),
        "a day's proof under the epoch's key": (
            partial(
                verify_run,
                replace(day, data=sample.run.data[:HEADER_BYTES] + day.data[HEADER_BYTES:]),
                backend,
            ),
            "constraints_not_satisfied",
        ),
        "a day's proof under a key of the same kind": (
            partial(verify_run, replace(day, data=_with_element(day.data, 12, 1)), backend),
            "unknown_key",
        ),
        "a lift of another payee": (
            partial(verify_span, SpanProof(lift.span, paid), backend),
            "constraints_not_satisfied",
        ),
        "a lift that names a key as its own": (
            partial(prove_join, [SpanProof(lift.span, foreign)], backend),
            "statement_mismatch at publics/vk_self",
        ),
        "a day's proof with a digest of the day's key that is wrong": (
            partial(
                verify_run,
                replace(
                    day,
                    data=_with_element(
                        day.data, HEADER_BYTES + ELEMENT_BYTES * WORD, day_key.digest[0] ^ 1
                    ),
                ),
                backend,
            ),
            "constraints_not_satisfied",
        ),
    }


def _with_element(proof: bytes, at: int, value: int) -> bytes:
    return proof[:at] + value.to_bytes(ELEMENT_BYTES, "little") + proof[at + ELEMENT_BYTES :]


def weaker_segment(witness: SegmentWitness, backend: Backend) -> bytes:
    """Returns an honest proof of a segment that asks for one bit less of work; its layout is the pinned one's."""
    kind = kind_named(SEGMENT_KIND)
    weaker = replace(kind.parameters, query_pow_bits=kind.parameters.query_pow_bits - 1)
    key, air = make_proving_key(kind.number, LedgerAir(), weaker, backend), LedgerAir()
    trace, publics = build_trace(air, witness, backend)
    return prove_stark(key, publics, trace, backend).data


def foreign_name(sample: SampleChildren, backend: Backend) -> bytes:
    """Returns an honest lift whose public word `vk_self` is not zero: its circuit leaves that to who verifies it."""
    span = sample.lifts[0].span
    publics = [*span.digest(backend), *range(1, 1 + WORD), *[0] * WORD]
    inputs = lift_inputs([sample.segments[0]], LIFT_SLOTS)
    return prove_recursive(LIFT_KIND, publics, inputs, backend)
