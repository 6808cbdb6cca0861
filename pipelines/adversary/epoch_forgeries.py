"""Forgeries of the statements of epochs: of every claim about shards and links one that breaks it alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import permutations

import numpy as np

from operators.proof_worker import process_backend
from pipelines.adversary.key_forgeries import KeyedSlot, key_forgeries
from pipelines.adversary.span_forgeries import LAST_WINDOW, boundary_cells, root_of
from pipelines.adversary.statement_forgeries import (
    Attempt,
    Make,
    StatementInputs,
    blank_publics,
    other_digests,
    refuse,
    word_claims,
)
from pipelines.adversary.statement_part import Claim, StatementPart
from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.backends.port import FieldArray, Hasher
from proving.kinds import PROGRAMS, verifying_key
from proving.recursion.children import NO_KEY
from proving.recursion.epoch import EPOCH_SLOTS, epoch_inputs
from proving.recursion.epoch_links import ARRAYS
from proving.recursion.global_proofs import EPOCH_KIND, EpochChildren, epoch_witness
from proving.recursion.shard_part import (
    LinkHeads,
    ShardPart,
    link_path,
    links_tree,
    why_not_delivered,
    why_not_part,
)
from proving.recursion.span import NO_HISTORY, Span, boundary_elements, read_span_bytes, reopened
from proving.recursion.span_circuit import AFTER, BEFORE, OPEN_BLOCK, OWNER, SEQUENCE
from proving.recursion.span_proofs import SpanProof
from proving.stark.encoding import encode_proof, proof_sections
from schemas.errors import InvariantError
from schemas.run import why_no_windows
from schemas.statement import BOUNDARY_ELEMENTS, NUM_COUNTERS, Boundary
from schemas.units import INDEX_LIMIT, ZERO_WORD, Array, word_elements
from schemas.wire import Reader

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
    roots[Array.OUT - 1] = links_tree(sent, process_backend()).root
    roots[Array.INB - 1] = links_tree(received, process_backend()).root
    return Boundary(10 * seed, 10 * seed + 1, 4, 20, 0, 0, tuple(roots))


@cache
def shard_parts(count: int, *, idle: bool = False) -> tuple[ShardPart, ...]:
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
    return tuple(parts)


def with_links(part: ShardPart, received_after: LinkHeads) -> ShardPart:
    """Returns a part that holds other links afterwards."""
    if part.span is None:
        return replace(part, received_after=received_after)
    roots = list(part.span.after.roots)
    roots[Array.INB - 1] = links_tree(received_after, process_backend()).root
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
        self._honest: dict[tuple[int, bool], FieldArray] = {}

    def given(
        self, count: int, changes: Mapping[int, int] | None = None, *, idle: bool = False
    ) -> StatementInputs:
        """Returns the honest prover's inputs for so many shards, some then changed."""
        if (count, idle) not in self._honest:
            self._honest[count, idle] = self._witness(shard_parts(count, idle=idle))
        inputs = self._honest[count, idle].copy()
        for place, value in (changes or {}).items():
            inputs[place] = value % P
        said = {
            f"the span of slot {number}": shard.child.body.start
            for number, shard in enumerate(self.places.shards)
        }
        return StatementInputs(inputs, blank_publics(NO_KEY), said)

    def _witness(self, parts: Sequence[ShardPart]) -> FieldArray:
        proofs = [None if part.span is None else self._blank for part in parts]
        spare = shard_parts(1)[0].span
        filler = None if spare is None else SpanProof(spare, self._blank)
        children = EpochChildren(CHAIN, WINDOWS, VALIDATORS, parts, proofs, filler)
        return epoch_witness(children, self._hasher)

    def receiving(
        self, shard: int, taken: LinkHeads, changes: Mapping[int, int], *, idle: bool = False
    ) -> StatementInputs:
        """Returns the inputs of all shards, one of which holds other links afterwards."""
        given = self.given(EPOCH_SLOTS, changes, idle=idle)
        tree = links_tree(taken, self._hasher)
        start = self.span(shard) + root_of(AFTER, Array.INB)
        given.inputs[start : start + WORD] = word_elements(tree.root)
        for other in range(EPOCH_SLOTS):
            if other != shard:
                opening = self.places.links.openings["INB after", shard, other]
                path = link_path(tree, other)
                given.inputs[opening.word.start : opening.word.stop] = word_elements(taken[other])
                given.inputs[opening.path.start : opening.path.stop] = path
        return given

    def span(self, shard: int) -> int:
        """Returns where a slot's span lies."""
        return self.places.shards[shard].span.start

    def head(self, number: int) -> int:
        """Returns where chain, number of shards, first window or end lies."""
        return self.places.head[EXTENSION_DEGREE * number]


def native_part(parts: Sequence[ShardPart], shard: int) -> None:
    """Asks the native twin about one shard and about all links.

    Raises:
        ParameterError: The shard's part is none, or a link delivered something else.
    """
    hasher = process_backend()
    problem = why_not_part(
        parts[shard], shard, WINDOWS, chain=CHAIN, shards=len(parts), hasher=hasher
    )
    refuse(f"shard {shard} {problem}" if problem else why_not_delivered(parts))


def epoch_forgeries(part: StatementPart, hasher: Hasher) -> Iterator[Attempt]:
    """Yields forgeries of every claim of an epoch that some forgery breaks alone, or as a word."""
    case = EpochCase(hasher)
    active = shard_parts(EPOCH_SLOTS)
    honest = partial(case.given, EPOCH_SLOTS)
    yield from other_digests(honest)
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
        yield from _shard_forgeries(case, active, number)
        yield from _idle_forgeries(case, number)
        yield from _presence_forgeries(case, number)
    yield from _window_forgeries(case)
    yield from _link_forgeries(case, active)


def _foreign_key(case: EpochCase, honest: Make, number: int) -> Attempt:
    """A digest cannot be steered, so the eight claims about it break together."""
    start = case.places.shards[number].child.cap.start
    claims = word_claims(f"the key of slot {number}")
    return Attempt(f"slot {number}: a proof of another key", claims, honest, late={start: 1})


def _span_of(part: ShardPart) -> Span:
    if part.span is None:
        raise InvariantError("the shard is idle")
    return part.span


def _edited(part: ShardPart, place: int, value: int) -> ShardPart:
    """Returns a part whose span has another element."""
    cells = _span_of(part).elements()
    cells[place] = value
    span = read_span_bytes(Reader(np.array(cells, dtype="<u4").tobytes(), "span"))
    return replace(part, span=span, at=span.before)


def _shard_forgeries(case: EpochCase, parts: Sequence[ShardPart], number: int) -> Iterator[Attempt]:
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
    cells = _span_of(parts[number]).elements()
    for place, array in enumerate((Array.TXS, Array.CLM)):
        for k in range(WORD):
            cell = root_of(BEFORE, array) + k
            value = cells[cell] ^ 1
            row = len(counters) + WORD * place + k
            edits.append((inside, row, cell, value, f"a window that begins with {array.name}"))
    ends = f"slot {number} ends inside a block"
    edits += [
        (ends, k, AFTER + counter, 1, "an end inside a block")
        for k, counter in enumerate(OPEN_BLOCK)
    ]
    for what, row, cell, value, name in edits:
        edited = _edited(parts[number], cell, value)
        asked = [*parts[:number], edited, *parts[number + 1 :]]
        yield Attempt(
            f"slot {number}: {name}",
            (Claim(what, row),),
            partial(case.given, EPOCH_SLOTS, {case.span(number) + cell: value}),
            partial(native_part, asked, number),
            f"{ANYWHERE}{number} ",
        )


def _idle_forgeries(case: EpochCase, number: int) -> Iterator[Attempt]:
    """Forgeries of what an epoch claims of a shard that made no block: it stays where it was."""
    parts = shard_parts(EPOCH_SLOTS, idle=True)
    what = f"slot {number} moves without a block"
    inbound = range(root_of(0, Array.INB), root_of(0, Array.INB) + WORD)
    cells = boundary_elements(parts[number].at)
    for k in range(BOUNDARY_ELEMENTS):
        if k in OPEN_BLOCK or k in inbound:
            continue
        changes = {case.span(number) + AFTER + k: cells[k] ^ 1}
        make = partial(case.given, EPOCH_SLOTS, changes, idle=True)
        yield Attempt(f"slot {number}: an idle shard moves, element {k}", (Claim(what, k),), make)
    taken = list(parts[number].received)
    other = (number + 1) % len(parts)
    taken[other] = parts[other].sent[number]
    delivered = case.places.links.delivered[number, other].start
    changed = replace(parts[number], received_after=tuple(taken))
    yield Attempt(
        f"slot {number}: a shard receives without a block",
        word_claims(what, inbound.start),
        partial(case.receiving, number, tuple(taken), {delivered: 1}, idle=True),
        partial(native_part, [*parts[:number], changed, *parts[number + 1 :]], number),
        f"{ANYWHERE}{number} shows other links than INB after holds",
    )
    active = case.places.shards[number].active.start
    yield Attempt(
        f"slot {number}: an activity of two doubles the history",
        (Claim(f"slot {number} is active", 0),),
        partial(case.given, EPOCH_SLOTS, {active: 2}, idle=True),
    )


def _presence_forgeries(case: EpochCase, number: int) -> Iterator[Attempt]:
    """Forgeries of how many shards there are, made where this slot is the last."""
    shards, what = case.places.shards, f"slot {number} is present"
    counted = {case.head(1): number + 2}
    counted |= {case.span(shard) + 2: number + 2 for shard in range(number + 1)}
    if not number:
        changes = {shards[0].present.start: 0, case.head(1): 0}
        make = partial(case.given, 1, changes, idle=True)
        yield Attempt("a chain without shards", (Claim(what, 1),), make)
        make = partial(case.given, 1, counted, idle=True)
        claim = Claim("the number of shards", 0)
        yield Attempt("a number of shards that is not counted", (claim,), make)
        return
    yield Attempt(
        f"slot {number}: a presence of two counts for two shards",
        (Claim(what, 0),),
        partial(case.given, number + 1, {shards[number].present.start: 2, **counted}, idle=True),
    )
    yield Attempt(
        f"slot {number}: an absent shard has a history",
        (Claim(f"slot {number} is active", 1),),
        partial(_active_and_absent, case, number),
    )
    if number > 1:
        # The shard before is left out, and the others say that the chain has one less.
        changes = {shards[number - 1].present.start: 0, case.head(1): number}
        changes |= {case.span(shard) + 2: number for shard in range(number + 1)}
        yield Attempt(
            f"slot {number}: a shard is left out before it",
            (Claim(what, 1),),
            partial(case.given, number + 1, changes, idle=True),
        )


def _active_and_absent(case: EpochCase, number: int) -> StatementInputs:
    """A proof of a span that goes nowhere, in a slot past the last shard."""
    given, span = case.given(number, idle=True), case.span(number)
    before = given.inputs[span + BEFORE : span + AFTER]
    given.inputs[span + AFTER : span + AFTER + BOUNDARY_ELEMENTS] = before
    given.inputs[span + OWNER : span + LAST_WINDOW + 1] = [WINDOWS.start, 0, WINDOWS.start]
    given.inputs[case.places.shards[number].active.start] = 1
    return given


def _window_forgeries(case: EpochCase) -> Iterator[Attempt]:
    """Forgeries of the run of windows."""
    for name, what, first, end in (
        ("a run that begins below zero", "the first window", P - 3, 5),
        ("a run past the range", "the end", INDEX_LIMIT - 1, INDEX_LIMIT),
        ("a run of no windows", "the end comes after the first window", 6, 6),
        ("a run backwards", "the end comes after the first window", 6, 5),
    ):
        changes = {case.head(2): first, case.head(3): end}
        windows = range(first - P if first > P // 2 else first, end)
        yield Attempt(
            name,
            (Claim(what, 0),),
            partial(case.given, EPOCH_SLOTS, changes, idle=True),
            partial(_native_windows, windows),
            "are no run",
        )


def _native_windows(windows: range) -> None:
    refuse(why_no_windows(windows))


def _link_forgeries(case: EpochCase, parts: Sequence[ShardPart]) -> Iterator[Attempt]:
    """Forgeries of every link: another amount, order, a missing or doubled transfer is another head of its hashes."""
    for receiver, sender in permutations(range(EPOCH_SLOTS), 2):
        for k in range(WORD):
            taken = moved(parts[receiver].received_after[sender], k)
            name = f"slot {receiver} received something else of slot {sender}"
            yield _taken(case, parts, (receiver, sender), taken, (name, k + 1, 1))
        sent, had = (
            np.frombuffer(word, dtype="<u4").astype(np.int64)
            for word in (parts[sender].sent[receiver], parts[receiver].received[sender])
        )
        taken = ((2 * sent - had) % P).astype("<u4").tobytes()
        name = f"slot {receiver} received a mixture of slot {sender}"
        yield _taken(case, parts, (receiver, sender), taken, (name, 0, 2))
        for name in ARRAYS:
            opening = case.places.links.openings[name, receiver, sender]
            asked = list(parts)
            asked[receiver] = _showing(parts[receiver], name, sender)
            yield Attempt(
                f"slot {receiver}: a cell of {name} that its root does not hold",
                (Claim(f"a path of {name} of slot {receiver}", sender - (sender > receiver)),),
                partial(case.given, EPOCH_SLOTS),
                partial(native_part, asked, receiver),
                f"{ANYWHERE}{receiver} shows other links than {name} holds",
                late={opening.path.start: 1},
            )


def _showing(part: ShardPart, name: str, other: int) -> ShardPart:
    """Returns a part that shows another word in one of its arrays of links."""

    def changed(held: LinkHeads) -> LinkHeads:
        return (*held[:other], word_of(9), *held[other + 1 :])

    if name == ARRAYS[0]:
        return replace(part, sent=changed(part.sent))
    if name == ARRAYS[1]:
        return replace(part, received=changed(part.received))
    return replace(part, received_after=changed(part.received_after))


def _taken(
    case: EpochCase,
    parts: Sequence[ShardPart],
    link: tuple[int, int],
    word: bytes,
    about: tuple[str, int, int],
) -> Attempt:
    """Returns the forgery in which a receiver holds a word: its name, its claim's number and the delivery bit."""
    (receiver, sender), (name, claim, bit) = link, about
    taken = list(parts[receiver].received_after)
    taken[sender] = word
    changed = list(parts)
    changed[receiver] = with_links(parts[receiver], tuple(taken))
    delivered = case.places.links.delivered[receiver, sender].start
    return Attempt(
        name,
        (Claim(f"what slot {receiver} received of slot {sender}", claim),),
        partial(case.receiving, receiver, tuple(taken), {delivered: bit}),
        partial(native_part, changed, receiver),
        f"shard {receiver} received something else than shard {sender} had sent",
    )
