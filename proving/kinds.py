"""The registered kinds of proof: number, name, circuit and parameters.

A kind's number is part of its key's digest and of every proof header, and is never reused. Nothing is built
at import: `registered_kinds` makes the table, `verifying_key` and `proving_key` keep what they make.

A verifier does not commit to the fixed columns itself: their Merkle cap lies beside this module, and the
pinned digest in the table says whether it is the right one. `make keys` writes the file from the circuit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import numpy as np

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Backend, FieldArray, Hasher
from proving.ledger.air import LedgerAir
from proving.recursion.day import DAY_NUMBER, day_tape
from proving.recursion.epoch import epoch_tape
from proving.recursion.join import JOIN_NUMBER, join_tape
from proving.recursion.lift import large_lift_tape, lift_tape
from proving.recursion.programs import (
    LOG_HEIGHT,
    RecursionProgram,
    program_about,
    recursion_air,
)
from proving.recursion.tape import Tape
from proving.recursion.wrap import (
    WRAP_KIND,
    WRAP_LOG_HEIGHT,
    WRAP_NUMBER,
    WRAPPED_KIND,
    wrap_tape,
)
from proving.stark.air import Air
from proving.stark.key import VerifyingKey, make_verifying_key
from proving.stark.parameters import (
    RECURSION,
    SEGMENT_L,
    SEGMENT_S,
    WRAP,
    ProofParameters,
)
from proving.stark.setup import ProvingKey, make_proving_key
from schemas.errors import InvariantError, ParameterError

_verifying_keys: dict[str, VerifyingKey] = {}
"""By kind; every hasher gives the same key."""

_proving_keys: dict[tuple[str, str], ProvingKey] = {}
"""By kind and name of the backend; one of `segment_s` takes about 12 MB."""


@dataclass(frozen=True, slots=True)
class ProofKind:
    """One kind of proof.

    Attributes:
        number: Unique, 1 or more.
        name: Such as `segment_s`.
        level: Level of INTERFACES: `window`, `shard_epoch`, `shard_hour`, `epoch` or `day`.
        make_air: Builds the circuit.
        parameters: Settings of the proof system.
        key_digest: The verifying key's digest, 64 hexadecimal characters; empty while it is not fixed.
    """

    number: int
    name: str
    level: str
    make_air: Callable[[], Air]
    parameters: ProofParameters
    key_digest: str = ""

    def proving_key(self, backend: Backend) -> ProvingKey:
        """Builds the kind's key from source; seconds for a large circuit, so callers keep it.

        Raises:
            InvariantError: It is not the pinned one.
        """
        key = make_proving_key(self.number, self.make_air(), self.parameters, backend)
        self._check_digest(key.verifying_key)
        return key

    def verifying_key(self, cap: FieldArray, hasher: Hasher) -> VerifyingKey:
        """Compiles the circuit and takes the fixed columns' cap from the caller.

        Raises:
            InvariantError: The cap, or the circuit, is not the pinned one.
        """
        key = make_verifying_key(self.number, self.make_air(), self.parameters, cap, hasher)
        self._check_digest(key)
        return key

    def _check_digest(self, key: VerifyingKey) -> None:
        if self.key_digest and key.digest_hex != self.key_digest:
            raise InvariantError(
                f"the key of {self.name} has digest {key.digest_hex}, {self.key_digest} is pinned",
                "run `make keys` after a deliberate change of the circuit and pin the digest it prints",
            )


@dataclass(frozen=True)
class KindTable:
    """Kinds by number and by name.

    Attributes:
        kinds: In registration order.
    """

    kinds: tuple[ProofKind, ...]

    def __post_init__(self) -> None:
        """Checks that numbers and names are unique.

        Raises:
            ParameterError: They are not, or a number is below 1.
        """
        numbers = {kind.number for kind in self.kinds}
        names = {kind.name for kind in self.kinds}
        if (
            len(numbers) != len(self.kinds)
            or len(names) != len(self.kinds)
            or min(numbers, default=1) < 1
        ):
            raise ParameterError("kinds of proof need unique names and unique numbers from 1")

    @cached_property
    def by_name(self) -> dict[str, ProofKind]:
        """Kinds by name."""
        return {kind.name: kind for kind in self.kinds}

    @cached_property
    def by_number(self) -> dict[int, ProofKind]:
        """Kinds by number."""
        return {kind.number: kind for kind in self.kinds}


def kind_table(kinds: Iterable[ProofKind]) -> KindTable:
    """Collects kinds.

    Raises:
        ParameterError: Numbers or names clash.
    """
    return KindTable(tuple(kinds))


@cache
def registered_kinds() -> KindTable:
    """Returns every kind of proof that this build makes and accepts."""
    return kind_table(
        [
            ProofKind(
                number=1,
                name="segment_s",
                level="window",
                make_air=LedgerAir,
                parameters=SEGMENT_S,
                key_digest="fb63a834fe231472b28b4518b9151748f64e602112285a0e9e236d2552d2f054",
            ),
            ProofKind(
                number=2,
                name="segment_l",
                level="window",
                make_air=lambda: LedgerAir(17, 4),
                parameters=SEGMENT_L,
                key_digest="3f7d520421b8f6244ea89747f98a356606b6116c8d1a332c3ebcbe3477881e14",
            ),
            ProofKind(
                number=16,
                name="lift_s",
                level="window",
                make_air=lambda: _recursion("lift_s"),
                parameters=RECURSION,
                key_digest="9d0e03204be7fb21747b6d3c896f886fc98c8268caaea57cfafe3602c1492c7a",
            ),
            ProofKind(
                number=18,
                name="lift_l",
                level="window",
                make_air=lambda: _recursion("lift_l"),
                parameters=RECURSION,
                key_digest="3ef0ba067d10372c5de14b4005eeb90b5fe54e449c1f0349d3ed684829e64614",
            ),
            ProofKind(
                number=JOIN_NUMBER,
                name="join",
                level="shard_epoch",
                make_air=lambda: _recursion("join"),
                parameters=RECURSION,
                key_digest="8b53fd40305214287641a76907bd77279e5c205207dfec1bb331a31e03baf26b",
            ),
            ProofKind(
                number=19,
                name="epoch",
                level="epoch",
                make_air=lambda: _recursion("epoch"),
                parameters=RECURSION,
                key_digest="2cbea546e42e4d235731ea6daca6261fbc813372da0951678274816a824faf0d",
            ),
            ProofKind(
                number=DAY_NUMBER,
                name="day",
                level="day_run",
                make_air=lambda: _recursion("day"),
                parameters=RECURSION,
                key_digest="a21e7f50217f2502d2d360546714a22245be910b1a254014cf010548fe6e6946",
            ),
            ProofKind(
                number=WRAP_NUMBER,
                name=WRAP_KIND,
                level="day",
                make_air=lambda: _recursion(WRAP_KIND),
                parameters=WRAP,
                key_digest="3ced8a6332313b3639d82b544a17273654479637e027cb6e05210c4b1b341623",
            ),
        ]
    )


PROGRAMS: dict[str, tuple[Callable[..., Tape], tuple[str, ...]]] = {
    "lift_s": (lift_tape, ("segment_s",)),
    "lift_l": (large_lift_tape, ("segment_l",)),
    "join": (join_tape, ("lift_s", "lift_l")),
    "epoch": (epoch_tape, ("lift_s", "lift_l", "join")),
    "day": (day_tape, ("epoch",)),
    WRAP_KIND: (wrap_tape, (WRAPPED_KIND,)),
}
"""Of every recursive kind: what writes its program, and the kinds whose keys are constants of it."""

LOG_HEIGHTS = {WRAP_KIND: WRAP_LOG_HEIGHT}
"""Base-2 logarithms of the rows of kinds that have fewer than `LOG_HEIGHT`."""

SELF_RECURSIVE = frozenset({"join", "day"})
"""Kinds that take proofs of their own kind; such a proof names its own key as `vk_self`."""


def recursive_program(name: str, hasher: Hasher) -> RecursionProgram:
    """Returns the program of a recursive kind; seconds the first time."""
    write, about = PROGRAMS[name]
    keys = [verifying_key(kind, hasher) for kind in about]
    return program_about(name, write, keys, LOG_HEIGHTS.get(name, LOG_HEIGHT))


def _recursion(name: str) -> Air:
    """Returns the circuit of a recursive kind."""
    log_height = LOG_HEIGHTS.get(name, LOG_HEIGHT)
    return recursion_air(lambda: recursive_program(name, NumpyHasher()).wiring, log_height)


def verifying_key(name: str, hasher: Hasher) -> VerifyingKey:
    """Returns the pinned key of a kind; a fraction of a second the first time.

    Raises:
        ParameterError: There is no such kind.
        InvariantError: The stored cap does not belong to the pinned digest.
    """
    if name not in _verifying_keys:
        kind = kind_named(name)
        _verifying_keys[name] = kind.verifying_key(_stored_cap(name), hasher)
    return _verifying_keys[name]


def remember_key(name: str, key: VerifyingKey) -> None:
    """Puts a key in the place of the stored one, in this process: for making keys of proofs about its proofs."""
    _verifying_keys[name] = key


def proving_key(name: str, backend: Backend) -> ProvingKey:
    """Returns the proving key of a kind; a second or more the first time per backend.

    Raises:
        ParameterError: There is no such kind.
        InvariantError: The circuit does not have the pinned digest.
    """
    place = (name, backend.name)
    if place not in _proving_keys:
        _proving_keys[place] = kind_named(name).proving_key(backend)
    return _proving_keys[place]


def kind_named(name: str) -> ProofKind:
    """Returns a registered kind.

    Raises:
        ParameterError: There is no such kind.
    """
    kind = registered_kinds().by_name.get(name)
    if kind is None:
        raise ParameterError(f"there is no kind of proof {name!r}")
    return kind


def kind_numbered(number: int) -> ProofKind:
    """Returns a registered kind.

    Raises:
        ParameterError: There is no such kind.
    """
    kind = registered_kinds().by_number.get(number)
    if kind is None:
        raise ParameterError(f"there is no kind of proof with number {number}")
    return kind


def encode_cap(cap: FieldArray) -> str:
    """Returns the text of a key file: one digest of the cap per line."""
    return json.dumps({"preprocessed_cap": cap.tolist()}).replace("], ", "],\n") + "\n"


def _stored_cap(name: str) -> FieldArray:
    text = resources.files("proving").joinpath("keys", f"{name}.json").read_text("ascii")
    return np.array(json.loads(text)["preprocessed_cap"], dtype=np.uint32)
