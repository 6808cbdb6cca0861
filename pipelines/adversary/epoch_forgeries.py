"""Forgeries of the statements of epochs: of every claim about shards and links one that breaks it alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np

from pipelines.adversary.key_forgeries import KeyedSlot, key_forgeries
from pipelines.adversary.span_forgeries import HISTORY, LAST_WINDOW, boundary_cells, root_of
from pipelines.adversary.statement_forgeries import (
    STATEMENT,
    Attempt,
    Native,
    StatementInputs,
    blank_publics,
    word_claims,
)
from pipelines.adversary.statement_part import Claim, StatementPart
from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import FieldArray, Hasher
from proving.kinds import PROGRAMS, verifying_key
from proving.recursion.children import NO_KEY
from proving.recursion.epoch import EPOCH_SLOTS, epoch_inputs
from proving.recursion.epoch_links import ARRAYS
from proving.recursion.global_proofs import EPOCH_KIND, EpochChildren, epoch_witness
from proving.recursion.global_span import merge_shards
from proving.recursion.programs import STATEMENT_WORD
from proving.recursion.shard_part import LinkHeads, ShardPart, links_tree
from proving.recursion.span import NO_HISTORY, Span, reopened
from proving.recursion.span_circuit import AFTER, BEFORE, FIRST, OPEN_BLOCK, OWNER, SEQUENCE
from proving.recursion.span_proofs import SpanProof
from proving.stark.encoding import encode_proof, proof_sections
from schemas.statement import BOUNDARY_ELEMENTS, NUM_COUNTERS, Boundary
from schemas.units import INDEX_LIMIT, ZERO_WORD, Array

HASHER = NumpyHasher()
CHAIN, WINDOWS = 7, range(6, 12)
VALIDATORS = (5, 4, 3, 2, 1, 0, 9, 8)
ANYWHERE = "shard "
"""How a refusal of the native twin begins that is about a shard."""


def word_of(*seed: int) -> bytes:
    """Returns a random word."""
    elements = np.random.default_rng(seed).integers(0, P, WORD, dtype=np.uint32)
    return elements.astype("<u4").tobytes()


def moved(word: bytes, element: int) -> bytes:
    """Returns a word with one element changed."""
    cells = np.frombuffer(word, dtype="<u4").copy()
    cells[element] ^= 1
    return cells.tobytes()


def heads(seed: int, shard: int, count: int) -> LinkHeads:
    """Returns what an array of links holds: something for every other shard."""
    return tuple(
        ZERO_WORD if other == shard else word_of(seed, shard, other) for other in range(count)
    )


def standing(seed: int, sent: LinkHeads, received: LinkHeads) -> Boundary:
    """Returns where a shard stands inside a window, with these links."""
    cells = np.array(boundary_cells(seed, 10 * seed, 4)[NUM_COUNTERS:], dtype="<u4")
    roots = [row.tobytes() for row in cells.reshape(-1, WORD)]
    roots[Array.OUT - 1] = links_tree(sent, HASHER).root
    roots[Array.INB - 1] = links_tree(received, HASHER).root
    return Boundary(10 * seed, 10 * seed + 1, 4, 20, 0, 0, tuple(roots))


def shard_parts(count: int, *, idle: bool = False) -> list[ShardPart]:
    """Returns what shards did: each took all that had been sent to it; or, idle, nothing."""
    sent = [heads(1, shard, count) for shard in range(count)]
    parts: list[ShardPart] = []
    for shard in range(count):
        received = heads(2, shard, count)
        taken = tuple(ZERO_WORD if other == shard else sent[other][shard] for other in range(count))
        at = reopened(standing(shard + 1, sent[shard], received))
        if idle:
            parts.append(ShardPart(None, at, sent[shard], received, received))
            continue
        after = standing(shard + 50, heads(3, shard, count), taken)
        span = Span(
            CHAIN, shard, count, WINDOWS.start, 0, WINDOWS.stop - 1, 2, NO_HISTORY, at, after
        )
        parts.append(ShardPart(span, at, sent[shard], received, taken))
    return parts


def with_links(part: ShardPart, received_after: LinkHeads) -> ShardPart:
    """Returns a part that holds other links afterwards."""
    if part.span is None:
        return replace(part, received_after=received_after)
    roots = list(part.span.after.roots)
    roots[Array.INB - 1] = links_tree(received_after, HASHER).root
    after = replace(part.span.after, roots=tuple(roots))
    return replace(part, span=replace(part.span, after=after), received_after=received_after)


class EpochCase:
    """An epoch as a forger of shards sees it."""

    def __init__(self, hasher: Hasher) -> None:
        _, self._kinds = PROGRAMS[EPOCH_KIND]
        self._hasher = hasher
        keys = [verifying_key(name, hasher) for name in self._kinds]
        self.places = epoch_inputs(keys)
        self.keyed = [
            KeyedSlot(number, shard.child, self._kinds)
            for number, shard in enumerate(self.places.shards)
        ]
        empty = {one.name: np.zeros(one.shape, dtype=np.uint32) for one in proof_sections(keys[0])}
        self._blank = encode_proof(keys[0], empty)

    def given(
        self, parts: Sequence[ShardPart], changes: Mapping[int, int] | None = None
    ) -> StatementInputs:
        """Returns the honest prover's inputs for these parts, some then changed."""
        proofs = [None if part.span is None else self._blank for part in parts]
        spare = shard_parts(1)[0].span
        filler = None if spare is None else SpanProof(spare, self._blank)
        children = EpochChildren(CHAIN, WINDOWS, VALIDATORS, parts, proofs, filler)
        inputs: FieldArray = epoch_witness(children, self._hasher)
        for place, value in (changes or {}).items():
            inputs[place] = value % P
        said = {
            f"the span of slot {number}": shard.child.body.start
            for number, shard in enumerate(self.places.shards)
        }
        return StatementInputs(inputs, blank_publics(NO_KEY), said)

    def span(self, shard: int) -> int:
        """Returns where a slot's span lies."""
        return self.places.shards[shard].span.start

    def head(self, number: int) -> int:
        """Returns where chain, number of shards, first window or end lies."""
        return self.places.head[EXTENSION_DEGREE * number]


def native_epoch(parts: Sequence[ShardPart], windows: range = WINDOWS) -> None:
    """Asks the native twin.

    Raises:
        ParameterError: The parts do not make up a run.
    """
    merge_shards(parts, windows, chain=CHAIN, validators=VALIDATORS, hasher=HASHER)


def epoch_forgeries(part: StatementPart, hasher: Hasher) -> Iterator[Attempt]:
    """Yields forgeries of every claim of an epoch that some forgery breaks alone, or as a word."""
    case = EpochCase(hasher)
    active, idle = shard_parts(EPOCH_SLOTS), shard_parts(EPOCH_SLOTS, idle=True)
    honest, resting = case.given(active), case.given(idle)
    for k in range(WORD):
        yield Attempt(
            "the statement names another digest",
            (Claim(STATEMENT, k),),
            honest,
            late_publics={(STATEMENT_WORD, k): 1},
        )
    for number, shard in enumerate(case.places.shards):
        for k in range(WORD):
            yield Attempt(
                f"slot {number}: a proof of another statement",
                (Claim(f"the span of slot {number}", k),),
                honest,
                late={shard.child.body.start + k: 1},
            )
        yield from key_forgeries(case.keyed[number], honest, part, hasher, own=False)
        yield _foreign_key(case, honest, number)
        yield from _shard_forgeries(case, active, honest, number)
        yield from _idle_forgeries(case, idle, resting, number)
        yield from _presence_forgeries(case, number)
    yield from _window_forgeries(case, idle)
    yield from _link_forgeries(case, active, honest)


def _foreign_key(case: EpochCase, honest: StatementInputs, number: int) -> Attempt:
    """A digest cannot be steered, so the eight claims about it break together."""
    given = honest.copy()
    given.inputs[case.places.shards[number].child.cap.start] ^= 1
    claims = word_claims(f"the key of slot {number}")
    return Attempt(f"slot {number}: a proof of another key", claims, given)


def _edited(part: ShardPart, place: int, value: int) -> ShardPart | None:
    """Returns a part whose span has another element; None if no span can hold it."""
    if part.span is None:
        return None
    cells = part.span.elements()
    cells[place] = value
    data = np.array(cells, dtype="<u4")
    before, after = (
        Boundary(
            *(int(cell) for cell in data[start : start + 5]),
            int(data[start + 5]) + (int(data[start + 6]) << 15) + (int(data[start + 7]) << 30),
            tuple(
                row.tobytes()
                for row in data[start + NUM_COUNTERS : start + BOUNDARY_ELEMENTS].reshape(-1, WORD)
            ),
        )
        for start in (BEFORE, AFTER)
    )
    history = tuple(cells[HISTORY:])
    span = Span(*cells[:7], history, before, after)
    return replace(part, span=span, at=before)


def _one(
    case: EpochCase, parts: Sequence[ShardPart], shard: int, place: int, value: int
) -> tuple[StatementInputs, Native | None]:
    """Returns inputs with one element of a span changed, and the question to the native twin."""
    given = case.given(parts, {case.span(shard) + place: value})
    edited = _edited(parts[shard], place, value)
    if edited is None:
        return given, None
    asked = [*parts[:shard], edited, *parts[shard + 1 :]]
    return given, partial(native_epoch, asked)


def _shard_forgeries(
    case: EpochCase, parts: Sequence[ShardPart], honest: StatementInputs, number: int
) -> Iterator[Attempt]:
    """Forgeries of what an epoch claims of a shard that made a block."""
    edits = [
        (f"the owner of slot {number}", k, k, value, name)
        for k, (value, name) in enumerate(
            ((CHAIN + 1, "another chain"), (number + 1, "another shard"), (99, "other shards"))
        )
    ]
    inside = f"slot {number} begins inside a window"
    edits += [
        (f"slot {number} begins a window", 0, OWNER + 1, 1, "a first segment that is missing"),
        (f"the windows of slot {number}", 0, OWNER, WINDOWS.start - 1, "a window before the run"),
        (f"the windows of slot {number}", 1, LAST_WINDOW, WINDOWS.stop, "a window after the run"),
    ]
    counters = (SEQUENCE, *OPEN_BLOCK)
    edits += [
        (inside, k, BEFORE + counter, 1, "a beginning inside a window")
        for k, counter in enumerate(counters)
    ]
    given = honest.inputs
    for place, array in enumerate((Array.TXS, Array.CLM)):
        for k in range(WORD):
            cell = root_of(BEFORE, array) + k
            value = int(given[case.span(number) + cell]) ^ 1
            row = len(counters) + WORD * place + k
            edits.append((inside, row, cell, value, f"a window that begins with {array.name}"))
    ends = f"slot {number} ends inside a block"
    edits += [
        (ends, k, AFTER + counter, 1, "an end inside a block")
        for k, counter in enumerate(OPEN_BLOCK)
    ]
    for what, row, cell, value, name in edits:
        given_now, native = _one(case, parts, number, cell, value)
        text = f"{ANYWHERE}{number} "
        yield Attempt(f"slot {number}: {name}", (Claim(what, row),), given_now, native, text)


def _idle_forgeries(
    case: EpochCase, parts: Sequence[ShardPart], honest: StatementInputs, number: int
) -> Iterator[Attempt]:
    """Forgeries of what an epoch claims of a shard that made no block: it stays where it was."""
    what = f"slot {number} moves without a block"
    inbound = range(root_of(0, Array.INB), root_of(0, Array.INB) + WORD)
    for k in range(BOUNDARY_ELEMENTS):
        if k in OPEN_BLOCK or k in inbound:
            continue
        place = case.span(number) + AFTER + k
        given = honest.copy()
        given.inputs[place] ^= 1
        yield Attempt(f"slot {number}: an idle shard moves, element {k}", (Claim(what, k),), given)
    taken = list(parts[number].received)
    other = (number + 1) % len(parts)
    taken[other] = parts[other].sent[number]
    changed = [*parts[:number], with_links(parts[number], tuple(taken)), *parts[number + 1 :]]
    given = case.given(changed)
    root = np.frombuffer(links_tree(tuple(taken), HASHER).root, dtype="<u4")
    start = case.span(number) + AFTER + inbound.start
    given.inputs[start : start + WORD] = root
    yield Attempt(
        f"slot {number}: a shard receives without a block",
        word_claims(what, inbound.start),
        given,
        partial(native_epoch, changed),
        f"{ANYWHERE}{number} shows other links than INB after holds",
    )
    shard = case.places.shards[number]
    given = honest.copy()
    given.inputs[shard.active.start] = 2
    yield Attempt(
        f"slot {number}: an activity of two doubles the history",
        (Claim(f"slot {number} is active", 0),),
        given,
    )


def _presence_forgeries(case: EpochCase, number: int) -> Iterator[Attempt]:
    """Forgeries of how many shards there are, made where this slot is the last."""
    parts = shard_parts(number + 1, idle=True)
    shards = case.places.shards
    counted = {case.head(1): number + 2}
    counted |= {case.span(shard) + 2: number + 2 for shard in range(number + 1)}
    what = f"slot {number} is present"
    if number:
        changes = {shards[number].present.start: 2, **counted}
        name = f"slot {number}: a presence of two counts for two shards"
        yield Attempt(name, (Claim(what, 0),), case.given(parts, changes))
    else:
        changes = {shards[0].present.start: 0, case.head(1): 0}
        yield Attempt("a chain without shards", (Claim(what, 1),), case.given(parts, changes))
        yield Attempt(
            "a number of shards that is not counted",
            (Claim("the number of shards", 0),),
            case.given(parts, counted),
        )
    if number > 1:
        # The shard before is left out; this one says that the chain has one less.
        changes = {shards[number - 1].present.start: 0, case.head(1): number}
        changes |= {case.span(shard) + 2: number for shard in range(number + 1)}
        name = f"slot {number}: a shard is left out before it"
        yield Attempt(name, (Claim(what, 1),), case.given(parts, changes))
    # Absent, and yet active: a proof of a span that goes nowhere.
    if number:
        parts = shard_parts(number, idle=True)
        span = case.span(number)
        base = case.given(parts).inputs
        changes = {span + AFTER + k: int(base[span + BEFORE + k]) for k in range(BOUNDARY_ELEMENTS)}
        changes |= {shards[number].active.start: 1, span + OWNER + 1: 0}
        changes |= {span + OWNER: WINDOWS.start, span + FIRST: WINDOWS.start}
        yield Attempt(
            f"slot {number}: an absent shard has a history",
            (Claim(f"slot {number} is active", 1),),
            case.given(parts, changes),
        )
        return
    changes = {shards[0].present.start: 0, case.head(1): 0}


def _window_forgeries(case: EpochCase, parts: Sequence[ShardPart]) -> Iterator[Attempt]:
    """Forgeries of the run of windows."""
    for name, what, first, end in (
        ("a run that begins below zero", "the first window", P - 3, 5),
        ("a run past the range", "the end", INDEX_LIMIT - 1, INDEX_LIMIT),
        ("a run of no windows", "the end comes after the first window", 6, 6),
        ("a run backwards", "the end comes after the first window", 6, 5),
    ):
        given = case.given(parts, {case.head(2): first, case.head(3): end})
        signed = first - P if first > P // 2 else first
        native: Native = partial(native_epoch, parts, range(signed, end))
        yield Attempt(name, (Claim(what, 0),), given, native, "are no run")


def _link_forgeries(
    case: EpochCase, parts: Sequence[ShardPart], honest: StatementInputs
) -> Iterator[Attempt]:
    """Forgeries of every link: amounts, order, missing and doubled transfers are other heads of the chain of hashes."""
    for receiver, sender in permutations(range(EPOCH_SLOTS), 2):
        what = f"what slot {receiver} received of slot {sender}"
        text = f"shard {receiver} received something else than shard {sender} had sent"
        for k in range(WORD):
            taken = list(parts[receiver].received_after)
            taken[sender] = moved(taken[sender], k)
            changed = list(parts)
            changed[receiver] = with_links(parts[receiver], tuple(taken))
            given = case.given(changed)
            given.inputs[case.places.links.delivered[receiver, sender].start] = 1
            native: Native = partial(native_epoch, changed)
            name = f"slot {receiver} received something else of slot {sender}"
            yield Attempt(name, (Claim(what, k + 1),), given, native, text)
        yield _mixed_delivery(case, parts, receiver, sender)
        for place, name in enumerate(ARRAYS):
            opening = case.places.links.openings[name, receiver, sender]
            given = honest.copy()
            given.inputs[opening.path.start] ^= 1
            number = sender - (sender > receiver)
            claim = Claim(f"a path of {name} of slot {receiver}", number)
            title = f"slot {receiver}: a cell of {name} that its root does not hold"
            asked = list(parts)
            tables = ["sent", "received", "received_after"]
            table = list(getattr(parts[receiver], tables[place]))
            table[sender] = word_of(9)
            asked[receiver] = replace(parts[receiver], **{tables[place]: tuple(table)})
            text = f"{ANYWHERE}{receiver} shows other links than {name} holds"
            yield Attempt(title, (claim,), given, partial(native_epoch, asked), text)


def _mixed_delivery(
    case: EpochCase, parts: Sequence[ShardPart], receiver: int, sender: int
) -> Attempt:
    """A delivery bit of two: the receiver holds twice what was sent less what it had."""
    sent, had = (
        np.frombuffer(word, dtype="<u4").astype(np.int64)
        for word in (parts[sender].sent[receiver], parts[receiver].received[sender])
    )
    taken = list(parts[receiver].received_after)
    taken[sender] = ((2 * sent - had) % P).astype("<u4").tobytes()
    changed = list(parts)
    changed[receiver] = with_links(parts[receiver], tuple(taken))
    given = case.given(changed)
    given.inputs[case.places.links.delivered[receiver, sender].start] = 2
    return Attempt(
        f"slot {receiver} received a mixture of slot {sender}",
        (Claim(f"what slot {receiver} received of slot {sender}", 0),),
        given,
        partial(native_epoch, changed),
        f"shard {receiver} received something else than shard {sender} had sent",
    )
