"""The key file of the light client, from the one constraint graph that prover and native verifier run."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256

from proving.arithmetic.program import Op, Program
from proving.light.identity import Operation
from proving.recursion.public_messages import PublicPlace, public_templates
from proving.stark.key import VerifyingKey
from proving.stark.parameters import ProofParameters
from proving.stark.system import InputLayout

CODES = {
    (Op.ADD, True, True): Operation.ADD_EE,
    (Op.ADD, True, False): Operation.ADD_EB,
    (Op.ADD, False, False): Operation.ADD_BB,
    (Op.SUB, True, True): Operation.SUB_EE,
    (Op.SUB, True, False): Operation.SUB_EB,
    (Op.SUB, False, True): Operation.SUB_BE,
    (Op.SUB, False, False): Operation.SUB_BB,
    (Op.MUL, True, True): Operation.MUL_EE,
    (Op.MUL, True, False): Operation.MUL_EB,
    (Op.MUL, False, False): Operation.MUL_BB,
}
"""By operation, and by whether the operands are elements of the challenge field."""


def light_key_text(key: VerifyingKey) -> str:
    """Returns the key file of a kind that is made with SHA-256."""
    held: dict[str, object] = {
        "kind": key.kind,
        "digest": list(key.digest),
        "log_height": key.log_height,
        "settings": _settings(key.parameters),
        "log_key_cap": key.log_key_cap,
        "widths": key.widths,
        "main_next": key.system.layout.main_next,
        "lookup_next": key.system.layout.lookup_next,
        "num_publics": key.system.layout.publics,
        "message_width": key.system.message_width,
        "messages": [
            [message.bus, message.multiplicity, [_value(value) for value in message.values]]
            for message in public_templates(key.air)
        ],
        "layers": [[layer.log_size, layer.log_arity, layer.log_cap] for layer in key.schedule],
        "cap": [bytes(digest).hex() for digest in key.preprocessed_cap.tolist()],
        **_program(key.system.program, key.system.layout),
    }
    entries = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in held.items()]
    return "{" + ",\n".join(entries) + "}\n"


def light_key_digest(text: str) -> str:
    """Returns what `proving.light.key.KEY_FILE_SHA256` must be."""
    return sha256(text.encode()).hexdigest()


def _settings(parameters: ProofParameters) -> dict[str, int]:
    settings = asdict(parameters)
    names = [name for name in settings if name not in ("hash", "key_cap_levels")]
    return dict(zip(names, parameters.elements(), strict=True))


def _value(value: int) -> list[int]:
    return [int(isinstance(value, PublicPlace)), int(value)]


def _program(program: Program, layout: InputLayout) -> dict[str, object]:
    """Renumbers the graph: a result is counted among those of its field, after the inputs there and the constants."""
    columns = layout.fixed + layout.main + layout.main_next + layout.lookup + layout.lookup_next
    rest = layout.alpha + layout.beta_powers + layout.share
    blocks = ((True, columns), (False, layout.publics), (True, layout.selectors), (False, rest))
    counts = {True: 0, False: 0}
    inputs: list[tuple[bool, int]] = []
    for is_wide, size in blocks:
        inputs += [(is_wide, counts[is_wide] + place) for place in range(size)]
        counts[is_wide] += size
    constants = [a for op, a, _ in program.nodes if op is Op.CONSTANT]
    seen = counts[False]
    counts[False] += len(constants)
    places: list[tuple[bool, int]] = []
    operations: list[tuple[int, int, int]] = []
    for op, a, b in program.nodes:
        if op is Op.INPUT:
            places.append(inputs[a])
        elif op is Op.CONSTANT:
            places.append((False, seen))
            seen += 1
        else:
            left, right = places[a], places[b]
            if op is not Op.SUB and right[0] and not left[0]:
                left, right = right, left
            operations.append((int(CODES[op, left[0], right[0]]), left[1], right[1]))
            is_wide = left[0] or right[0]
            places.append((is_wide, counts[is_wide]))
            counts[is_wide] += 1
    outputs = [places[node] for node in program.outputs]
    if not all(is_wide for is_wide, _ in outputs):
        raise ValueError("a constraint does not depend on the trace")
    codes, lefts, rights = zip(*operations, strict=True)
    return {
        "constants": constants,
        "operations": {"codes": codes, "left": lefts, "right": rights},
        "outputs": [place for _, place in outputs],
    }
