"""Files of a day with something changed, numbered from a seed; the standard library and the light client alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

from pipelines.adversary.day_case import Changed, DayCase, Mutant
from proving.light.certificate import decode_certificate
from proving.light.checkpoint import Checkpoint, checkpoint_of, decode_checkpoint
from proving.light.encoding import ELEMENT_BYTES, Section, sections_of
from proving.light.errors import ProofError
from proving.light.field import P
from proving.light.inclusion import Inclusion, RunFold, decode_inclusion
from proving.light.key import DIGEST_BYTES, wrap_key
from schemas.errors import InvariantError, WireError
from schemas.run import RunStatement
from schemas.transactions import decode_body

Mutation = Callable[[DayCase, random.Random], Changed]


def flip_bit(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes with one bit changed."""
    at = rng.randrange(8 * len(data))
    return _with(data, at // 8, bytes([data[at // 8] ^ 1 << at % 8]))


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes with up to eight of them drawn again."""
    held = bytearray(data)
    for _ in range(rng.randrange(2, 9)):
        held[rng.randrange(len(held))] = rng.randrange(256)
    return bytes(held)


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Returns any shorter length."""
    return data[: rng.choice((rng.randrange(len(data)), len(data) - 1 - rng.randrange(8)))]


def extend(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes with more behind them: a few, as many again, or a megabyte."""
    more = rng.choice((rng.randrange(1, 65), len(data), 2**20 if rng.random() < 0.1 else 1))
    return data + rng.choice(
        (bytes(more), rng.randbytes(more), (data * (more // len(data) + 1))[:more])
    )


def insert(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes with a few inserted, so that what follows moves."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 41)) + data[at:]


def swap_words(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes in which two runs of 4, 26 or 32 bytes have changed places."""
    size = rng.choice((ELEMENT_BYTES, DIGEST_BYTES, 32))
    first, second = sorted(rng.randrange(len(data) - size + 1) for _ in range(2))
    if second < first + size:
        return data
    swapped = _with(data, first, data[second : second + size])
    return _with(swapped, second, data[first : first + size])


def random_bytes(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes that never were such a file, of any length or with a true beginning."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(2 * len(data)))
    return data[:45] + rng.randbytes(len(data) - 45)


ATTEMPTS = 100
"""Draws until a mutation changes something; one that swaps two words may meet equal ones."""

EDITS: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    "flip_bit": flip_bit,
    "change_bytes": change_bytes,
    "truncate": truncate,
    "extend": extend,
    "insert": insert,
    "swap_words": swap_words,
    "random_bytes": random_bytes,
}
"""Edits that any file takes."""


def change_element(case: DayCase, rng: random.Random) -> Changed:
    """One element of a section of the proof, however small, becomes another, canonical or not."""
    proof = case.files["proof"]
    section = rng.choice([one for one in _sections() if one.entry_bytes == ELEMENT_BYTES])
    at = section.start + ELEMENT_BYTES * rng.randrange(section.length // ELEMENT_BYTES)
    old = int.from_bytes(proof[at : at + ELEMENT_BYTES], "little")
    new = rng.choice(((old + rng.randrange(1, P)) % P, (old + P) % 2**32, rng.randrange(P, 2**32)))
    return {"proof": _with(proof, at, new.to_bytes(ELEMENT_BYTES, "little"))}


def change_public(case: DayCase, rng: random.Random) -> Changed:
    """The proof says another statement, key or payee."""
    proof, publics = case.files["proof"], _sections()[0]
    at = publics.start + ELEMENT_BYTES * rng.randrange(publics.length // ELEMENT_BYTES)
    return {"proof": _with(proof, at, rng.randrange(P).to_bytes(ELEMENT_BYTES, "little"))}


def swap_paths(case: DayCase, rng: random.Random) -> Changed:
    """Two digests of a tree's paths, or the paths of two queries, change places."""
    proof = case.files["proof"]
    section = rng.choice([one for one in _sections() if one.name.endswith("paths")])
    queries = wrap_key().settings["num_queries"]
    size = rng.choice((DIGEST_BYTES, section.length // queries))
    first, second = rng.sample(range(section.length // size), 2)
    one, two = (section.start + size * number for number in (first, second))
    swapped = _with(proof, one, proof[two : two + size])
    return {"proof": _with(swapped, two, proof[one : one + size])}


def splice_section(case: DayCase, rng: random.Random) -> Changed:
    """One section of the proof comes from a proof of another day."""
    proof = case.files["proof"]
    others = [one for one in case.foreign["proof"].values() if len(one) == len(proof)]
    section = rng.choice(_sections())
    if not others:
        return {"proof": _with(proof, section.start, rng.randbytes(section.length))}
    part = rng.choice(others)[section.start : section.start + section.length]
    return {"proof": _with(proof, section.start, part)}


def swap_in_certificate(case: DayCase, rng: random.Random) -> Changed:
    """Keys, headers, votes or signatures of the certificate change places."""
    given = decode_certificate(case.files["certificate"])
    what = rng.choice(("keys", "headers", "signatures", "votes"))
    if what == "keys":
        keys = list(given.validators.keys)
        _swap(keys, rng)
        given = replace(given, validators=replace(given.validators, keys=tuple(keys)))
    elif what == "headers" and len(given.headers) > 1:
        headers = list(given.headers)
        _swap(headers, rng)
        given = replace(given, headers=tuple(headers))
    elif what == "signatures":
        signatures = [signature for _, signature in given.votes]
        _swap(signatures, rng)
        signers = [signer for signer, _ in given.votes]
        given = replace(given, votes=tuple(zip(signers, signatures, strict=True)))
    else:
        votes = list(given.votes)
        _swap(votes, rng)
        given = replace(given, votes=tuple(votes))
    return {"certificate": given.to_bytes()}


def change_header(case: DayCase, rng: random.Random) -> Changed:
    """A header says another height, view, slot, epoch or count; those above it name it anew."""
    given = decode_certificate(case.files["certificate"])
    headers = list(given.headers)
    at = rng.randrange(len(headers))
    field = rng.choice(("height", "view", "slot", "epoch", "parent_view"))
    headers[at] = replace(headers[at], **{field: getattr(headers[at], field) + 1})
    for above in range(at + 1, len(headers)):
        below = headers[above - 1]
        headers[above] = replace(
            headers[above],
            parent_hash=below.block_hash(),
            height=below.height + 1,
            parent_view=below.view,
            view=max(headers[above].view, below.view + 1),
        )
    return {"certificate": replace(given, headers=tuple(headers)).to_bytes()}


def change_checkpoint(case: DayCase, rng: random.Random) -> Changed:
    """The checkpoint says another chain, number of shards, window, committee or state."""
    given = decode_checkpoint(case.files["checkpoint"])
    return {"previous": _other_end(given, rng).to_bytes()}


def change_statement(case: DayCase, rng: random.Random) -> Changed:
    """The statement of the day before ends otherwise; where it began, nobody who follows it asks."""
    if "statement" not in case.files:
        return change_checkpoint(case, rng)
    given = RunStatement.from_bytes(case.files["statement"])
    end = _other_end(checkpoint_of(given), rng)
    changed = replace(
        given,
        chain=end.chain,
        shards=end.shards,
        end_window=end.end_window,
        validators=end.validators,
        after=end.state,
    )
    return {"previous": changed.to_bytes()}


def change_body(case: DayCase, rng: random.Random) -> Changed:
    """The transaction has another amount, sender, recipient, fee, nonce or expiry, by one or by any number."""
    given = decode_inclusion(case.files["inclusion"])
    body = decode_body(given.body)
    field = rng.choice(("amount", "sender", "recipient", "fee", "nonce", "expiry"))
    step = rng.choice((1, -1, rng.randrange(1, 2**20)))
    value = max(getattr(body, field) + step, 0)
    changed = replace(given, body=replace(body, **{field: value}).body())
    if field == "recipient" and rng.random() < 0.5:
        changed = replace(changed, recipient=value)
    return {"inclusion": changed.to_bytes()}


def change_index(case: DayCase, rng: random.Random) -> Changed:
    """The path leads to another place in the window's list."""
    given = decode_inclusion(case.files["inclusion"])
    index = rng.choice((given.index ^ 1 << rng.randrange(30), rng.randrange(2**30)))
    return {"inclusion": replace(given, index=index).to_bytes()}


def change_path(case: DayCase, rng: random.Random) -> Changed:
    """Words of the path change places, are missing, or are there twice."""
    given = decode_inclusion(case.files["inclusion"])
    siblings, shards, runs = list(given.siblings), list(given.shards), list(given.run_folds)
    what = rng.randrange(6)
    if what == 0:
        _swap(siblings, rng)
    elif what == 1:
        return {"inclusion": replace(given, closing=given.closing[::-1]).to_bytes()}
    elif what == 2:
        shards = shards[1:] if shards and rng.random() < 0.5 else [*shards, siblings[0]]
    elif what == 3 and runs:
        at = rng.randrange(len(runs))
        runs[at] = RunFold(1 - runs[at].place, runs[at].other)
    elif what == 4 and runs:
        runs.pop(rng.randrange(len(runs)))
    else:
        runs.append(RunFold(rng.randrange(2), rng.choice(siblings)))
    changed = replace(given, siblings=tuple(siblings), shards=tuple(shards), run_folds=tuple(runs))
    return {"inclusion": changed.to_bytes()}


def _edit(part: str, edit: Callable[[bytes, random.Random], bytes]) -> Mutation:
    def mutation(case: DayCase, rng: random.Random) -> Changed:
        return {part: edit(case.files[part], rng)}

    return mutation


def _edit_trusted(edit: Callable[[bytes, random.Random], bytes]) -> Mutation:
    def mutation(case: DayCase, rng: random.Random) -> Changed:
        return {"previous": edit(case.files[rng.choice(case.trusted())], rng)}

    return mutation


MUTATIONS: Mapping[str, Mutation] = {
    **{f"proof/{name}": _edit("proof", edit) for name, edit in EDITS.items()},
    "proof/change_element": change_element,
    "proof/change_public": change_public,
    "proof/swap_paths": swap_paths,
    "proof/splice_section": splice_section,
    **{f"certificate/{name}": _edit("certificate", edit) for name, edit in EDITS.items()},
    "certificate/swap": swap_in_certificate,
    "certificate/change_header": change_header,
    **{f"previous/{name}": _edit_trusted(edit) for name, edit in EDITS.items()},
    "previous/change_checkpoint": change_checkpoint,
    "previous/change_statement": change_statement,
    **{f"inclusion/{name}": _edit("inclusion", edit) for name, edit in EDITS.items()},
    "inclusion/change_body": change_body,
    "inclusion/change_index": change_index,
    "inclusion/change_path": change_path,
}
"""What is drawn from a seed, by what it changes."""


def fixed_changes(case: DayCase) -> Iterator[tuple[str, Changed]]:
    """Yields what there is only so much of: every foreign file, every too small and every repeated set of votes."""
    for part, named in sorted(case.foreign.items()):
        for name, data in sorted(named.items()):
            for trusted in case.trusted() if part != "previous" else ["checkpoint"]:
                change = {"previous": case.files[trusted], part: data}
                yield f"foreign {part}/{name.partition('.')[0]}", change
    given = decode_certificate(case.files["certificate"])
    for count in range(given.validators.quorum):
        for votes in combinations(given.votes, count):
            yield (
                "certificate/below_quorum",
                {"certificate": replace(given, votes=votes).to_bytes()},
            )
    for place, (signer, _) in enumerate(given.votes):
        for other, (_, signature) in enumerate(given.votes):
            if other == place:
                continue
            for repeated in ((signer, signature), given.votes[other]):
                votes = (*given.votes[:place], repeated, *given.votes[place + 1 :])
                yield (
                    "certificate/repeated_signer",
                    {"certificate": replace(given, votes=votes).to_bytes()},
                )
    if "inclusion" in case.files:
        yield from _one_off(decode_inclusion(case.files["inclusion"]))


def _one_off(given: Inclusion) -> Iterator[tuple[str, Changed]]:
    """Yields an inclusion with one unit, index or shard changed."""
    body = decode_body(given.body)
    for unit in (-1, 1):
        other = replace(body, amount=abs(body.amount + unit)).body()
        yield "inclusion/one_unit", {"inclusion": replace(given, body=other).to_bytes()}
        index = (given.index + unit) % 2**30
        yield "inclusion/one_index", {"inclusion": replace(given, index=index).to_bytes()}
    for shard in {body.shard + 1, max(body.shard - 1, 0)} - {body.shard}:
        other = replace(body, shard=shard).body()
        yield "inclusion/other_shard", {"inclusion": replace(given, body=other).to_bytes()}


class DayAttacker:
    """Numbered mutants of a case: first those of `fixed_changes`, then drawn ones, one mutation after the other.

    Attributes:
        case: The honest files and the foreign ones.
        seed: Of what is drawn.
    """

    def __init__(self, case: DayCase, seed: int) -> None:
        self.case = case
        self.seed = seed
        self._fixed = list(fixed_changes(case))
        self._names = [
            name
            for name in MUTATIONS
            if name.startswith("previous") or name.partition("/")[0] in case.files
        ]

    def mutant(self, number: int) -> Mutant:
        """Returns a mutant by number."""
        case = self.case
        if number < len(self._fixed):
            kind, change = self._fixed[number]
            return Mutant(kind, case.changed(change))
        rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - reproducible, no secret
        kind = self._names[number % len(self._names)]
        for _ in range(ATTEMPTS):
            change = MUTATIONS[kind](case, rng)
            if "previous" not in change:
                change["previous"] = case.files[rng.choice((*["checkpoint"] * 8, *case.trusted()))]
            if not _is_honest(case, change):
                return Mutant(kind, case.changed(change))
        raise InvariantError(f"{kind} changes nothing in these files")


def _is_honest(case: DayCase, change: Changed) -> bool:
    """Whether the files say what the honest ones say: they are those, or trust in the same end of the day before."""
    same = all(data == case.files[part] for part, data in change.items() if part != "previous")
    if not same:
        return False
    previous = change["previous"]
    return previous in (case.files[name] for name in case.trusted()) or _end(previous) == _end(
        case.files["checkpoint"]
    )


def _end(data: bytes) -> Checkpoint | None:
    """Returns where a checkpoint or statement says that a day ends; None if it says nothing."""
    try:
        return decode_checkpoint(data)
    except ProofError:
        pass  # a statement has no magic
    try:
        return checkpoint_of(RunStatement.from_bytes(data))
    except WireError:
        return None


@cache
def _sections() -> list[Section]:
    return sections_of(wrap_key())


def _other_end(given: Checkpoint, rng: random.Random) -> Checkpoint:
    def number(value: int) -> int:
        return value + 1 if rng.random() < 0.5 or not value else value - 1

    def word(elements: tuple[int, ...]) -> tuple[int, ...]:
        place = rng.randrange(len(elements))
        return (*elements[:place], rng.randrange(P), *elements[place + 1 :])

    changes = (
        lambda: replace(given, chain=number(given.chain)),
        lambda: replace(given, shards=number(given.shards)),
        lambda: replace(given, end_window=number(given.end_window)),
        lambda: replace(given, validators=word(given.validators)),
        lambda: replace(given, state=word(given.state)),
    )
    return rng.choice(changes)()


def _swap(listed: list[Any], rng: random.Random) -> None:
    first, second = rng.sample(range(len(listed)), 2)
    listed[first], listed[second] = listed[second], listed[first]


def _with(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]
