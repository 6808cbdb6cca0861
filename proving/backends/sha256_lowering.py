"""Lowers SHA-256 to LLVM IR over vectors of lanes: every lane hashes a message of its own.

Messages come as words in columns, so that the words of neighbouring rows are loaded together. Source: FIPS 180-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from proving.backends.lanes import ALIGN, I32, I64, Loop

BLOCK_WORDS = 16
STATE_WORDS = 8
ROUNDS = 64

VECTORS_TOGETHER = 16
"""Vectors of rows hashed together: 1 KiB of a column at a time, and states of 8 KiB."""

HASH_MESSAGES = "sha256_messages"


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root_fraction(number: int, degree: int) -> int:
    """Returns the first 32 bits after the point of a number's square or cube root."""
    wanted = number << (32 * degree)
    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= wanted else (low, middle)
    return low % 2**32


INITIAL = tuple(_root_fraction(prime, 2) for prime in _primes(STATE_WORDS))
"""The state before the first block."""

CONSTANTS = tuple(_root_fraction(prime, 3) for prime in _primes(ROUNDS))
"""What the rounds add."""


def sha256_module(lanes: int) -> str:
    """Returns the IR of `sha256_messages`.

    sha256_messages(table, blocks, target, size, start, end): word j of the padded message of row i lies, as it stands
    in memory, at address table[2 j] + 4 i table[2 j + 1], so that a step of 0 is a word that all rows share (in
    `lanes` copies); rows start to end, multiples of `lanes`. The (8, size) target holds the digests' words as numbers.
    """
    module = ir.Module("sha256")
    pointer = I32.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64, pointer, I64, I64, I64])
    function = ir.Function(module, kind, HASH_MESSAGES)
    compress = _compression(module, lanes)
    _loops(function, compress, lanes)
    return str(module)


def _loops(function: Any, compress: Any, lanes: int) -> None:
    """Emits the loops over groups of rows, blocks, and the vectors of a group."""
    table, blocks, target, size, start, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = ir.VectorType(I32, lanes)
    states = builder.alloca(vector, ir.Constant(I64, STATE_WORDS * VECTORS_TOGETHER))
    zero, width = ir.Constant(I64, 0), ir.Constant(I64, lanes)
    with Loop(builder, start, end, lanes * VECTORS_TOGETHER) as first:
        limit = builder.add(first, ir.Constant(I64, lanes * VECTORS_TOGETHER))
        last = builder.select(builder.icmp_unsigned("<", limit, end), limit, end)
        count = builder.udiv(builder.sub(last, first), width)
        with Loop(builder, zero, count, 1) as number:
            for word, value in enumerate(INITIAL):
                builder.store(_splat(vector, value), _state(builder, states, number, word))
        with Loop(builder, zero, blocks, 1) as block:
            entries = builder.gep(table, [builder.mul(block, ir.Constant(I64, 2 * BLOCK_WORDS))])
            with Loop(builder, zero, count, 1) as number:
                row = builder.add(first, builder.mul(number, width))
                builder.call(compress, [entries, row, _state(builder, states, number, 0)])
        with Loop(builder, zero, count, 1) as number:
            row = builder.add(first, builder.mul(number, width))
            for word in range(STATE_WORDS):
                place = builder.add(builder.mul(ir.Constant(I64, word), size), row)
                address = builder.bitcast(builder.gep(target, [place]), vector.as_pointer())
                builder.store(builder.load(_state(builder, states, number, word)), address, ALIGN)
    builder.ret_void()


def _state(builder: Any, states: Any, number: Any, word: int) -> Any:
    first = builder.mul(number, ir.Constant(I64, STATE_WORDS))
    return builder.gep(states, [builder.add(first, ir.Constant(I64, word))])


def _splat(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [ir.Constant(I32, value)] * vector.count)


def _compression(module: Any, lanes: int) -> Any:
    """A function (table entries of a block, first row, state) that replaces the state."""
    vector = ir.VectorType(I32, lanes)
    kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64, vector.as_pointer()])
    function = ir.Function(module, kind, "compress_lanes")
    function.linkage = "internal"
    function.attributes.add("noinline")
    entries, row, state = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit = _Words(builder, vector)
    offset = builder.mul(row, ir.Constant(I64, 4))
    schedule = [emit.message_word(entries, offset, word) for word in range(BLOCK_WORDS)]
    places = [builder.gep(state, [ir.Constant(I64, word)]) for word in range(STATE_WORDS)]
    before = [builder.load(place) for place in places]
    current = list(before)
    for number, constant in enumerate(CONSTANTS):
        if number >= BLOCK_WORDS:
            schedule.append(emit.scheduled(schedule))
        current = emit.round(current, schedule[number], constant)
    for place, old, new in zip(places, before, current, strict=True):
        builder.store(builder.add(old, new), place)
    builder.ret_void()
    return function


class _Words:
    """Emits the functions of FIPS 180-4, section 4.1.2, on vectors of words."""

    def __init__(self, builder: Any, vector: Any) -> None:
        self._builder, self._vector = builder, vector
        name = f"v{vector.count}i32"
        module = builder.module
        turn = ir.FunctionType(vector, [vector] * 3)
        self._turn = ir.Function(module, turn, f"llvm.fshr.{name}")
        self._swap = ir.Function(module, ir.FunctionType(vector, [vector]), f"llvm.bswap.{name}")

    def message_word(self, entries: Any, offset: Any, word: int) -> Any:
        """Loads one word of every lane's message."""
        builder = self._builder
        base = builder.load(builder.gep(entries, [ir.Constant(I64, 2 * word)]))
        step = builder.load(builder.gep(entries, [ir.Constant(I64, 2 * word + 1)]))
        address = builder.add(base, builder.mul(offset, step))
        pointer = builder.inttoptr(address, self._vector.as_pointer())
        return builder.call(self._swap, [builder.load(pointer, align=ALIGN)])

    def scheduled(self, schedule: Sequence[Any]) -> Any:
        """Returns the next word of the message schedule."""
        builder = self._builder
        low = self._mixed(schedule[-15], (7, 18), 3)
        high = self._mixed(schedule[-2], (17, 19), 10)
        return builder.add(builder.add(schedule[-16], low), builder.add(schedule[-7], high))

    def round(self, state: list[Any], word: Any, constant: int) -> list[Any]:
        """Returns the state after one round."""
        builder = self._builder
        a, b, c, d, e, f, g, h = state
        chosen = builder.xor(g, builder.and_(e, builder.xor(f, g)))
        known = builder.add(word, _splat(self._vector, constant))
        first = builder.add(
            builder.add(h, self._turned(e, (6, 11, 25))), builder.add(chosen, known)
        )
        majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
        second = builder.add(self._turned(a, (2, 13, 22)), majority)
        return [builder.add(first, second), a, b, c, builder.add(d, first), e, f, g]

    def _turned(self, value: Any, places: Sequence[int]) -> Any:
        parts = [self._rotated(value, place) for place in places]
        return self._builder.xor(self._builder.xor(parts[0], parts[1]), parts[2])

    def _mixed(self, value: Any, places: Sequence[int], shift: int) -> Any:
        parts = [self._rotated(value, place) for place in places]
        shifted = self._builder.lshr(value, _splat(self._vector, shift))
        return self._builder.xor(self._builder.xor(parts[0], parts[1]), shifted)

    def _rotated(self, value: Any, places: int) -> Any:
        return self._builder.call(self._turn, [value, value, _splat(self._vector, places)])
