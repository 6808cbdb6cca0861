"""What a light client finds on file once a day is final on the beacon."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from operators.beacon_runs import RunRules, RunTip
from operators.consensus_node import FinalBlock
from operators.day_files import DayWriter, checkpoint_path, day_path
from pipelines.sample_shards import CHAIN
from pipelines.sample_votes import Voted, committee
from proving.light.certificate import check_certificate, decode_certificate
from proving.light.checkpoint import check_link, checkpoint_of, decode_checkpoint
from proving.light.signature_check import best_signature_check
from schemas.beacon_payload import encode_acceptances
from schemas.block import Block, Certificate, Phase, header_ballot
from schemas.run import RunStatement
from schemas.validators import validators_word
from tests.suites.day_votes import statement
from tests.suites.proven_days import HASHER, SHARDS, WINDOWS_PER_DAY, begun_at

RULES = RunRules(CHAIN, SHARDS, WINDOWS_PER_DAY, validators_word(committee().keys), HASHER)
RUN = RunStatement.from_bytes(statement().to_bytes())


def final(voted: Voted) -> list[FinalBlock]:
    """Returns the final blocks, all held up by the certificate of the last."""
    headers = voted.headers()
    certificate = Certificate(header_ballot(headers[-1], Phase.FINALIZE), voted.votes())
    payloads = {sha256(data).digest(): data for data in (voted.payload, encode_acceptances([]))}
    return [(Block(header, payloads[header.payload_hash]), certificate) for header in headers]


def writer(data: Path) -> DayWriter:
    return DayWriter(data, committee(), RULES)


def test_a_final_day_has_a_certificate_and_a_statement_on_file(tmp_path: Path) -> None:
    for day in range(2):
        said = RunStatement.from_bytes(statement(day).to_bytes())
        writer(tmp_path).write(final(Voted(said, above=day)))
        assert day_path(tmp_path, day, "statement").read_bytes() == said.to_bytes()
        data = day_path(tmp_path, day, "certificate").read_bytes()
        shown = check_certificate(
            decode_certificate(data), best_signature_check(), statement(day).digest(HASHER)
        )
        assert shown.run == said
        if day:
            check_link(shown.run, checkpoint_of(RUN))


def test_the_first_day_follows_the_checkpoint_of_the_genesis(tmp_path: Path) -> None:
    writer(tmp_path).write_start(begun_at())
    start = decode_checkpoint(checkpoint_path(tmp_path).read_bytes())
    check_link(RUN, start)
    assert start.state == RunTip.start(begun_at(), HASHER).state


def test_what_is_on_file_stays(tmp_path: Path) -> None:
    writer(tmp_path).write(final(Voted(RUN)))
    path = day_path(tmp_path, 0, "certificate")
    before = path.read_bytes()
    writer(tmp_path).write(final(Voted(RUN, above=2)))
    assert path.read_bytes() == before
    path.unlink()
    writer(tmp_path).write(final(Voted(RUN, above=2)))
    assert len(decode_certificate(path.read_bytes()).headers) == 3


def test_blocks_of_the_log_that_do_not_hold_leave_no_file(tmp_path: Path) -> None:
    good = Voted(RUN)
    (first, certificate), (second, _) = final(good)
    forged = replace(certificate, signatures=Voted(RUN, height=6).votes())
    part = replace(RUN, end_window=1)
    for blocks in (
        [(first, certificate)],
        [(second, certificate)],
        [(first, forged), (second, forged)],
        final(Voted(part)),
        final(Voted(None)),
        final(Voted(RUN, first=4)),
        final(Voted(RUN, chain=8)),
    ):
        writer(tmp_path).write(blocks)
        assert not list(tmp_path.rglob("day=*"))
    writer(tmp_path).write([(second, certificate), (first, certificate), (second, certificate)])
    assert day_path(tmp_path, 0, "certificate").exists()
