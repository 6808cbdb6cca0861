"""What a verifier must reject, item by item of the list of known failures of proof systems.

Each test's name starts with the item it covers. Items 1 (layout), 6, 8, 9, 11, 12, 13, 19, 21, 23 and 31
have more tests beside the module they concern.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.backends.port import FieldArray
from proving.backends.reference import ReferenceBackend
from proving.commitments.merkle import climb, commit_rows, hash_opened_rows
from proving.errors import ProofError, ProofMalformed
from proving.prover import prove_stark
from proving.stark.air import PublicMessage, Row
from proving.stark.check import verify_stark
from proving.stark.encoding import HEADER_BYTES, decode_proof, encode_proof
from proving.stark.key import PROTOCOL_VERSION, make_verifying_key
from proving.stark.parameters import ProofParameters
from proving.stark.protocol import open_transcript
from proving.stark.setup import make_proving_key
from proving.stark.system import compile_air
from proving.stark.transcript import Label, Transcript, TranscriptEvent
from schemas.errors import ParameterError
from tests.suites.circuits import (
    A,
    B,
    Exchange,
    F,
    Fibonacci,
    G,
    M,
    Q,
    U,
    V,
    W,
    X,
    Y,
    fibonacci_columns,
    violations,
)
from tests.suites.proofs import (
    BACKEND,
    GRINDING,
    SMALL,
    Circuit,
    check,
    element_at,
    forged_proof,
    honest_proof,
    proving_key,
    refusal,
    section_offsets,
    with_element,
    with_header_of,
)


def _challenges(events: tuple[TranscriptEvent, ...]) -> list[tuple[int, ...]]:
    return [event.values for event in events if event.action == "challenge"]


@pytest.mark.parametrize("air", [Fibonacci(), Exchange()])
def test_item_01_a_flipped_bit_in_any_field_is_rejected(air: Circuit) -> None:
    """Item 1: every section, first, last and random places, random bits."""
    key, data = proving_key(air, GRINDING), honest_proof(air, GRINDING).data
    rng = np.random.default_rng(1)
    for start, size in section_offsets(key.verifying_key).values():
        for place in {0, size - 1, int(rng.integers(size))}:
            offset = start + 4 * place + int(rng.integers(4))
            flipped = bytearray(data)
            flipped[offset] ^= 1 << int(rng.integers(8))
            assert refusal(key, bytes(flipped))
    for offset in range(HEADER_BYTES):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << int(rng.integers(8))
        assert refusal(key, bytes(flipped))


def _variants() -> dict[str, tuple[Circuit, ProofParameters, int]]:
    base = Exchange()
    variants: dict[str, tuple[Circuit, ProofParameters, int]] = {
        "kind": (base, SMALL, 8),
        "another constraint": (replace(base, without="wrap"), SMALL, 7),
        "fixed values": (replace(base, table_offset=1), SMALL, 7),
        "height": (replace(base, log_height=6), SMALL, 7),
        "name": (replace(base, name="other"), SMALL, 7),
    }
    for field in fields(ProofParameters):
        if field.name == "hash":
            variants["hash"] = (base, replace(SMALL, hash="sha256"), 7)
            continue
        step = -1 if field.name == "log_arity" else 1
        changed = replace(SMALL, **{field.name: getattr(SMALL, field.name) + step})
        variants[field.name] = (base, changed, 7)
    return variants


@pytest.mark.parametrize("name", _variants())
def test_item_02_every_part_of_the_key_changes_every_challenge(name: str) -> None:
    """Item 2: circuit, preprocessed columns, height, kind and each parameter; the proof is rejected."""
    air, parameters, kind = _variants()[name]
    honest, key = honest_proof(Exchange()), proving_key(air, parameters, kind)
    assert key.verifying_key.digest != proving_key(Exchange()).verifying_key.digest
    publics, trace = air.witness()
    other = prove_stark(key, publics, trace, BACKEND)
    assert not set(_challenges(honest.events)) & set(_challenges(other.events))
    assert refusal(key, honest.data) == "unknown_key"
    assert refusal(key, with_header_of(key.verifying_key, honest.data))


def test_item_02_public_inputs_change_every_challenge() -> None:
    """Item 2: and each changed public input is rejected."""
    key, honest = proving_key(Exchange()), honest_proof(Exchange())
    publics, trace = Exchange().witness()
    start = section_offsets(key.verifying_key)["publics"][0]
    for place in range(len(publics)):
        changed = list(publics)
        changed[place] = (changed[place] + 1) % P
        forged = prove_stark(key, changed, trace, BACKEND, check_witness=False)
        assert not set(_challenges(honest.events)) & set(_challenges(forged.events))
        assert refusal(key, with_element(honest.data, start + 4 * place, changed[place]))
        assert refusal(key, forged.data) == "constraints_not_satisfied"


def test_item_02_other_messages_of_the_verifier_are_another_key() -> None:
    """Item 2: what the verifier itself puts on the buses is part of the circuit, and of the digest."""

    class Silent(Exchange):
        def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
            return super().public_messages(publics)[:1]

    class Crossed(Exchange):
        def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
            return super().public_messages([*publics[:2], publics[3], publics[2], publics[4]])

    class Doubled(Exchange):
        def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
            first, second = super().public_messages(publics)
            return [first, replace(second, multiplicity=-2)]

    circuits: list[Circuit] = [Exchange(), Silent(), Crossed(), Doubled()]
    assert len({compile_air(air).fingerprint for air in circuits}) == len(circuits)
    for air in circuits[1:]:
        stranger = proving_key(air)
        assert stranger.verifying_key.digest != proving_key(Exchange()).verifying_key.digest
        assert refusal(stranger, honest_proof(Exchange()).data) == "unknown_key"


def test_item_02_the_column_that_is_read_at_the_next_row_is_part_of_the_key() -> None:
    """Item 2: the same claim over another column's next value."""

    @dataclass(frozen=True)
    class Reads(Fibonacci):
        column: int = 0

        def constraints(self, row: Row) -> None:
            row.zero_on_transition("step", row.next[self.column] - row.local[0])

    first, second = (compile_air(Reads(column=column)) for column in (0, 1))
    assert first.layout == second.layout
    assert first.program != second.program
    assert first.fingerprint != second.fingerprint


def test_item_02_another_permutation_is_another_key() -> None:
    """Item 2: the hash is part of the digest, because the digest is computed with it."""

    class Twisted(ReferenceBackend):
        def permute(self, states: FieldArray) -> FieldArray:
            changed: FieldArray = super().permute(states[:, ::-1])
            return changed

    key = proving_key(Exchange()).verifying_key
    twisted = make_verifying_key(7, key.air, SMALL, key.preprocessed_cap, Twisted())
    assert twisted.digest != key.digest
    with pytest.raises(ProofError):
        verify_stark(key, None, honest_proof(Exchange()).data, Twisted())


GOLDEN_ORDER = """
absorb key_digest, absorb parameters, absorb kind, absorb publics, absorb main_cap,
grinding lookup_grinding, challenge lookup_alpha, challenge lookup_beta, absorb lookup_cap,
challenge constraint_challenge, absorb quotient_cap, grinding point_grinding, challenge point,
absorb openings, grinding batching_grinding, challenge batching_challenge, absorb layer_cap,
grinding folding_grinding, challenge folding_challenge, absorb layer_cap, grinding folding_grinding,
challenge folding_challenge, absorb final_polynomial, grinding query_grinding, indices query_indices
"""


def test_item_03_the_transcript_order_is_pinned() -> None:
    """Items 3, 4 and 23: everything is absorbed before the next challenge is drawn."""
    events = honest_proof(Exchange(), GRINDING).events
    order = [f"{event.action} {event.label.name.lower()}" for event in events]
    assert order == [part.strip() for part in GOLDEN_ORDER.split(",")]


def _replay(events: tuple[TranscriptEvent, ...], skipped: int) -> list[tuple[int, ...]]:
    """Says everything again but one message and returns what is drawn."""
    transcript = Transcript(BACKEND)
    for number, event in enumerate(events):
        if event.action == "absorb" and number != skipped:
            transcript.absorb(event.label, event.values)
        elif event.action == "challenge":
            transcript.challenge(event.label)
        elif event.action == "grinding" and number != skipped:
            transcript.check_nonce(event.label, *event.values)
        elif event.action == "indices":
            transcript.indices(event.label, len(event.values), 7)
    drawn = ("challenge", "indices")
    return [event.values for event in transcript.events if event.action in drawn]


def test_item_03_without_any_one_message_everything_drawn_after_it_differs() -> None:
    """Item 3: each absorb and each nonce matters; replaying all of them reproduces the transcript."""
    events = honest_proof(Exchange(), GRINDING).events
    said = [n for n, event in enumerate(events) if event.action in {"absorb", "grinding"}]
    honest = _replay(events, -1)
    assert honest == [e.values for e in events if e.action in {"challenge", "indices"}]
    for number in said:
        before = sum(event.action in {"challenge", "indices"} for event in events[:number])
        mutant = _replay(events, number)
        assert mutant[:before] == honest[:before]
        assert all(a != b for a, b in zip(mutant[before:], honest[before:], strict=True))


def test_item_04_openings_chosen_after_the_batching_challenge_do_not_help() -> None:
    """Item 4: two openings moved so that the batched value stays; the challenge moves with them."""
    key, proof = proving_key(Exchange()), honest_proof(Exchange())
    values = dict(decode_proof(key.verifying_key, proof.data))
    drawn = [event.values for event in proof.events if event.label is Label.BATCHING_CHALLENGE]
    openings = values["main_openings"].copy()
    openings[0], openings[1] = openings[1], openings[0]
    values["main_openings"] = openings
    forged = encode_proof(key.verifying_key, values)
    assert refusal(key, forged) == "constraints_not_satisfied"
    transcript = Transcript(BACKEND)
    for event in proof.events:
        if event.label is Label.BATCHING_CHALLENGE:
            break
        if event.action == "absorb":
            changed = event.label is Label.OPENINGS
            transcript.absorb(event.label, event.values[::-1] if changed else event.values)
    assert transcript.challenge(Label.BATCHING_CHALLENGE) != drawn[0]


def test_item_05_a_proof_of_one_kind_is_no_proof_of_another() -> None:
    """Item 5: the same circuit and trace under two kinds."""
    data = honest_proof(Exchange()).data
    other = proving_key(Exchange(), SMALL, 8)
    assert refusal(other, data) == "unknown_key"
    assert refusal(other, with_header_of(other.verifying_key, data))


def test_item_06_a_final_polynomial_of_another_length_does_not_parse() -> None:
    """Item 6: one coefficient more or less changes the length of the proof."""
    key, data = proving_key(Exchange()), honest_proof(Exchange()).data
    start, size = section_offsets(key.verifying_key)["final_polynomial"]
    end = start + 4 * size
    assert refusal(key, data[: end - 20] + data[end:]) == "truncated"
    assert refusal(key, data[:end] + bytes(20) + data[end:]) == "trailing_bytes"


@pytest.mark.parametrize(
    "change",
    [
        {"num_queries": 1},
        {"log_arity": 1},
        {"log_final_length": 3},
        {"log_blowup": 1},
        {"log_cap": 0},
        {"query_pow_bits": 0},
    ],
)
def test_item_07_a_proof_with_weaker_settings_is_rejected(change: dict[str, Any]) -> None:
    """Item 7: fewer queries, other arity, fewer rounds, smaller blow-up: the key decides."""
    weak, strong = proving_key(Exchange(), replace(SMALL, **change)), proving_key(Exchange())
    data = honest_proof(Exchange(), replace(SMALL, **change)).data
    assert check(weak, data)
    assert refusal(strong, with_header_of(strong.verifying_key, data))


def test_item_07_queries_that_all_repeat_the_first_are_rejected() -> None:
    """Item 7: duplicates are answered where the transcript draws them and nowhere else."""
    key = proving_key(Exchange())
    values = dict(decode_proof(key.verifying_key, honest_proof(Exchange()).data))
    for name, array in values.items():
        if name.endswith(("_rows", "_paths", "_leaves")):
            values[name] = np.repeat(array[:1], len(array), axis=0)
    assert refusal(key, encode_proof(key.verifying_key, values)) == "merkle_path"


def test_item_10_paths_bind_row_width_place_and_depth() -> None:
    """Item 10: wrong sibling, wrong leaf, another row split, a node shown as a leaf."""
    rng = np.random.default_rng(3)
    columns = rng.integers(0, P, (11, 32), dtype=np.uint32)
    tree = commit_rows(BACKEND, columns, 2)
    indices = np.array([0, 5, 31, 5], dtype=np.uint32)
    rows, paths = columns[:, indices].T, tree.paths(indices)
    wanted = tree.cap[indices >> 3]

    def tops(rows: FieldArray, where: FieldArray, paths: FieldArray) -> list[list[int]]:
        found: list[list[int]] = climb(
            BACKEND, hash_opened_rows(BACKEND, rows), where, paths
        ).tolist()
        return found

    assert tops(rows, indices, paths) == wanted.tolist()
    swapped = paths[:, ::-1]
    assert all(a != b for a, b in zip(tops(rows, indices, swapped), wanted.tolist(), strict=True))
    assert tops(rows, indices ^ np.uint32(1), paths) != wanted.tolist()
    assert tops(rows, indices, paths[:, :-1]) != wanted.tolist()
    padded = np.concatenate([rows, np.zeros((4, 1), np.uint32)], axis=1)
    assert not set(map(tuple, hash_opened_rows(BACKEND, padded).tolist())) & set(
        map(tuple, hash_opened_rows(BACKEND, rows).tolist())
    )
    children = tree.levels[0][:2].reshape(1, 16).astype(np.uint32)
    assert hash_opened_rows(BACKEND, children).tolist() != tree.levels[1][:1].tolist()


def test_item_10_a_preprocessed_cap_of_another_length_is_refused() -> None:
    """Item 10: cap length is a setting."""
    key = proving_key(Exchange()).verifying_key
    with pytest.raises(ParameterError, match="digests"):
        make_verifying_key(7, key.air, SMALL, key.preprocessed_cap[:-1], BACKEND)
    with pytest.raises(ParameterError, match="digests"):
        make_verifying_key(7, Fibonacci(), SMALL, key.preprocessed_cap, BACKEND)


@pytest.mark.parametrize("bits", [25, 31, 32, 64, -1])
def test_item_11_grinding_bits_outside_the_field_are_refused(bits: int) -> None:
    """Item 11: 0 bits means no nonce; 25 and more do not exist."""
    for name in ("batching", "commit", "deep", "lookup", "query"):
        with pytest.raises(ParameterError, match=f"{name}_pow_bits"):
            replace(SMALL, **{f"{name}_pow_bits": bits})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["main_openings", "fixed_openings", "lookup_openings"])
def test_item_14_openings_swapped_between_columns_are_rejected(name: str) -> None:
    """Item 14."""
    key = proving_key(Exchange())
    values = dict(decode_proof(key.verifying_key, honest_proof(Exchange()).data))
    values[name] = np.roll(values[name], 1, axis=0)
    assert refusal(key, encode_proof(key.verifying_key, values)) == "constraints_not_satisfied"


def test_item_14_rows_and_quotient_chunks_cannot_be_swapped() -> None:
    """Item 14: next row for this row, high chunk for low chunk."""
    key = proving_key(Exchange())
    honest = decode_proof(key.verifying_key, honest_proof(Exchange()).data)
    here, after = honest["main_openings"].copy(), honest["main_next_openings"].copy()
    for column in range(key.verifying_key.system.layout.main_next):
        here[column], after[column] = after[column].copy(), here[column].copy()
    rows = {**honest, "main_openings": here, "main_next_openings": after}
    chunks = {**honest, "quotient_openings": np.roll(honest["quotient_openings"], 5, axis=0)}
    for values in (rows, chunks):
        forged = encode_proof(key.verifying_key, values)
        assert refusal(key, forged) == "constraints_not_satisfied"


@pytest.mark.parametrize("domain", ["all", "first", "last", "transition"])
def test_item_14_a_constraint_that_two_quotient_chunks_cannot_hold_is_refused(domain: str) -> None:
    """Item 14: the degree is measured, not declared; selectors of the end rows count."""
    allowed = 2 if domain in ("first", "last") else 3

    class Steep(Fibonacci):
        power: int = allowed

        def constraints(self, row: Row) -> None:
            super().constraints(row)
            steep = row.local[A]
            for _ in range(self.power - 1):
                steep = steep * row.next[B]
            claim = {
                "all": row.zero,
                "first": row.zero_on_first,
                "last": row.zero_on_last,
                "transition": row.zero_on_transition,
            }
            claim[domain]("steep", steep)

    class Steeper(Steep):
        power: int = allowed + 1

    assert compile_air(Steep()).degree == 3
    with pytest.raises(ParameterError, match="'steep' has degree 4, at most 3"):
        compile_air(Steeper())


Mutation = Callable[[list[int], FieldArray], None]


def _start(first: int, second: int) -> Mutation:
    def change(publics: list[int], trace: FieldArray) -> None:
        trace[A], trace[B] = fibonacci_columns(first, second, trace.shape[1])
        publics[1] = int(trace[A, -1])

    return change


def _cells(cells: dict[tuple[int, int], int]) -> Mutation:
    def change(publics: list[int], trace: FieldArray) -> None:
        for (column, row), value in cells.items():
            trace[column, row] = value % P

    return change


def _later_start(publics: list[int], trace: FieldArray) -> None:
    """b restarts in the middle; a still follows b."""
    a, b = fibonacci_columns(int(trace[A, 9]), 77, trace.shape[1] - 9)
    trace[A, 9:], trace[B, 9:] = a, b
    publics[1] = int(trace[A, -1])


def _broken_shift(publics: list[int], trace: FieldArray) -> None:
    """a jumps in the middle and the pair goes on from there."""
    b = (int(trace[A, 8]) + int(trace[B, 8])) % P
    a, tail = fibonacci_columns(77, b, trace.shape[1] - 9)
    trace[A, 9:], trace[B, 9:] = a, tail
    publics[1] = int(trace[A, -1])


def _double_send(publics: list[int], trace: FieldArray) -> None:
    """Row 1 sends its pair twice, row 2 none; the receiver of row 2's pair takes row 1's instead."""
    trace[F, 1], trace[F, 2] = 2, 0
    trace[U, 9], trace[W, 9] = trace[X, 1], trace[Y, 1]


def _double_receive(publics: list[int], trace: FieldArray) -> None:
    """Rows 1 and 2 send equal pairs; one row receives both."""
    trace[X, 2], trace[Y, 2], trace[Q, 2] = trace[X, 1], trace[Y, 1], trace[Q, 1]
    trace[G, 7], trace[G, 9] = 2, 0
    assert (trace[U, 7], trace[W, 7]) == (trace[X, 1], trace[Y, 1])


def _padding(flag: int) -> Mutation:
    """A message from a padding row, balanced by one that an honest row leaves out."""

    def change(publics: list[int], trace: FieldArray) -> None:
        row, place = {F: (1, 29), G: (7, 29)}[flag]
        for column in {F: (F, X, Y, Q), G: (G, U, W)}[flag]:
            trace[column, place] = trace[column, row]
        trace[flag, row] = 0

    return change


MUTATIONS: dict[str, Mutation] = {
    "first a": _start(4, 1),
    "first b": _start(3, 2),
    "shift": _broken_shift,
    "add": _later_start,
    "out": lambda publics, trace: publics.__setitem__(1, publics[1] ^ 1),
    "f boolean": _double_send,
    "g boolean": _double_receive,
    "f padding": _padding(F),
    "g padding": _padding(G),
    "cube": lambda publics, trace: trace.__setitem__((Q, 20), trace[Q, 20] ^ 1),
    "wrap": lambda publics, trace: trace.__setitem__((W, 31), trace[W, 31] ^ 1),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_item_15_a_witness_that_breaks_one_constraint_is_rejected(name: str) -> None:
    """Items 15 and 16: first, last, transition, wrap-around and padding, each alone.

    Without that constraint the same forgery is accepted, so it was the one that mattered.
    """
    publics, trace = Exchange().witness()
    MUTATIONS[name](publics, trace)
    assert violations(Exchange(), trace, publics) == {name}
    forged = forged_proof(Exchange(), publics, trace)
    assert refusal(proving_key(Exchange()), forged) == "constraints_not_satisfied"
    weaker = Exchange(without=name)
    assert check(proving_key(weaker), forged_proof(weaker, publics, trace))


def test_item_15_every_constraint_of_the_circuit_has_its_forgery() -> None:
    """Item 15: coverage is 100 %."""
    system = compile_air(Exchange())
    assert {name for name in system.names if "lookup" not in name} == set(MUTATIONS)


def test_item_17_heights_are_the_keys_and_powers_of_two_in_range() -> None:
    """Item 17: 0, too small, above the two-adicity; a proof of another height is rejected."""
    for log_height in (0, 1, 23, 24, 40):
        with pytest.raises(ParameterError):
            make_verifying_key(7, Fibonacci(log_height), SMALL, [], BACKEND)
    small, large = proving_key(Exchange()), proving_key(Exchange(6))
    for key, data in (
        (small, honest_proof(Exchange(6)).data),
        (large, honest_proof(Exchange()).data),
    ):
        assert refusal(key, with_header_of(key.verifying_key, data))


def test_item_18_fixed_columns_of_another_shape_or_value_are_refused() -> None:
    """Item 18: a prover with another table cannot meet the key's preprocessed commitment."""

    class Short(Exchange):
        def fixed_columns(self) -> FieldArray:
            return super().fixed_columns()[:, :16]

    with pytest.raises(ParameterError, match="fixed columns"):
        make_proving_key(7, Short(), SMALL, BACKEND)
    key, other = proving_key(Exchange()), proving_key(Exchange(table_offset=1))
    publics, trace = Exchange(table_offset=1).witness()
    mixed = replace(other, verifying_key=key.verifying_key)
    data = prove_stark(mixed, publics, trace, BACKEND).data
    assert refusal(key, data) == "merkle_path"


BUS_MUTATIONS: dict[str, tuple[str, Mutation]] = {
    "use": ("bus range", _cells({(V, 4): 40})),
    "table": ("bus range", _cells({(M, 4): 40})),
    "pair out": ("bus pair", _cells({(Y, 2): 1})),
    "pair in": ("bus pair", _cells({(W, 7): 1})),
    "note": ("bus note", lambda publics, trace: publics.__setitem__(4, publics[4] ^ 1)),
}


@pytest.mark.parametrize("name", BUS_MUTATIONS)
def test_item_20_a_bus_that_does_not_balance_is_rejected(name: str) -> None:
    """Item 20: for every message of the circuit; the sum is compared with the verifier's own."""
    bus, mutate = BUS_MUTATIONS[name]
    publics, trace = Exchange().witness()
    mutate(publics, trace)
    assert violations(Exchange(), trace, publics) == {bus}
    forged = forged_proof(Exchange(), publics, trace)
    assert refusal(proving_key(Exchange()), forged) == "constraints_not_satisfied"


def test_item_20_every_message_of_the_circuit_has_its_forgery() -> None:
    """Item 20: coverage is 100 %."""
    assert len(BUS_MUTATIONS) == compile_air(Exchange()).num_interactions


def test_item_21_a_pair_does_not_pay_for_a_single_value() -> None:
    """Item 21: (a, 0) on one bus and (a) on another stay apart, although one number is the other."""
    publics, trace = Exchange().witness()
    trace[X, 0], trace[Q, 0] = 0, 0
    trace[F, 0], trace[Y, 0], trace[W, 31] = 1, 0, 0
    publics[4] = 0
    assert violations(Exchange(), trace, publics) == {"bus pair"}
    forged = forged_proof(Exchange(), publics, trace)
    assert refusal(proving_key(Exchange()), forged) == "constraints_not_satisfied"


def test_item_22_a_value_that_only_padding_could_hold_is_not_in_the_table() -> None:
    """Item 22: with the table at 1..32, the value 0 is looked up in vain."""
    air = Exchange(table_offset=1)
    publics, trace = air.witness()
    trace[M, int(trace[V, 3]) - 1] -= 1
    trace[V, 3] = 0
    trace[M, 9] += 1
    assert violations(air, trace, publics) == {"bus range"}
    assert refusal(proving_key(air), forged_proof(air, publics, trace))


@pytest.mark.parametrize("value", [32, P - 1, 2**30, 2**16, P - 32])
def test_item_24_values_outside_the_range_are_rejected(value: int) -> None:
    """Item 24: the first value out of range, negative ones, and those that wrap."""
    publics, trace = Exchange().witness()
    trace[M, int(trace[V, 3])] -= 1
    trace[V, 3] = value
    forged = forged_proof(Exchange(), publics, trace)
    assert refusal(proving_key(Exchange()), forged) == "constraints_not_satisfied"


def test_item_24_an_overflowing_multiplicity_cannot_hide_a_lookup() -> None:
    """Items 19 and 24: a table row that claims P - 1 copies is one message short of nothing."""
    publics, trace = Exchange().witness()
    trace[M, 0] = P - 1
    assert violations(Exchange(), trace, publics) == {"bus range"}
    assert refusal(proving_key(Exchange()), forged_proof(Exchange(), publics, trace))


def test_item_31_any_bytes_end_in_one_of_the_two_errors() -> None:
    """Item 31: random bytes behind a valid header, and random headers."""
    key, data = proving_key(Exchange()), honest_proof(Exchange()).data
    rng = np.random.default_rng(7)
    for _ in range(40):
        words = rng.integers(0, P, (len(data) - HEADER_BYTES) // 4, dtype=np.uint32)
        assert refusal(key, data[:HEADER_BYTES] + words.astype("<u4").tobytes())
        noise = rng.bytes(int(rng.integers(0, 2 * len(data))))
        with pytest.raises(ProofMalformed):
            check(key, noise)
        with pytest.raises(ProofMalformed):
            check(key, data[:HEADER_BYTES] + noise)


@pytest.mark.parametrize("value", [0, 1, P - 1])
def test_item_31_a_proof_of_equal_elements_is_rejected(value: int) -> None:
    """Item 31: zeros, ones and minus ones everywhere."""
    key, data = proving_key(Exchange()), honest_proof(Exchange()).data
    body = np.full((len(data) - HEADER_BYTES) // 4, value, dtype="<u4").tobytes()
    assert refusal(key, data[:HEADER_BYTES] + body)
    assert element_at(data, 4) == PROTOCOL_VERSION


def test_the_transcript_starts_with_key_parameters_kind_and_publics() -> None:
    """Pitfall: what a proof is about must be said before anything is drawn."""
    key = proving_key(Exchange()).verifying_key
    transcript = open_transcript(key, [1, 2, 3, 4, 5], BACKEND)
    assert [(event.label, event.values) for event in transcript.events] == [
        (Label.KEY_DIGEST, key.digest),
        (Label.PARAMETERS, SMALL.elements()),
        (Label.KIND, (7,)),
        (Label.PUBLICS, (1, 2, 3, 4, 5)),
    ]
