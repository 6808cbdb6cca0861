"""Writes circuits for the recursion AIR: about a dozen calls over addresses that are written once.

Every call that returns an address is its one writer; a second claim about a known address reads it. What a
call needs must be known before, so a circuit is written in the order in which a verifier works. Inputs are
named by position in one flat vector of base elements, the proofs that the circuit is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.recursion.layout import CELLS, FMA_SLOTS, ROW_BITS, ROW_WORDS, SLOTS
from proving.recursion.tape import (
    NOTHING,
    Bits,
    Element,
    Move,
    MultiplyAdd,
    Permutation,
    Source,
    Split,
    Tape,
    Unknown,
    Word,
)
from schemas.errors import ParameterError


class CircuitBuilder:
    """A circuit in the making.

    Attributes:
        tape: What has been written so far.
    """

    def __init__(self, num_publics: int, num_inputs: int) -> None:
        """Starts an empty circuit.

        Args:
            num_publics: Public words.
            num_inputs: Length of the private input vector; position `num_inputs` is a zero.
        """
        self.tape = Tape(num_publics, num_inputs)
        self.tape.word_levels = [0] * num_publics
        self._constants: dict[tuple[int, ...], Element] = {}
        self._constant_words: dict[tuple[int, ...], Word] = {}

    def public_word(self, number: int) -> Word:
        """Returns a public word.

        Raises:
            ParameterError: There is no such word.
        """
        if not 0 <= number < self.tape.num_publics:
            raise ParameterError(f"public word {number} of {self.tape.num_publics}")
        return Word(number)

    # Arithmetic

    def constant(self, *coordinates: int) -> Element:
        """Returns a constant, its missing coordinates zero; equal constants share an address."""
        padded = tuple(value % P for value in coordinates) + (0,) * (
            EXTENSION_DEGREE - len(coordinates)
        )
        if padded not in self._constants:
            if any(padded[1:]):
                found = self.join([self.constant(value) for value in padded])
            else:
                found = self.combine((0, 0, 0, 0, padded[0]))
            self._constants[padded] = found
        return self._constants[padded]

    def combine(
        self,
        weights: tuple[int, int, int, int, int],
        a: Element | None = None,
        b: Element | None = None,
        c: Element | None = None,
        *,
        cross: int = 0,
    ) -> Element:
        """Returns (k0 a + cross c) b + k1 a + k2 b + k3 c + k4 for weights (k0, ..., k4), base elements."""
        slots = self._slots(a, b, c)
        level = self.level_of(slots[:3])
        out = self.new_element(level)
        self._multiply_add((*slots[:3], out), (*weights, 1, cross), Unknown.RESULT, "", level)
        return out

    def require(
        self,
        what: str,
        weights: tuple[int, int, int, int, int],
        a: Element,
        b: Element | None = None,
        *,
        c: Element | None = None,
        cross: int = 0,
        equals: Element,
    ) -> None:
        """Claims that (k0 a + cross c) b + k1 a + k2 b + k3 c + k4 is a known element.

        Args:
            what: Says what is wrong when it does not hold.
            weights: (k0, ..., k4).
            a: First factor.
            b: Second factor.
            c: Summand, and with a weight `cross` a second first factor.
            cross: Weight of c b.
            equals: The element it must be.
        """
        slots = (*self._slots(a, b, c)[:3], equals)
        level = self.level_of(slots)
        self._multiply_add(slots, (*weights, 1, cross), Unknown.NONE, what, level)

    def require_equal(self, what: str, a: Element, b: Element) -> None:
        """Claims that two known elements are equal."""
        self.require(what, (0, 1, 0, 0, 0), a, equals=b)

    def divide(
        self, what: str, numerator: Element, denominator: Element, minus: Element | None = None
    ) -> Element:
        """Returns the q with q * (denominator - minus) = numerator; the program must make the difference nonzero.

        A difference of zero makes the circuit unsatisfiable unless the numerator is zero too; then every
        q passes, so only use it where one of them cannot vanish.
        """
        subtracted = NOTHING if minus is None else minus
        level = self.level_of((numerator, denominator, subtracted))
        found = self.new_element(level)
        slots = (denominator, found, subtracted, numerator)
        weights = (1, 0, 0, 0, 0, 1, 0 if minus is None else P - 1)
        self._multiply_add(slots, weights, Unknown.FACTOR, what, level)
        return found

    def _multiply_add(
        self,
        slots: Sequence[int],
        weights: Sequence[int],
        unknown: Unknown,
        what: str,
        level: int,
    ) -> None:
        a, b, c, out = slots
        k0, k1, k2, k3, k4, k5, k6 = (weight % P for weight in weights)
        record = MultiplyAdd((a, b, c, out), (k0, k1, k2, k3, k4, k5, k6), unknown, what, level)
        self.tape.multiply_adds.append(record)

    def split(self, whole: Element) -> list[Element]:
        """Returns the five coordinates of an element as base elements."""
        level = self.level_of((whole,))
        parts = [self.new_element(level) for _ in range(EXTENSION_DEGREE)]
        self.tape.splits.append(Split(whole, tuple(parts), joins=False, level=level))
        return parts

    def join(self, parts: Sequence[Element]) -> Element:
        """Returns the element with five base elements as coordinates; claims that they are base elements."""
        if len(parts) != EXTENSION_DEGREE:
            raise ParameterError(f"an element has {EXTENSION_DEGREE} coordinates")
        level = self.level_of(parts)
        whole = self.new_element(level)
        self.tape.splits.append(Split(whole, tuple(parts), joins=True, level=level))
        return whole

    def low_bits(self, value: Element) -> tuple[list[Element], Element]:
        """Takes six bits off a base element: value = sum 2^j bit_j + 64 rest.

        The rest is any base element: its size is the caller's to claim.
        """
        level = self.level_of((value,))
        bits = [self.new_element(level) for _ in range(ROW_BITS)]
        rest = self.new_element(level)
        self.tape.bits.append(Bits(value, tuple(bits), rest, level))
        return bits, rest

    # Moving between elements and words

    def pack(self, elements: Sequence[Element]) -> list[Word]:
        """Writes elements as words, cell after cell; the last word is filled up with zeros.

        Returns:
            ceil(5 len / 8) words.
        """
        words: list[Word] = []
        zero = self.constant(0)
        for start in range(0, len(elements), SLOTS):
            part = list(elements[start : start + SLOTS])
            count = -(-len(part) * EXTENSION_DEGREE // WORD)
            part += [zero] * (SLOTS - len(part))
            level = self.level_of(part)
            made = [self.new_word(level) for _ in range(count)]
            self._move(part, made, Source.ELEMENTS, written=0, level=level)
            words += made
        return words

    def unpack(self, words: Sequence[Word]) -> list[Element]:
        """Reads at most five words as elements; cells past the last word are not bound to anything.

        Returns:
            As many elements as lie wholly in the words.
        """
        if not 1 <= len(words) <= ROW_WORDS:
            raise ParameterError(f"one row unpacks 1..{ROW_WORDS} words, got {len(words)}")
        level = self.level_of_words(words)
        count = len(words) * WORD // EXTENSION_DEGREE
        elements = [self.new_element(level) for _ in range(count)]
        self._move(elements, words, Source.WORDS, written=count, level=level)
        return elements

    def cells_of(self, word: Word) -> list[Element]:
        """Returns the eight cells of a word as base elements."""
        level = self.level_of_words((word,))
        elements = [self.new_element(level), self.new_element(level)]
        self._move(elements, (word,), Source.WORDS, written=len(elements), level=level)
        return [part for element in elements for part in self.split(element)][:WORD]

    def word_of(self, cells: Sequence[Element]) -> Word:
        """Returns the word of at most eight base elements, the missing ones zero."""
        padded = [*cells, *[self.constant(0)] * (2 * EXTENSION_DEGREE - len(cells))]
        joined = [self.join(padded[:EXTENSION_DEGREE]), self.join(padded[EXTENSION_DEGREE:])]
        return self.pack(joined)[0]

    def constant_word(self, *cells: int) -> Word:
        """Returns a constant word, its missing cells zero; equal constants share an address."""
        padded = tuple(value % P for value in cells) + (0,) * (WORD - len(cells))
        if padded not in self._constant_words:
            halves = [self.constant(*padded[:5]), self.constant(*padded[5:])]
            self._constant_words[padded] = self.pack(halves)[0]
        return self._constant_words[padded]

    def input_elements(
        self, positions: Sequence[int], *, with_words: bool
    ) -> tuple[list[Element], list[Word]]:
        """Reads elements from the input, five positions each, and the same cells as words.

        Args:
            positions: Inputs; a multiple of five. The cells of the last row that none fills are zero.
            with_words: Whether the words are wanted.

        Returns:
            The elements, and ceil(len / 8) words or none.
        """
        elements: list[Element] = []
        words: list[Word] = []
        for start in range(0, len(positions), CELLS):
            part = tuple(positions[start : start + CELLS])
            count = len(part) // EXTENSION_DEGREE
            row = [self.new_element(0) for _ in range(count)]
            made = [self.new_word(0) for _ in range(-(-len(part) // WORD))] if with_words else []
            known: list[Element] = list(row)
            if with_words and len(part) % WORD:
                known += [self.constant(0)] * (SLOTS - count)
            padded = part + (self.tape.num_inputs,) * (CELLS - len(part))
            self._move(known, made, Source.INPUT, written=count, level=0, positions=padded)
            elements += row
            words += made
        return elements, words

    def _move(
        self,
        elements: Sequence[int],
        words: Sequence[int],
        source: Source,
        *,
        written: int,
        level: int,
        positions: tuple[int, ...] = (),
    ) -> None:
        slots = (*elements, *[NOTHING] * (SLOTS - len(elements)))
        places = (*words, *[NOTHING] * (ROW_WORDS - len(words)))
        self.tape.moves.append(Move(slots, places, written, source, positions, level))

    # Hashing

    def new_tree(self, name: str) -> int:
        """Returns a number for a tree whose cap the circuit offers; the name is for errors."""
        self.tape.trees.append(name)
        return len(self.tape.trees)

    def new_chain(self) -> list[Permutation]:
        """Returns a chain of rows of the permutation lane, to be filled by a `Sponge`."""
        chain: list[Permutation] = []
        self.tape.chains.append(chain)
        return chain

    # Addresses

    def _slots(self, *elements: Element | None) -> list[int]:
        given = [NOTHING if element is None else element for element in elements]
        return given + [NOTHING] * (FMA_SLOTS - len(given))

    def level_of(self, elements: Iterable[int]) -> int:
        """Returns the first round in which all of these are known."""
        levels = self.tape.element_levels
        return max((levels[element] + 1 for element in elements if element != NOTHING), default=0)

    def level_of_words(self, words: Iterable[int]) -> int:
        """Returns the first round in which all of these are known."""
        levels = self.tape.word_levels
        return max((levels[word] + 1 for word in words), default=0)

    def new_element(self, level: int) -> Element:
        """Returns an address that the caller's row writes at a level."""
        self.tape.element_levels.append(level)
        return Element(len(self.tape.element_levels) - 1)

    def new_word(self, level: int) -> Word:
        """Returns an address that the caller's row writes at a level."""
        self.tape.word_levels.append(level)
        return Word(len(self.tape.word_levels) - 1)
