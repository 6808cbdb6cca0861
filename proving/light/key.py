"""The key that a light client knows: shape, parameters, constraints and cap of WRAP, read from a file beside this one.

`make keys` writes the file from the circuit, and prints the digest that is pinned here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from proving.light.errors import KeyDamaged

KEY_FILE = Path(__file__).with_name("wrap_key.json")

KEY_FILE_SHA256 = "8623ec898038f9ce9e712d08958adee632561579daa92fe645cd44b35c1bce40"
"""SHA-256 of the file, hexadecimal; another file is refused."""

PROTOCOL_VERSION = 2

DIGEST_BYTES = 26
"""Bytes kept of a digest."""

Node = tuple[int, int, int]
"""Operation and two operands; see `identity`."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One FRI layer.

    Attributes:
        log_size: Base-2 logarithm of its domain.
        log_arity: It is folded by 2^log_arity.
        log_cap: Base-2 logarithm of its tree's cap.
    """

    log_size: int
    log_arity: int
    log_cap: int

    @property
    def log_leaves(self) -> int:
        """Base-2 logarithm of the number of leaves."""
        return self.log_size - self.log_arity


@dataclass(frozen=True, slots=True)
class PublicMessage:
    """A message that the verifier itself puts on a bus.

    Attributes:
        bus: Number of the bus.
        multiplicity: How often it is sent.
        values: Pairs: (0, constant) or (1, number of a public input).
    """

    bus: int
    multiplicity: int
    values: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LightKey:
    """A verifying key without its circuit.

    Attributes:
        kind: Number of the kind.
        digest: Eight residues that name the key.
        log_height: Base-2 logarithm of the rows.
        elements: The ten settings that the transcript hears.
        settings: The same by name.
        log_key_cap: Base-2 logarithm of the cap of the preprocessed columns.
        widths: Columns of `fixed`, `main`, `lookup`, `quotient`.
        main_next: Main columns opened at the next row.
        lookup_next: Lookup columns opened at the next row.
        num_publics: Public inputs.
        message_width: Values of the widest message.
        messages: The verifier's own messages.
        cap: Digests of the preprocessed columns' tree.
        layers: FRI layers.
        constants: Constants of the constraint program, after its inputs in the base field.
        nodes: Its operations, in an order in which they can be done. Results in the challenge field and in the base
            field are counted apart, each after the inputs there.
        outputs: Results whose values are combined.
    """

    kind: int
    digest: tuple[int, ...]
    log_height: int
    elements: tuple[int, ...]
    settings: dict[str, int]
    log_key_cap: int
    widths: dict[str, int]
    main_next: int
    lookup_next: int
    num_publics: int
    message_width: int
    messages: tuple[PublicMessage, ...]
    cap: tuple[bytes, ...]
    layers: tuple[Layer, ...]
    constants: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    @property
    def log_cap(self) -> int:
        """Base-2 logarithm of the cap of a proof's own columns."""
        return min(self.settings["log_cap"], self.log_size)

    @property
    def log_size(self) -> int:
        """Base-2 logarithm of the evaluation domain."""
        return self.log_height + self.settings["log_blowup"]


@cache
def wrap_key() -> LightKey:
    """Returns the key; read once.

    Raises:
        KeyDamaged: The file is missing or is not the one that this client was made with.
    """
    try:
        data = KEY_FILE.read_bytes()
    except OSError as error:
        raise KeyDamaged(f"{KEY_FILE.name} cannot be read: {error}") from error
    if sha256(data).hexdigest() != KEY_FILE_SHA256:
        raise KeyDamaged(f"{KEY_FILE.name} is not the key file of this light client")
    return parse_key(data)


def parse_key(data: bytes) -> LightKey:
    """Reads a key file; its contents are trusted."""
    held = json.loads(data)
    operations = held["operations"]
    return LightKey(
        kind=held["kind"],
        digest=tuple(held["digest"]),
        log_height=held["log_height"],
        elements=tuple(held["settings"].values()),
        settings=held["settings"],
        log_key_cap=held["log_key_cap"],
        widths=held["widths"],
        main_next=held["main_next"],
        lookup_next=held["lookup_next"],
        num_publics=held["num_publics"],
        message_width=held["message_width"],
        messages=tuple(
            PublicMessage(bus, multiplicity, tuple((kind, value) for kind, value in values))
            for bus, multiplicity, values in held["messages"]
        ),
        cap=tuple(bytes.fromhex(digest) for digest in held["cap"]),
        layers=tuple(Layer(*layer) for layer in held["layers"]),
        constants=tuple(held["constants"]),
        nodes=tuple(zip(operations["codes"], operations["left"], operations["right"], strict=True)),
        outputs=tuple(held["outputs"]),
    )
