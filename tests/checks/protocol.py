"""The generated numbers of the protocol's documents: circuit, proof layout and soundness of the shipped kind."""

from __future__ import annotations

import re
from functools import cache
from itertools import accumulate
from math import prod

from proving.arithmetic.program import Symbol, trace_program
from proving.backends.reference import ReferenceBackend
from proving.kinds import verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.buses import TREE
from proving.ledger.layout import MEMORY_FIELDS, NODE_FIELDS, STEP_FIELDS, Layout
from proving.segment_proofs import SEGMENT_KIND, SEGMENT_KINDS, segment_layout
from proving.stark.air import Interaction
from proving.stark.encoding import HEADER_BYTES, proof_bytes, proof_sections
from proving.stark.key import VerifyingKey
from proving.stark.soundness import analyse, best_johnson, unique_decoding
from proving.stark.system import record_row
from schemas.statement import AFTER_OFFSET, BEFORE_OFFSET, DIGEST_OFFSET, NUM_COUNTERS, NUM_PUBLICS
from schemas.steps import STEPS
from schemas.units import WORD_ELEMENTS, Array


@cache
def shipped_key() -> VerifyingKey:
    """Returns the pinned key of small segments, whose figures stand for the rest."""
    return verifying_key(SEGMENT_KIND, ReferenceBackend())


def soundness_table() -> str:
    """Returns bits per round in both regimes."""
    key = shipped_key()
    unique = analyse(key.parameters, key.shape, unique_decoding(2.0**-key.parameters.log_blowup))
    listed = best_johnson(key.parameters, key.shape)
    lines = [f"| round | {unique.regime} | {listed.regime} |", "|---|---|---|"]
    for left, right in zip(unique.rounds, listed.rounds, strict=True):
        lines.append(f"| {left.name} | {left.bits:.2f} | {right.bits:.2f} |")
    lines.append(f"| **proven (weakest round, rounded down)** | {unique.bits} | {listed.bits} |")
    return "\n".join(lines)


def key_table() -> str:
    """Returns the figures of the keys of segments."""
    names = [f"`{name}`" for name in SEGMENT_KINDS]
    columns = [_key_figures(verifying_key(name, ReferenceBackend())) for name in SEGMENT_KINDS]
    lines = [f"| figure | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for figures in zip(*columns, strict=True):
        values = " | ".join(value for _, value in figures)
        lines.append(f"| {figures[0][0]} | {values} |")
    return "\n".join(lines)


def _key_figures(key: VerifyingKey) -> tuple[tuple[str, str], ...]:
    shape, system = key.shape, key.system
    widths = ", ".join(f"{name} {width}" for name, width in key.widths.items())
    folds = ", ".join(f"2^{layer.log_size} by {2**layer.log_arity}" for layer in key.schedule)
    return (
        ("kind", f"{key.kind}, circuit `{system.name}`"),
        ("key digest", f"`{key.digest_hex}`"),
        ("rows, evaluation domain", f"2^{key.log_height}, 2^{key.log_size}"),
        ("committed columns", widths),
        (
            "columns opened at the next row",
            f"main {system.layout.main_next}, lookup {system.layout.lookup_next}",
        ),
        ("constraints, largest degree", f"{shape.num_constraints}, {shape.degree}"),
        ("messages per row, helper columns", f"{shape.num_interactions}, {system.num_groups}"),
        ("widest message", str(shape.message_width)),
        ("openings batched", str(shape.num_openings)),
        ("FRI layers", folds),
        (
            "queries, query grinding",
            f"{key.parameters.num_queries}, {key.parameters.query_pow_bits} bits",
        ),
        ("proven bits", str(key.proven_bits)),
        ("proof", f"{proof_bytes(key):,} bytes"),
    )


def layout_table() -> str:
    """Returns offset and shape of every section of a shipped proof."""
    lines = ["| offset | section | elements |", "|---|---|---|"]
    lines.append("| 0 | magic, version, kind, key digest | 4 bytes, 1, 1, 8 |")
    offset = HEADER_BYTES
    for section in proof_sections(shipped_key()):
        shape = " x ".join(str(size) for size in section.shape)
        lines.append(f"| {offset} | `{section.name}` | {shape} |")
        offset += 4 * prod(section.shape)
    lines.append(f"| {offset} | end | |")
    return "\n".join(lines)


def lane_table() -> str:
    """Returns the lanes of the ledger circuit with their columns."""
    layout: Layout = segment_layout()
    (node,) = layout.nodes
    lanes = (
        ("steps", layout.steps.start, layout.steps.width, STEP_FIELDS),
        ("memory", layout.memory.start, layout.memory.width, MEMORY_FIELDS),
        ("node0", node.start, node.width, NODE_FIELDS),
        ("ranges", layout.ranges.start, len(layout.ranges), (("times", len(layout.ranges)),)),
    )
    lines = ["| lane | first column | columns | fields (elements, if not 1) |", "|---|---|---|---|"]
    for name, start, width, fields in lanes:
        shown = ", ".join(f"{field} ({size})" if size > 1 else field for field, size in fields)
        lines.append(f"| {name} | {start} | {width} | {shown} |")
    lines.append(
        f"| **all** | | **{layout.num_main}** | preprocessed beside them: {layout.num_fixed} |"
    )
    return "\n".join(lines)


def messages() -> list[Interaction]:
    """Returns the messages of the ledger circuit, as its author's function records them."""
    air = LedgerAir()
    sizes = [air.num_fixed, air.num_main, air.num_main, air.num_publics]
    ends = list(accumulate(sizes))
    found: list[Interaction] = []

    def body(inputs: list[Symbol]) -> list[Symbol]:
        blocks = [inputs[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        found.extend(record_row(air, blocks).interactions)
        return inputs[:1]

    trace_program("messages", sum(sizes), body)
    return found


def bus_table() -> str:
    """Returns the buses with who sends and who receives; `[n]` stands for every element."""
    users: dict[tuple[str, int], dict[str, None]] = {}
    buses = {}
    for message in messages():
        name = re.sub(r"\[\d+\]", "[n]", message.name)
        users.setdefault((message.bus.name, message.sign), {})[name] = None
        buses[message.bus.number] = message.bus
    users[TREE.name, -1]["the verifier"] = None
    lines = ["| bus | number | width | sends (+) | receives (-) |", "|---|---|---|---|---|"]
    for number, bus in sorted(buses.items()):
        sends, receives = (", ".join(users[bus.name, sign]) for sign in (1, -1))
        lines.append(f"| {bus.name} | {number} | {bus.width} | {sends} | {receives} |")
    return "\n".join(lines)


def step_table() -> str:
    """Returns the step table."""
    lines = [
        "| step | cell | must exist | amount | fee | nonce | appends to | place |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for step in STEPS:
        place = " and ".join(
            name for name, holds in (("head", step.head), ("tail", step.tail)) if holds
        )
        appends = step.append.name if step.append is not None else ""
        lines.append(
            f"| `{step.name}` | {step.cell} | {step.existence} | {step.amount_sign:+d} | {step.fee_sign:+d} "
            f"| {step.nonce_step:+d} | {appends} | {place} |".replace("+0", "0")
        )
    return "\n".join(lines)


def public_table() -> str:
    """Returns the public inputs of a segment's proof, in order."""
    roots = ", ".join(array.name for array in Array)
    words = DIGEST_OFFSET + WORD_ELEMENTS
    rows = (
        (0, BEFORE_OFFSET, "chain, shard, window, segment"),
        (
            BEFORE_OFFSET,
            BEFORE_OFFSET + NUM_COUNTERS,
            "before: height, slot, sequence, keys, block_transactions, fee_sum (3 limbs)",
        ),
        (BEFORE_OFFSET + NUM_COUNTERS, AFTER_OFFSET, f"before: roots of {roots}, 8 each"),
        (AFTER_OFFSET, AFTER_OFFSET + NUM_COUNTERS, "after: the same counters"),
        (AFTER_OFFSET + NUM_COUNTERS, DIGEST_OFFSET, "after: the same roots"),
        (DIGEST_OFFSET, words, "statement digest"),
        (words, words + WORD_ELEMENTS, "vk_self, zero today"),
        (words + WORD_ELEMENTS, NUM_PUBLICS, "payee, zero today"),
    )
    lines = ["| elements | content |", "|---|---|"]
    return "\n".join([*lines, *(f"| {start} .. {end - 1} | {text} |" for start, end, text in rows)])
