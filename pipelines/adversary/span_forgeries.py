"""Forgeries of the statements of lifts and joins: of every claim about spans one that breaks it alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from pipelines.adversary.key_forgeries import KeyedSlot, key_forgeries
from pipelines.adversary.statement_forgeries import (
    Attempt,
    Native,
    StatementInputs,
    blank_publics,
    other_digests,
    refuse,
)
from pipelines.adversary.statement_part import Claim, StatementPart
from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Hasher
from proving.kinds import PROGRAMS, verifying_key
from proving.recursion.children import NO_KEY
from proving.recursion.join import slot_inputs
from proving.recursion.lift import LARGE_LIFT_SLOTS, LIFT_SLOTS, PAYEE_PLACE
from proving.recursion.programs import PAYEE_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.span import empty_list_root, join_spans, read_span_bytes, span_problem
from proving.recursion.span_circuit import (
    AFTER,
    BEFORE,
    FIRST,
    OPEN_BLOCK,
    OWNER,
    SEQUENCE,
    SPAN_ELEMENTS,
)
from proving.recursion.span_proofs import JOIN_KIND, LARGE_LIFT_KIND, LIFT_KIND
from schemas.statement import (
    AFTER_OFFSET,
    BEFORE_OFFSET,
    BOUNDARY_ELEMENTS,
    NUM_COUNTERS,
    UNTOUCHED_ARRAYS,
    SegmentStatement,
    order_rules,
)
from schemas.units import INDEX_LIMIT, MAX_WINDOW_GAP, Array, word_elements
from schemas.wire import Reader

Cells = list[int]
"""A span's 192 elements, any residues."""

EMPTY = tuple(word_elements(empty_list_root()))
FIRST_SEGMENT, LAST_WINDOW, LAST_SEGMENT = OWNER + 1, FIRST, FIRST + 1
HISTORY = AFTER + BOUNDARY_ELEMENTS
HASHER = NumpyHasher()
OWNER_WORDS = ("chain", "shard", "number of shards")


def root_of(boundary: int, array: Array) -> int:
    """Returns where a root lies in a span."""
    return boundary + NUM_COUNTERS + WORD * (array - 1)


def boundary_cells(seed: int, height: int, sequence: int) -> Cells:
    """Returns a boundary with random roots and no open block."""
    roots = np.random.default_rng(seed).integers(0, P, WORD * len(Array)).tolist()
    counters = [height, height + 1, sequence, 20, 0, 0, 0, 0]
    # Arrays that no step writes are the same everywhere.
    for array in UNTOUCHED_ARRAYS:
        root = EMPTY if array is Array.CLM else range(array, array + WORD)
        roots[WORD * (array - 1) : WORD * array] = root
    return [*counters, *roots]


def span_cells(
    window: int, segment: int, before: Sequence[int], after: Sequence[int], *, last: int
) -> Cells:
    """Returns a span of one window."""
    return [7, 1, 2, window, segment, window, last, 0, *before, *after, *[0] * WORD]


def steady_spans(count: int, window: int = 3, first: int = 0) -> list[Cells]:
    """Returns segments of one window that follow each other."""
    spans: list[Cells] = []
    before = boundary_cells(1, 10, 5)
    for segment in range(first, first + count):
        after = boundary_cells(100 + segment, 11 + segment, 6 + segment)
        spans.append(span_cells(window, segment, before, after, last=segment))
        before = after
    return spans


def opening_spans(count: int, window: int = 3, *, last: int = 0) -> list[Cells]:
    """Returns whole windows that follow each other."""
    spans: list[Cells] = []
    before = boundary_cells(1, 10, 5)
    for number in range(count):
        after = boundary_cells(100 + number, 11 + number, 6)
        spans.append(span_cells(window + number, 0, before, after, last=last))
        before = reopened_cells(after)
    return spans


def reopened_cells(after: Sequence[int]) -> Cells:
    """Returns a boundary as the next window begins with it."""
    found = list(after)
    found[SEQUENCE] = 0
    for array in (Array.TXS, Array.CLM):
        start = NUM_COUNTERS + WORD * (array - 1)
        found[start : start + WORD] = EMPTY
    return found


@dataclass(frozen=True, slots=True)
class SlotPlaces:
    """Where the inputs of a slot lie that a forger of spans changes.

    Attributes:
        publics: First element of what the proof says.
        switch: The switch; NOTHING of the first slot.
        same_window: The window bit.
        span: The span, if it is an input.
    """

    publics: int
    switch: int
    same_window: int
    span: int


class SpanCase:
    """A lift or a join as a forger of spans sees it.

    Attributes:
        kind: Kind of proof.
        slots: Its slots.
    """

    def __init__(self, kind: str, hasher: Hasher) -> None:
        self.kind = kind
        self._hasher = hasher
        _, about = PROGRAMS[kind]
        self._keys = [verifying_key(name, hasher) for name in about]
        children = [slot.child for slot in slot_inputs(self._keys)] if kind == JOIN_KIND else []
        self._keyed = [
            KeyedSlot(number, child, (*about, JOIN_KIND)) for number, child in enumerate(children)
        ]
        self.slots = self._join_slots() if kind == JOIN_KIND else self._lift_slots()

    def _join_slots(self) -> list[SlotPlaces]:
        return [
            SlotPlaces(s.child.body.start, s.switch.start, s.same_window.start, s.span.start)
            for s in slot_inputs(self._keys)
        ]

    def _lift_slots(self) -> list[SlotPlaces]:
        count = LIFT_SLOTS if self.kind == LIFT_KIND else LARGE_LIFT_SLOTS
        size = ProofPositions(self._keys[0], 0).size
        bits = count * size - 2 * EXTENSION_DEGREE
        step = 2 * EXTENSION_DEGREE
        return [
            SlotPlaces(size * n, bits + step * n, bits + step * n + EXTENSION_DEGREE, -1)
            for n in range(count)
        ]

    def given(
        self,
        spans: Sequence[Cells],
        *,
        on: Sequence[int] | None = None,
        stays: Sequence[int] | None = None,
    ) -> StatementInputs:
        """Returns inputs of slots with these spans; bits not given are the honest prover's."""
        count = len(self.slots)
        filled = [*spans, *[spans[-1]] * (count - len(spans))]
        switches = on or [int(number < len(spans)) for number in range(count)]
        same = stays or [
            int(number > 0 and filled[number][OWNER] == filled[number - 1][LAST_WINDOW])
            for number in range(count)
        ]
        inputs = np.zeros(self._num_inputs, dtype=np.uint32)
        publics = blank_publics(self._own_key)
        for number, (places, cells) in enumerate(zip(self.slots, filled, strict=True)):
            self._put(inputs, places, cells, number)
            if number:
                inputs[places.switch], inputs[places.same_window] = switches[number], same[number]
        said = (
            {f"the span of slot {number}": one.publics for number, one in enumerate(self.slots)}
            if self.kind == JOIN_KIND
            else {}
        )
        if self.kind != JOIN_KIND:
            publics[PAYEE_WORD] = range(1, 1 + WORD)
        return StatementInputs(inputs, publics, said)

    @property
    def _num_inputs(self) -> int:
        last = self.slots[-1]
        if self.kind == LARGE_LIFT_KIND:
            return ProofPositions(self._keys[0], 0).size
        return last.same_window + EXTENSION_DEGREE

    @property
    def _own_key(self) -> Sequence[int]:
        if self.kind != JOIN_KIND:
            return NO_KEY
        return verifying_key(JOIN_KIND, self._hasher).digest

    def _put(self, inputs: np.ndarray, places: SlotPlaces, cells: Cells, number: int) -> None:
        start = places.publics
        if self.kind == JOIN_KIND:
            inputs[places.span : places.span + SPAN_ELEMENTS] = cells
            self.keyed(number).fill(inputs, 0, self._hasher)
            return
        inputs[start : start + FIRST] = cells[:FIRST]
        inputs[start + BEFORE_OFFSET : start + AFTER_OFFSET] = cells[BEFORE:AFTER]
        after = start + AFTER_OFFSET
        inputs[after : after + BOUNDARY_ELEMENTS] = cells[AFTER:HISTORY]
        inputs[start + PAYEE_PLACE : start + PAYEE_PLACE + WORD] = range(1, 1 + WORD)

    def keyed(self, number: int) -> KeyedSlot:
        """Returns what a forger of keys changes in a slot of a join."""
        return self._keyed[number]


def native_join(spans: Sequence[Cells]) -> None:
    """Asks the native twin: each span in order, and each following the one before.

    Raises:
        WireError: A field is out of range.
        ParameterError: A span breaks a rule, or does not follow.
    """
    read = [read_span_bytes(Reader(np.array(c, dtype="<u4").tobytes(), "span")) for c in spans]
    join_spans(read, HASHER)
    for span in read:
        refuse(span_problem(span, HASHER))


def span_forgeries(kind: str, part: StatementPart, hasher: Hasher) -> Iterator[Attempt]:
    """Yields forgeries of every claim of a lift or join that some forgery breaks alone."""
    case = SpanCase(kind, hasher)
    count = len(case.slots)
    for number in range(1, count):
        yield from _link_forgeries(case, number)
        yield from _switch_forgeries(case, number)
    honest = cache(partial(case.given, steady_spans(count)))
    yield from other_digests(honest)
    if kind == JOIN_KIND:
        for number, slot in enumerate(case.slots):
            for k in range(WORD):
                yield Attempt(
                    f"slot {number}: a proof of another statement",
                    (Claim(f"the span of slot {number}", k),),
                    honest,
                    late={slot.publics + k: 1},
                )
            yield from key_forgeries(case.keyed(number), honest, part, hasher)
        return
    for number in range(count):
        yield from _segment_forgeries(case, number)


def _changed(spans: Sequence[Cells], number: int, changes: dict[int, int]) -> list[Cells]:
    found = [list(cells) for cells in spans]
    for place, value in changes.items():
        found[number][place] = value % P
    return found


def _begun_elsewhere(spans: Sequence[Cells], number: int, k: int) -> list[Cells]:
    """Returns spans of which one begins elsewhere; where no step writes, it also ends elsewhere."""
    value = spans[number][BEFORE + k] ^ 1
    roots = [root_of(0, array) for array in UNTOUCHED_ARRAYS]
    keeps = any(root <= k < root + WORD for root in roots)
    return _changed(spans, number, {BEFORE + k: value} | ({AFTER + k: value} if keeps else {}))


def _about(
    case: SpanCase, name: str, claim: Claim, spans: list[Cells], native: str, *, used: int
) -> Attempt:
    """Returns a forgery that only the spans are about; the native twin sees the first `used`."""
    asked: Native = partial(native_join, spans[:used])
    return Attempt(name, (claim,), partial(case.given, spans), asked, native)


def _link_forgeries(case: SpanCase, number: int) -> Iterator[Attempt]:
    """Forgeries of what it means that the span of a slot follows."""
    count, used = len(case.slots), number + 1
    steady, opening = steady_spans(count)[:used], opening_spans(count)[:used]
    child = f"child {number} "
    for k, name in enumerate(OWNER_WORDS):
        spans = _changed(steady, number, {k: steady[number][k] + 1})
        claim = Claim(f"owner of slot {number}", k)
        text = f"{child}is of another chain or shard"
        yield _about(case, f"slot {number}: another {name}", claim, spans, text, used=used)
    follows = f"slot {number} follows"
    text = f"{child}does not begin where the one before ended"
    for k in range(BOUNDARY_ELEMENTS):
        spans = _begun_elsewhere(steady, number, k)
        name = f"slot {number}: element {k} of the boundary before is not the one after"
        yield _about(case, name, Claim(follows, k), spans, text, used=used)
    for k in (SEQUENCE, *range(root_of(0, Array.TXS), root_of(0, Array.CLM) + WORD)):
        spans = _begun_elsewhere(opening, number, k)
        name = f"slot {number}: a window begins with a list that is not empty, element {k}"
        yield _about(case, name, Claim(follows, k), spans, text, used=used)
    for name, spans, text in _number_forgeries(number, steady, opening):
        claim = Claim(f"the number of slot {number}", 0)
        yield _about(case, f"slot {number}: {name}", claim, spans, child + text, used=used)
    yield from _window_forgeries(case, number)


def _number_forgeries(
    number: int, steady: list[Cells], opening: list[Cells]
) -> Iterator[tuple[str, list[Cells], str]]:
    right = steady[number][FIRST_SEGMENT]
    for name, segment in (("a skipped segment", right + 1), ("a repeated segment", right - 1)):
        spans = _changed(steady, number, {FIRST_SEGMENT: segment, LAST_SEGMENT: segment})
        yield name, spans, f"begins with segment {segment}, not {right}"
    spans = _changed(opening, number, {FIRST_SEGMENT: 1, LAST_SEGMENT: 1})
    yield "a window that begins with its second segment", spans, "begins window "


def _window_forgeries(case: SpanCase, number: int) -> Iterator[Attempt]:
    """Forgeries of what it means that a slot opens a window, or does not."""
    count, used = len(case.slots), number + 1
    steady, opening = steady_spans(count)[:used], opening_spans(count)[:used]
    child, left = f"child {number} ", opening[number - 1][LAST_WINDOW]
    window = steady[number][OWNER] + 1
    spans = _changed(steady, number, {OWNER: window, LAST_WINDOW: window})
    bits = [0, *[1] * number]
    yield Attempt(
        f"slot {number}: segments go on in another window",
        (Claim(f"slot {number} stays in its window", 0),),
        partial(case.given, spans, stays=[*bits, *[0] * (count - used)]),
        partial(native_join, spans),
        f"{child}begins window {window} with segment",
    )
    later = Claim(f"slot {number} opens a later window", 0)
    far = left + MAX_WINDOW_GAP + 1
    for name, window, text in (
        ("an earlier window again", left - 1, f"begins in window {left - 1}, before window {left}"),
        ("a window too far ahead", far, f"begins in window {far}, too long after window {left}"),
        ("the same window again", left, "begins with segment 0, not 1"),
    ):
        spans = _changed(opening, number, {OWNER: window, LAST_WINDOW: window})
        given = partial(case.given, spans, stays=[0] * count)
        native: Native = partial(native_join, spans)
        yield Attempt(f"slot {number}: {name}", (later,), given, native, child + text)
    beyond = opening_spans(count, INDEX_LIMIT - number)[:used]
    yield Attempt(
        f"slot {number}: a window past the range, on the way round the modulus",
        (Claim(f"slot {number} opens a window in range", 0),),
        partial(case.given, beyond),
        partial(native_join, beyond),
        "window",
    )
    for k, counter in enumerate(OPEN_BLOCK):
        spans = _changed(opening, number - 1, {AFTER + counter: 1})
        spans = _changed(spans, number, {BEFORE + counter: 1})
        claim = Claim(f"slot {number} opens a window inside a block", k)
        name = f"slot {number}: a window begins inside a block, counter {counter}"
        text = f"{child}begins window {spans[number][OWNER]} inside a block"
        yield _about(case, name, claim, spans, text, used=used)
    yield _window_bit_forgery(case, number)


def _window_bit_forgery(case: SpanCase, number: int) -> Attempt:
    """A window bit of two: the next span begins with a mixture of what was and of empty lists."""
    count = len(case.slots)
    spans = steady_spans(count, 0)[: number + 1]
    right = 2 * spans[number - 1][LAST_SEGMENT] + 2
    before = list(spans[number - 1][AFTER:HISTORY])
    empty = reopened_cells(before)
    mixed = [(2 * one - other) % P for one, other in zip(before, empty, strict=True)]
    changes = {FIRST_SEGMENT: right, LAST_SEGMENT: right}
    changes |= {BEFORE + k: value for k, value in enumerate(mixed)}
    stays = [0, *[1] * (number - 1), 2, *[0] * (count - number - 1)]
    return Attempt(
        f"slot {number}: a window bit of two mixes two beginnings",
        (Claim(f"the window bit of slot {number}", 0),),
        partial(case.given, _changed(spans, number, changes), stays=stays),
    )


def _switch_forgeries(case: SpanCase, number: int) -> Iterator[Attempt]:
    count = len(case.slots)
    what = f"the switch of slot {number}"
    spans = steady_spans(count)
    on = [1] * number + [2] + [0] * (count - number - 1)
    yield Attempt(
        f"slot {number}: a switch of two ends the span past its end",
        (Claim(what, 0),),
        partial(case.given, spans[: number + 1], on=on),
    )
    if number == 1:
        return  # nothing is before it that could be off
    filled = [*spans[: number - 1], spans[number - 2], spans[number - 1]]
    on = [*[1] * (number - 1), 0, 1, *[0] * (count - number - 1)]
    stays = [0, *[1] * (count - 1)]
    yield Attempt(
        f"slot {number}: a slot is on behind one that is off",
        (Claim(what, 1),),
        partial(case.given, filled, on=on, stays=stays),
    )


def _segment_forgeries(case: SpanCase, number: int) -> Iterator[Attempt]:
    """Forgeries of what a lift claims of every segment by itself."""
    count, publics = len(case.slots), case.slots[number].publics
    for k in range(WORD):
        yield Attempt(
            f"slot {number}: a segment of another payee",
            (Claim(f"the payee of slot {number}", k),),
            partial(case.given, steady_spans(count)),
            late={publics + PAYEE_PLACE + k: 1},
        )
    for array in UNTOUCHED_ARRAYS:
        for k in range(WORD):
            spans = steady_spans(count)
            place = NUM_COUNTERS + WORD * (array - 1) + k
            for later in range(number, count):
                spans[later][AFTER + place] ^= 1
                if later > number:
                    spans[later][BEFORE + place] ^= 1
            yield Attempt(
                f"slot {number}: a segment changes {array.name}",
                (Claim(f"{array.name} of slot {number}", k),),
                partial(case.given, spans),
                partial(_native_order, spans[number]),
                f"{array.name} changes",
            )


def _native_order(cells: Cells) -> None:
    span = read_span_bytes(Reader(np.array(cells, dtype="<u4").tobytes(), "span"))
    owner = (span.chain, span.shard, span.shards)
    place = (span.first_window, span.first_segment)
    refuse(order_rules(SegmentStatement(*owner, *place, span.before, span.after)))
