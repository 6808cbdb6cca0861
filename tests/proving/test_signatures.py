from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proving.signature_backends import reference
from proving.signature_backends.liboqs import PATH_VARIABLE, candidate_paths
from proving.signatures import (
    BACKENDS,
    KeyPair,
    SignatureBackend,
    available_backends,
    backend_report,
    default_backend,
    open_signatures,
    verify_many,
)
from schemas.errors import EnvironmentMissing, ParameterError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ml_dsa_44.json").read_text())
CONTEXT = b"test"
MESSAGE = b"pay the baker"
PAIR = KeyPair.from_seed(bytes(range(32)))
HINTS = 32 + 4 * 576


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> SignatureBackend:
    try:
        return open_signatures(request.param)
    except EnvironmentMissing as missing:
        pytest.skip(str(missing))


def _cases(section: str) -> list[Any]:
    return [pytest.param(c, id=str(c.get("id", n))) for n, c in enumerate(VECTORS[section])]


def test_published_cases_get_the_published_verdicts(backend: SignatureBackend) -> None:
    wrong = []
    for case in VECTORS["verification"]:
        key, message, signature, context = (
            bytes.fromhex(case[name]) for name in ("key", "message", "signature", "context")
        )
        verdict = verify_many([key], [message], [signature], context, backend)
        if verdict.tolist() != [case["valid"]]:
            wrong.append((case["id"], case["comment"]))
    assert wrong == []


@pytest.mark.parametrize("case", _cases("signing"))
def test_a_seed_gives_the_published_public_key(case: dict[str, str]) -> None:
    seed = bytes.fromhex(case["seed"])
    stock, plain = KeyPair.from_seed(seed).public_key, reference.expand_seed(seed).public_key
    assert (stock.hex(), plain.hex()) == (case["key"], case["key"])


@pytest.mark.parametrize("case", _cases("signing"))
def test_deterministic_signatures_equal_the_published_ones(case: dict[str, str]) -> None:
    pair = KeyPair.from_seed(bytes.fromhex(case["seed"]))
    signature = pair.sign_deterministic(
        bytes.fromhex(case["message"]), bytes.fromhex(case["context"])
    )
    assert (pair.public_key.hex(), signature.hex()) == (case["key"], case["signature"])


@dataclass(frozen=True)
class Input:
    key: bytes = PAIR.public_key
    message: bytes = MESSAGE
    signature: bytes = b""
    context: bytes = CONTEXT


GOOD = Input(signature=reference.sign(PAIR.seed, MESSAGE, CONTEXT))


def _with_hints(change: Callable[[bytearray], None]) -> Input:
    hints = bytearray(GOOD.signature[HINTS:])
    change(hints)
    return Input(signature=GOOD.signature[:HINTS] + bytes(hints))


def _swap_two_positions(hints: bytearray) -> None:
    row = next(r for r in range(4) if hints[80 + r] - (hints[79 + r] if r else 0) >= 2)
    at = hints[79 + row] if row else 0
    hints[at], hints[at + 1] = hints[at + 1], hints[at]


def _repeat_a_position(hints: bytearray) -> None:
    row = next(r for r in range(4) if hints[80 + r] - (hints[79 + r] if r else 0) >= 2)
    at = hints[79 + row] if row else 0
    hints[at + 1] = hints[at]


def _fall_back(hints: bytearray) -> None:
    hints[81] = hints[80] - 1


def _overflow(hints: bytearray) -> None:
    hints[83] = 81


def _fill_padding(hints: bytearray) -> None:
    hints[79] = 7


def _response_over_the_norm() -> Input:
    packed = bytearray(GOOD.signature)
    packed[32:35] = b"\x00\x00\x00"  # the first coefficient becomes gamma1
    return Input(signature=bytes(packed))


MALFORMED = {
    "empty signature": Input(signature=b""),
    "short signature": Input(signature=GOOD.signature[:-1]),
    "long signature": Input(signature=GOOD.signature + b"\0"),
    "empty key": Input(key=b"", signature=GOOD.signature),
    "short key": Input(key=PAIR.public_key[:-1], signature=GOOD.signature),
    "long key": Input(key=PAIR.public_key + b"\0", signature=GOOD.signature),
    "another key": Input(KeyPair.from_seed(bytes(32)).public_key, MESSAGE, GOOD.signature),
    "another message": Input(message=b"pay the thief", signature=GOOD.signature),
    "another context": Input(signature=GOOD.signature, context=b"tesu"),
    "empty context": Input(signature=GOOD.signature, context=b""),
    "context moved into the message": Input(
        message=CONTEXT[-1:] + MESSAGE, signature=GOOD.signature, context=CONTEXT[:-1]
    ),
    "context of 256 bytes": Input(signature=GOOD.signature, context=bytes(256)),
    "hints out of order": _with_hints(_swap_two_positions),
    "hint twice": _with_hints(_repeat_a_position),
    "hint ends fall": _with_hints(_fall_back),
    "too many hints": _with_hints(_overflow),
    "hint padding": _with_hints(_fill_padding),
    "norm bound": _response_over_the_norm(),
    "challenge changed": Input(signature=b"\0" + GOOD.signature[1:]),
    "zeros": Input(signature=bytes(2420)),
    "ones": Input(signature=b"\xff" * 2420),
}


def _verdict(backend: SignatureBackend, given: Input) -> list[bool]:
    verdicts = verify_many([given.key], [given.message], [given.signature], given.context, backend)
    return [bool(v) for v in verdicts]


def test_a_good_signature_is_accepted(backend: SignatureBackend) -> None:
    assert _verdict(backend, GOOD) == [True]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_input_is_false_and_never_an_error(
    backend: SignatureBackend, name: str
) -> None:
    assert _verdict(backend, MALFORMED[name]) == [False]


@pytest.mark.parametrize("name", ["short key", "long signature", "context of 256 bytes"])
def test_the_reference_itself_refuses_wrong_lengths(name: str) -> None:
    bad = MALFORMED[name]
    assert reference.verify(bad.key, bad.message, bad.signature, bad.context) is False


@settings(max_examples=25, deadline=None)
@given(position=st.integers(0, 2419), bit=st.integers(0, 7), where=st.sampled_from("skm"))
def test_one_flipped_bit_is_refused_by_every_backend(position: int, bit: int, where: str) -> None:
    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[position % len(data)] ^= 1 << bit
        return bytes(changed)

    changed = {
        "s": Input(signature=flip(GOOD.signature)),
        "k": Input(key=flip(PAIR.public_key), signature=GOOD.signature),
        "m": Input(message=flip(MESSAGE), signature=GOOD.signature),
    }[where]
    verdicts = {name: _verdict(open_signatures(name), changed) for name in available_backends()}
    assert verdicts == {name: [False] for name in available_backends()}


@settings(max_examples=10, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_hedged_signatures_of_any_key_verify_everywhere(seed: bytes, message: bytes) -> None:
    pair = KeyPair.from_seed(seed)
    given = Input(pair.public_key, message, pair.sign(message, b"c"), b"c")
    verdicts = {name: _verdict(open_signatures(name), given) for name in available_backends()}
    assert verdicts == {name: [True] for name in available_backends()}


def test_a_batch_marks_exactly_the_bad_rows_whatever_the_threads() -> None:
    bad_rows = {3, 40, 41, 99}
    messages = [b"%d" % row for row in range(100)]
    signatures = [PAIR.sign(message, CONTEXT) for message in messages]
    for row in bad_rows:
        messages[row] += b"!"
    verdicts = verify_many([PAIR.public_key] * 100, messages, signatures, CONTEXT)
    assert verdicts.dtype == np.bool_
    assert set(np.flatnonzero(~verdicts).tolist()) == bad_rows


def test_no_rows_give_an_empty_bitmap() -> None:
    assert verify_many([], [], [], CONTEXT).tolist() == []


def test_lists_of_different_lengths_are_the_callers_error() -> None:
    with pytest.raises(ParameterError, match=r"^1 keys, 2 messages and 1 signatures$"):
        verify_many([PAIR.public_key], [b"", b""], [b""], CONTEXT)


def test_signing_refuses_wrong_lengths() -> None:
    with pytest.raises(ParameterError, match=r"^an ML-DSA-44 seed is 32 bytes, got 31$"):
        KeyPair.from_seed(bytes(31))
    with pytest.raises(ParameterError, match="an ML-DSA-44 seed is 32 bytes, got 33"):
        reference.expand_seed(bytes(33))
    for sign in (PAIR.sign, PAIR.sign_deterministic):
        with pytest.raises(ParameterError, match="a context has at most 255 bytes"):
            sign(b"", bytes(256))
    with pytest.raises(ParameterError, match="signing randomness is 32 bytes, got 1"):
        reference.sign(bytes(32), b"", b"", b"x")


def test_hedged_signatures_differ_and_deterministic_ones_do_not() -> None:
    assert PAIR.sign(MESSAGE, CONTEXT) != PAIR.sign(MESSAGE, CONTEXT)
    assert PAIR.sign_deterministic(MESSAGE, CONTEXT) == GOOD.signature


def test_a_key_pair_travels_between_processes_and_hides_its_seed() -> None:
    assert pickle.loads(pickle.dumps(PAIR)) == PAIR  # noqa: S301
    assert PAIR.seed.hex() not in repr(PAIR)
    assert repr(PAIR.seed) not in repr(PAIR)


def test_the_report_names_every_backend_and_the_one_in_use() -> None:
    report = backend_report()
    assert tuple(status.name for status in report) == BACKENDS
    assert [s.name for s in report if s.in_use] == [default_backend().name]
    assert tuple(s.name for s in report if s.available) == available_backends()
    assert all(status.detail for status in report)


def test_an_unknown_backend_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="there is no signature backend 'rot13'"):
        open_signatures("rot13")


def test_a_missing_library_is_named_and_nothing_is_installed(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from proving.signatures import available_backends, open_signatures\n"
        "from schemas.errors import EnvironmentMissing\n"
        "try:\n"
        "    open_signatures('liboqs')\n"
        "except EnvironmentMissing as error:\n"
        "    print(error.exit_code, error, available_backends(), 'oqs' in sys.modules)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, PATH_VARIABLE: str(tmp_path), "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("5 signature backend liboqs: the liboqs library is not installed")
    assert done.stdout.endswith("('cryptography', 'reference') False\n")
    assert list(tmp_path.iterdir()) == []


def test_a_named_installation_is_the_only_one_tried(tmp_path: Path) -> None:
    named = candidate_paths({PATH_VARIABLE: str(tmp_path / "a")}, tmp_path)
    unnamed = candidate_paths({}, tmp_path)
    assert all(place.startswith(str(tmp_path / "a")) for place in named)
    assert unnamed[0].startswith(str(tmp_path / "_oqs"))
    assert "/" not in unnamed[-1]
