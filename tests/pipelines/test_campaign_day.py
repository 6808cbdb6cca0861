"""`campaign mutate-day`: what it attacks with is none of the honest day, and every part of it is refused by name.

The proof of a day takes a minute to make, so the default tier looks at what comes with it, and the slow one at the whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest

from operators.proof_worker import process_backend
from operators.pyramid_tree import Segment
from pipelines.adversary.attacked_days import ATTACKED_DAY, LAST_WINDOW, ProvenDays, sample_case
from pipelines.adversary.bare_light import Answer, BareLight
from pipelines.adversary.day_case import DayCase, Mutant, read_case, write_case
from pipelines.adversary.day_judge import Verdict, judge
from pipelines.adversary.day_mutants import MUTATIONS, DayAttacker, fixed_changes
from pipelines.adversary.unsigned_transfer import validators_say
from pipelines.cli.main import main
from pipelines.sample_days import SampleChain, stolen_transfer
from pipelines.tree_proofs import TreeProver
from proving.light.certificate import check_certificate, decode_certificate
from proving.light.checkpoint import check_link
from proving.light.day import DayFiles, trusted_checkpoint
from proving.light.encoding import HEADER_BYTES, sections_of
from proving.light.errors import ProofError
from proving.light.inclusion import check_inclusion, decode_inclusion
from proving.light.key import wrap_key
from proving.light.signature_check import best_signature_check
from proving.segment_proofs import SEGMENT_KIND
from schemas.units import word_elements
from tests.suites.mini_chain import Quiet

HASHER = process_backend()
FAST = best_signature_check()


@cache
def days() -> ProvenDays:
    """Returns the sample days with noise of the right length for their proofs."""
    size = HEADER_BYTES + sum(section.length for section in sections_of(wrap_key()))
    one, other = (bytes(Random(n).choices(range(100), k=size)) for n in range(2))  # noqa: S311
    stolen = SampleChain(HASHER, stolen_in=LAST_WINDOW)
    return ProvenDays(SampleChain(HASHER), stolen, one, one[:-1], other, 0)


@cache
def case() -> DayCase:
    return sample_case(days())


@cache
def attacker() -> DayAttacker:
    return DayAttacker(case(), 1)


def numbers() -> range:
    """Returns all fixed mutants and two of every drawn kind."""
    return range(len(list(fixed_changes(case()))) + 2 * len(MUTATIONS))


def refused(files: DayFiles) -> str:
    """Returns why what comes with a proof of the honest day is refused; empty if all of it holds."""
    run = days().run
    statement = days().honest.days[ATTACKED_DAY].said.digest(HASHER)
    try:
        shown = check_certificate(decode_certificate(files.certificate), FAST, statement)
        assert shown.run == run
        if files.previous is not None:
            check_link(run, trusted_checkpoint(files.previous, FAST))
        if files.inclusion is not None:
            check_inclusion(decode_inclusion(files.inclusion), run)
    except ProofError as error:
        return str(error.reason)
    return ""


@cache
def fixed_reasons() -> list[tuple[str, str]]:
    """Returns kind and reason of every fixed mutant."""
    count = len(list(fixed_changes(case())))
    return [(one.kind, refused(one.files)) for one in map(attacker().mutant, range(count))]


def test_the_honest_companions_hold_whatever_is_trusted() -> None:
    for name in case().trusted():
        assert refused(case().changed({"previous": case().files[name]})) == ""


def test_every_mutant_is_another_and_is_refused_by_what_it_changes() -> None:
    """Those that change the proof are refused before all else; their companions are honest."""
    kinds: Counter[str] = Counter()
    for number in numbers():
        made = attacker().mutant(number)
        kinds[made.kind] += 1
        changes_proof = made.files.proof != case().files["proof"]
        assert changes_proof == ("proof/" in made.kind), made.kind
        assert bool(refused(made.files)) != changes_proof, (number, made.kind)
    assert set(MUTATIONS) <= set(kinds)
    assert kinds["certificate/below_quorum"] == 1 + 3 + 3
    assert kinds["certificate/repeated_signer"] == 2 * 3 * 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("foreign certificate/other_validators", "foreign_validators"),
        ("foreign certificate/other_chain", "wrong_place"),
        ("foreign certificate/other_day", "other_statement"),
        ("foreign certificate/other_statement", "other_statement"),
        ("foreign certificate/two_votes", "too_few_votes"),
        ("foreign certificate/votes_of_another_block", "bad_signature"),
        ("foreign certificate/notarized_only", "bad_signature"),
        ("certificate/below_quorum", "too_few_votes"),
        ("foreign previous/own_end", "not_the_next_day"),
        ("foreign previous/certificate_of_others", "foreign_validators"),
        ("foreign inclusion/other_day", "not_included"),
        ("inclusion/one_unit", "not_included"),
        ("inclusion/one_index", "not_included"),
        ("inclusion/other_shard", "not_included"),
    ],
)
def test_what_the_campaign_is_for_is_refused_for_that(kind: str, reason: str) -> None:
    assert {said for named, said in fixed_reasons() if named == kind} == {reason}


def test_a_statement_that_ends_alike_is_no_mutant() -> None:
    """Where the day before began is not what the next one follows, so such a statement is as good."""
    seeds = [DayAttacker(case(), seed) for seed in range(6)]
    first = len(list(fixed_changes(case())))
    place = list(MUTATIONS).index("previous/flip_bit")
    chosen = first + (place - first) % len(MUTATIONS)
    for one in seeds:
        made = one.mutant(chosen)
        assert made.kind == "previous/flip_bit"
        assert refused(made.files)


def test_a_case_is_the_same_in_the_folder_and_in_the_campaign(tmp_path: Path) -> None:
    write_case(case(), tmp_path / "case")
    there = DayAttacker(read_case(tmp_path / "case"), 1)
    for number in numbers():
        assert there.mutant(number) == attacker().mutant(number)


def test_a_refusal_is_named_and_anything_else_counts_as_accepted() -> None:
    verdict = judge(case().honest())
    assert (verdict.error, verdict.reason) == ("ProofMalformed", "bad_magic")
    broken = replace(case().honest(), proof=None)  # type: ignore[arg-type]
    assert judge(broken).error == "not a refusal: TypeError"
    assert Answer(4, "bad_magic", "").agrees(verdict)
    assert not Answer(3, "bad_magic", "").agrees(verdict)
    assert not Answer(4, "truncated", "").agrees(verdict)
    assert not Answer(0, "", "").agrees(Verdict("not a refusal: KeyError", "", 0.0, 0.0))


def test_the_worker_and_the_command_say_the_same_in_an_empty_folder(tmp_path: Path) -> None:
    light = BareLight.make(tmp_path, case())
    found = light.mutants(1, 0, 6, 2)
    assert found["foreign_modules"] == []
    assert found["accepted"] == []
    assert set(found["sampled"]) == {"0", "2", "4"}
    for number, (error, reason) in found["sampled"].items():
        made = attacker().mutant(int(number))
        assert light.verify("one", made.files).agrees(Verdict(error, reason, 0.0, 0.0))
    assert [name for name in light.copied() if name.endswith("wrap_key.json")]


def test_the_mutants_import_the_light_client_and_the_standard_library_alone(tmp_path: Path) -> None:
    BareLight.make(tmp_path, case())
    program = (
        "import sys; sys.path.insert(0, '.'); import pipelines.adversary.day_judge; "
        "print(sorted({n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)))"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)  # noqa: S603
    assert done.stdout.strip() == "['__main__', 'pipelines', 'proving', 'schemas']"


def test_a_validator_refuses_the_block_with_the_stolen_transfer_and_takes_the_signed_one() -> None:
    verdicts = validators_say(HASHER)
    assert verdicts.pop("signed_by_its_sender") == "valid"
    assert len(verdicts) == 4
    assert set(verdicts.values()) == {"invalid: bad_signature"}


def test_the_stolen_transfer_is_in_a_day_that_differs_from_the_honest_one_only_by_it() -> None:
    run, stolen = days().run, days().stolen_run
    assert (stolen.before, stolen.validators) == (run.before, run.validators)
    assert (stolen.first_window, stolen.end_window) == (run.first_window, run.end_window)
    assert (stolen.after, stolen.history) != (run.after, run.history)
    path = days().stolen.path_to(stolen_transfer(), LAST_WINDOW)
    assert check_inclusion(path, stolen).digest == stolen_transfer().digest().hex()
    with pytest.raises(ProofError):
        check_inclusion(path, run)
    honest = days().honest.day_run(ATTACKED_DAY - 1)
    assert honest == days().stolen.day_run(ATTACKED_DAY - 1)
    assert word_elements(bytes(32)) != honest.after


def test_a_proof_on_file_is_verified_and_one_that_does_not_hold_is_made_again(
    tmp_path: Path,
) -> None:
    witness = next(iter(days().honest.witnesses.values()))
    place = Segment(witness.statement, SEGMENT_KIND)
    witnesses = {witness.statement: witness}

    def prove() -> TreeProver:
        prover = TreeProver(tmp_path, process_backend(), Quiet())
        prover.prove([place, place], witnesses)
        return prover

    first = prove()
    assert (first.made, prove().made) == (1, 0)
    file = first.path(place)
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert prove().made == 1
    assert file.read_bytes() == good


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["theft", "--day", "x"], "attacks no day"),
        (["mutate-day", "--day", "x"], "holds no day with proof and certificate"),
        (["mutate-day", "--seconds", "5"], "takes --runs, not --seconds"),
    ],
)
def test_a_campaign_that_cannot_attack_a_day_says_why(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["campaign", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_campaign_accepts_the_honest_day_alone_and_refuses_the_unsigned_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["campaign", "mutate-day", "--runs", "300", "--data", str(tmp_path), "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    evidence = found["evidence"]
    assert (found["runs"], found["accepted"], evidence["third_party_modules"]) == (300, 0, [])
    assert evidence["honest"]["accepted"] is True
    assert evidence["command_line"]["disagreed"] == []
    assert set(evidence["command_line"]["exit_codes"]) == {"3", "4"}
    assert evidence["peak_memory_bytes"] < 100 * 2**20
    shown = evidence["unsigned_transfer"]
    assert shown["native_verifier"] == "valid, 100 proven bits"
    assert shown["light_verify"]["one_traitor"] == "rejected: too_few_votes"
    assert shown["light_verify"]["votes_of_the_honest_day"] == "rejected: bad_signature"
    assert shown["light_verify"]["certificate_of_the_honest_day"] == "rejected: other_statement"
    assert shown["light_verify_if_a_quorum_had_signed"] == "exit 0"
    assert main(arguments) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["evidence"]["proofs_made"] == 0
    assert again["evidence"]["mutants"].keys() == evidence["mutants"].keys()


def test_mutants_follow_from_seed_and_number() -> None:
    other = DayAttacker(case(), 2)
    last = numbers()[-1]
    made: list[Mutant] = [one.mutant(last) for one in (attacker(), DayAttacker(case(), 1), other)]
    assert made[0] == made[1]
    assert made[0] != made[2]
