"""The verifier as a circuit, in transcript order: the twin of `proving.stark.check.verify_stark`.

Shapes, lengths and parameters are the child key's, constants of the circuit. Each step claims what its native
twin checks; the constraint identity runs the very program that prover and native verifier run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, GENERATOR, WORD, P
from proving.arithmetic.ntt import root_of_unity
from proving.recursion.builder import CircuitBuilder
from proving.recursion.layout import ROW_BITS
from proving.recursion.polynomials import Form, affine, element_of, evaluate, weighted_sum
from proving.recursion.public_messages import PublicPlace, public_templates
from proving.recursion.query_circuit import BatchedPoint, QueryCircuit, QueryContext
from proving.recursion.row_chains import evaluate_polynomial
from proving.recursion.sections import ProofPositions
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element, Word
from proving.recursion.transcript import TranscriptCircuit
from proving.stark.commitment_hash import POSEIDON2
from proving.stark.key import PROTOCOL_VERSION, VerifyingKey, key_description
from proving.stark.system import whole_words
from proving.stark.transcript import Label
from schemas.errors import ParameterError


@dataclass(frozen=True, slots=True)
class VerifiedChild:
    """What the circuit knows about a proof that it has verified.

    Attributes:
        publics: Public inputs, base elements.
        public_words: The same in words, the last filled up with zeros.
        key_digest: Digest of the key that the proof is of.
        challenges: Every challenge by label, for comparison with the native transcript.
    """

    publics: list[Element]
    public_words: list[Word]
    key_digest: Word
    challenges: list[tuple[Label, Element]]


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A key that is not a constant of the circuit: one of several with the same constraint system.

    Attributes:
        kind: Its kind, a base element.
        cap_positions: Inputs that hold the cap of its preprocessed columns.
    """

    kind: Element
    cap_positions: Sequence[int]


def verify_child(
    builder: CircuitBuilder, key: VerifyingKey, start: int, open_key: OpenKey | None = None
) -> VerifiedChild:
    """Writes the verification of one proof.

    Args:
        builder: The circuit in the making.
        key: The key that the proof must be of; with an open key, its kind and cap are not looked at.
        start: Input position at which the proof's body begins.
        open_key: Where kind and cap come from. The caller must claim that the key's digest is one it trusts.

    Raises:
        ParameterError: The key's proofs are not made with Poseidon2, the only hash of the circuit.
    """
    if key.parameters.digests is not POSEIDON2:
        raise ParameterError(f"no circuit verifies proofs made with {key.parameters.hash}")
    begun = builder.tape.extent
    child = _Child(builder, key, start, open_key).verify()
    builder.tape.verifications.append((begun, builder.tape.extent))
    return child


class _Child:
    def __init__(
        self, builder: CircuitBuilder, key: VerifyingKey, start: int, open_key: OpenKey | None
    ) -> None:
        self._builder = builder
        self._open_key = open_key
        self._key = key
        self._positions = ProofPositions(key, start)
        self._transcript = TranscriptCircuit(builder)
        self._trees: dict[str, int] = {}
        self._challenges: list[tuple[Label, Element]] = []
        self._opened: dict[str, list[Element]] = {}

    def verify(self) -> VerifiedChild:
        """Writes all steps and returns what is known afterwards."""
        key, builder = self._key, self._builder
        parameters = key.parameters
        digest, kind = self._fix_key()
        publics, public_words = self._open_transcript(digest, kind)
        lookup = self._hear_lookups(publics)
        challenge = self._challenge(Label.CONSTRAINT_CHALLENGE)
        self._absorb_cap(Label.QUOTIENT_CAP, "quotient")
        self._check_work("point_nonce", Label.POINT_GRINDING, parameters.deep_pow_bits)
        point = self._challenge(Label.POINT)
        self._hear_openings()
        self._check_identity(publics, lookup, challenge, point)
        self._check_work("batching_nonce", Label.BATCHING_GRINDING, parameters.batching_pow_bits)
        batching = self._challenge(Label.BATCHING_CHALLENGE)
        folding, final = self._hear_layers()
        self._check_work("query_nonce", Label.QUERY_GRINDING, parameters.query_pow_bits)
        drawn = self._transcript.residues(Label.QUERY_INDICES, parameters.num_queries)
        context = self._context(point, batching, folding, final)
        for number, residue in enumerate(drawn):
            QueryCircuit(builder, context, number).check(residue)
        return VerifiedChild(publics, public_words, digest, self._challenges)

    def _challenge(self, label: Label) -> Element:
        drawn = self._transcript.challenge(label)
        self._challenges.append((label, drawn))
        return drawn

    def _fix_key(self) -> tuple[Word, Word]:
        """Offers the cap of the preprocessed columns; returns the words of key digest and kind."""
        builder, key = self._builder, self._key
        if self._open_key is not None:
            return self._hash_key(self._open_key)
        if len(key.preprocessed_cap):
            tree = self._trees["fixed"] = builder.new_tree("fixed columns")
            sponge = Sponge(builder)
            for position, digest in enumerate(key.preprocessed_cap.tolist()):
                sponge.absorb(builder.constant_word(*digest), tree=tree, position=position)
        return builder.constant_word(*key.digest), builder.constant_word(key.kind)

    def _hash_key(self, open_key: OpenKey) -> tuple[Word, Word]:
        """Computes the digest of a key from its kind and its cap, as `proving.stark.key` does."""
        builder, key = self._builder, self._key
        transcript = TranscriptCircuit(builder)
        constants = [builder.constant(PROTOCOL_VERSION), builder.constant(POSEIDON2.number)]
        transcript.absorb(Label.KIND, 3, [builder.word_of([*constants, open_key.kind])])
        transcript.absorb_constants(Label.KEY_DESCRIPTION, key_description(key.system))
        transcript.absorb_constants(Label.PARAMETERS, key.parameters.elements())
        tree = self._trees["fixed"] = builder.new_tree("fixed columns")
        transcript.absorb_cap(Label.PREPROCESSED_CAP, open_key.cap_positions, tree)
        return transcript.word(Label.KEY), builder.word_of([open_key.kind])

    def _open_transcript(self, digest: Word, kind: Word) -> tuple[list[Element], list[Word]]:
        transcript = self._transcript
        transcript.absorb(Label.KEY_DIGEST, WORD, [digest])
        transcript.absorb_constants(Label.PARAMETERS, self._key.parameters.elements())
        transcript.absorb(Label.KIND, 1, [kind])
        publics, words = self._base_elements("publics")
        transcript.absorb(Label.PUBLICS, len(publics), words)
        return publics, words

    def _base_elements(self, section: str) -> tuple[list[Element], list[Word]]:
        """Reads a section as base elements and as words whose filling is claimed to be zero."""
        builder = self._builder
        places = self._positions.all_of(section)
        filled = [*places, *[builder.tape.num_inputs] * (-len(places) % EXTENSION_DEGREE)]
        elements, words = builder.input_elements(filled, with_words=True)
        cells = [part for element in elements for part in builder.split(element)]
        for surplus in cells[len(places) :]:
            builder.require_equal(f"the filling of {section}", surplus, builder.constant(0))
        return cells[: len(places)], words[: -(-len(places) // WORD)]

    def _absorb_cap(self, label: Label, name: str) -> None:
        """Absorbs a cap and offers its entries."""
        places = self._positions.all_of(f"{name}_cap")
        tree = self._trees[name] = self._builder.new_tree(name)
        self._transcript.absorb_cap(label, places, tree)

    def _check_work(self, section: str, label: Label, bits: int) -> None:
        """Claims that a nonce does its work: the low bits of the residue after it are zeros.

        A residue has two forms of 31 bits if it is below 2^24 - 1, and the greater has seven ones at the top; so
        either one of these or all the others must be zero.
        """
        if not bits:
            return
        builder = self._builder
        nonce = self._base_elements(section)[0][0]
        rest = self._transcript.after_nonce(label, bits, nonce)
        found: list[Element] = []
        for _ in range(30 // ROW_BITS):
            part, rest = builder.low_bits(rest)
            found += part
        builder.require(f"the top bit of {section}", (1, 0, 0, 0, 0), rest, rest, equals=rest)
        found.append(rest)
        zero, product = builder.constant(0), found[24]
        for bit in found[:bits]:
            builder.require_equal(f"the work of {section}", bit, zero)
        for bit in found[25:]:
            product = builder.combine((1, 0, 0, 0, 0), product, bit)
        value = weighted_sum(builder, [(2**place, bit) for place, bit in enumerate(found[:24])])
        builder.require(f"the form of {section}", (1, 0, 0, 0, 0), product, value, equals=zero)

    def _hear_lookups(self, publics: Sequence[Element]) -> list[Form]:
        """Absorbs main and lookup caps; returns the lookup inputs of the constraint program."""
        key, builder = self._key, self._builder
        self._absorb_cap(Label.MAIN_CAP, "main")
        if not key.system.num_groups:
            return []
        self._check_work("lookup_nonce", Label.LOOKUP_GRINDING, key.parameters.lookup_pow_bits)
        alpha = self._challenge(Label.LOOKUP_ALPHA)
        beta = self._challenge(Label.LOOKUP_BETA)
        powers = [beta]
        for _ in range(key.system.message_width - 1):
            powers.append(builder.combine((1, 0, 0, 0, 0), powers[-1], beta))
        total = builder.constant(0)
        for message in public_templates(key.air):
            bottom = builder.combine((0, 1, 0, 0, -message.bus), alpha)
            for value, power in zip(message.values, powers, strict=False):
                if isinstance(value, PublicPlace):
                    weights = (P - 1, 0, 0, 1, 0)
                    bottom = builder.combine(weights, publics[value], power, bottom)
                elif value:
                    bottom = builder.combine((0, P - value, 0, 1, 0), power, None, bottom)
            one = builder.constant(1)
            inverse = builder.divide("a public message's denominator", one, bottom)
            total = builder.combine((0, message.multiplicity, 0, 1, 0), inverse, None, total)
        share = builder.combine((0, pow(2**key.log_height, -1, P), 0, 0, 0), total)
        self._absorb_cap(Label.LOOKUP_CAP, "lookup")
        return [
            affine(part) for element in (alpha, *powers, share) for part in builder.split(element)
        ]

    def _hear_openings(self) -> None:
        layout = self._key.system.layout
        sizes = {
            "fixed": layout.fixed,
            "main": layout.main,
            "lookup": layout.lookup,
            "quotient": self._key.widths["quotient"],
            "main_next": layout.main_next,
            "lookup_next": layout.lookup_next,
        }
        places = [place for name in sizes for place in self._positions.all_of(f"{name}_openings")]
        elements, words = self._builder.input_elements(places, with_words=True)
        self._transcript.absorb(Label.OPENINGS, len(places), words)
        start = 0
        for name, size in sizes.items():
            self._opened[name] = elements[start : start + size]
            start += size

    def _check_identity(
        self,
        publics: Sequence[Element],
        lookup: Sequence[Form],
        challenge: Element,
        point: Element,
    ) -> None:
        """Claims that the combined constraints are the quotient times x^N - 1 at the point."""
        key, builder, opened = self._key, self._builder, self._opened
        raised = self._squared(point, key.log_height)
        selectors = self._selectors(point, raised)
        names = ("fixed", "main", "main_next", "lookup", "lookup_next")
        inputs = [affine(element) for name in names for element in opened[name]]
        inputs += [affine(element) for element in publics]
        inputs += [*selectors, *lookup]
        values = evaluate(builder, key.system.program, inputs)
        total = evaluate_polynomial(
            builder, [element_of(builder, value) for value in values], challenge
        )
        low = opened["quotient"][:EXTENSION_DEGREE]
        high = opened["quotient"][EXTENSION_DEGREE:]
        chunks = [
            builder.combine((1, 0, 0, 1, 0), raised, b, a) for a, b in zip(low, high, strict=True)
        ]
        quotient = evaluate_polynomial(builder, chunks, builder.constant(0, 1))
        weights = (1, 0, P - 1, 0, 0)
        builder.require("the constraints", weights, raised, quotient, equals=total)

    def _squared(self, element: Element, times: int) -> Element:
        for _ in range(times):
            element = self._builder.combine((1, 0, 0, 0, 0), element, element)
        return element

    def _selectors(self, point: Element, raised: Element) -> list[Form]:
        """Returns first, last and transition at a point that is claimed to lie on no domain."""
        key, builder = self._key, self._builder
        one = builder.constant(1)
        vanishing = builder.combine((0, 1, 0, 0, -1), raised)
        builder.divide("a point on the trace domain", one, vanishing)
        unshifted = builder.combine((0, pow(GENERATOR, -1, P), 0, 0, 0), point)
        on_coset = self._squared(unshifted, key.log_size)
        beside = builder.combine((0, 1, 0, 0, -1), on_coset)
        builder.divide("a point on the evaluation domain", one, beside)
        last = pow(root_of_unity(key.log_height), -1, P)
        from_first = builder.combine((0, 1, 0, 0, -1), point)
        from_last = builder.combine((0, 1, 0, 0, -last), point)
        return [
            affine(builder.divide("the first row", vanishing, from_first)),
            affine(builder.divide("the last row", vanishing, from_last)),
            affine(from_last),
        ]

    def _hear_layers(self) -> tuple[list[Element], list[Element]]:
        key = self._key
        folding: list[Element] = []
        for number in range(len(key.schedule)):
            self._absorb_cap(Label.LAYER_CAP, f"layer{number}")
            bits = key.parameters.commit_pow_bits
            self._check_work(f"layer{number}_nonce", Label.FOLDING_GRINDING, bits)
            folding.append(self._challenge(Label.FOLDING_CHALLENGE))
        places = self._positions.all_of("final_polynomial")
        final, words = self._builder.input_elements(places, with_words=True)
        self._transcript.absorb(Label.FINAL_POLYNOMIAL, len(places), words)
        return folding, final

    def _context(
        self,
        point: Element,
        batching: Element,
        folding: Sequence[Element],
        final: Sequence[Element],
    ) -> QueryContext:
        """Sums what is opened with the batching weights of `proving.stark.protocol`."""
        key, builder, opened = self._key, self._builder, self._opened
        powers = [batching]
        for _ in range(3):
            powers.append(builder.combine((1, 0, 0, 0, 0), powers[-1], batching))
        here = self._weighted([opened[name] for name in key.widths], batching)
        following, next_weight = None, builder.constant(1)
        rows = [opened[name] for name in ("main_next", "lookup_next") if opened[name]]
        if rows:
            root = root_of_unity(key.log_height)
            successor = builder.combine((0, root, 0, 0, 0), point)
            following = BatchedPoint(successor, self._weighted(rows, batching))
            next_weight = self._power(batching, sum(map(whole_words, key.widths.values())))
        return QueryContext(
            key=key,
            positions=self._positions,
            trees=self._trees,
            powers=powers,
            here=BatchedPoint(point, here),
            following=following,
            next_weight=next_weight,
            folding=folding,
            final=final,
        )

    def _weighted(self, rows: Sequence[Sequence[Element]], challenge: Element) -> Element:
        """Returns sum_j challenge^j value_j, each row filled up to whole words."""
        builder, values = self._builder, list[Element]()
        for row in rows:
            values += [*row, *[builder.constant(0)] * (whole_words(len(row)) - len(row))]
        return evaluate_polynomial(builder, values, challenge)

    def _power(self, base: Element, exponent: int) -> Element:
        builder, result = self._builder, None
        while exponent:
            if exponent & 1:
                result = base if result is None else builder.combine((1, 0, 0, 0, 0), result, base)
            base = builder.combine((1, 0, 0, 0, 0), base, base)
            exponent >>= 1
        return builder.constant(1) if result is None else result
