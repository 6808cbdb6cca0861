from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.account_keys import ISSUER_LABEL, KeyRing, issuer_pair, own_address, seed_key
from pipelines.corpus import (
    ADMITTED,
    GENESIS_PHASE,
    TRAFFIC_PHASE,
    CorpusInfo,
    CorpusRow,
    map_in_order,
    read_corpus,
    read_corpus_info,
    write_corpus,
)
from schemas.errors import EclipticaError, ParameterError

INFO = CorpusInfo(1, 0, 7, 1, 2, 3, 9, ({"kind": "test", "rows": 2},))
ROWS = [
    CorpusRow(GENESIS_PHASE, b"body", b"s" * 2420, ADMITTED, "account", None),
    CorpusRow(TRAFFIC_PHASE, b"", b"", "signature", "line 7", 5),
    CorpusRow(TRAFFIC_PHASE, b"x", b"y", ADMITTED, "line 8", 6),
]


def _write(path: Path, rows: list[CorpusRow]) -> None:
    with write_corpus(path) as writer:
        for row in rows:
            writer.add(row)
        writer.describe(INFO)


def test_a_corpus_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    _write(path, ROWS)
    assert (read_corpus_info(path), list(read_corpus(path))) == (INFO, ROWS)


def test_more_rows_than_a_group_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    rows = [CorpusRow(TRAFFIC_PHASE, b"%d" % n, b"", ADMITTED, "", n) for n in range(9000)]
    _write(path, rows)
    assert list(read_corpus(path)) == rows
    assert pq.ParquetFile(path).num_row_groups == 3


class Interrupted(Exception):
    pass


def test_an_interrupted_corpus_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    _write(path, ROWS)

    def stop_half_way() -> None:
        with write_corpus(path) as writer:
            writer.add(ROWS[0])
            raise Interrupted

    with pytest.raises(Interrupted):
        stop_half_way()
    assert list(read_corpus(path)) == ROWS
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.parquet"]


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        EclipticaError, match=r"cannot write .*c\.parquet: No such file or directory$"
    ):
        _write(tmp_path / "absent" / "c.parquet", ROWS)


def test_files_that_are_no_corpus_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    with pytest.raises(ParameterError, match="does not exist"):
        read_corpus_info(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ParameterError, match="is not a Parquet file"):
        read_corpus_info(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ParameterError, match="is not a traffic corpus"):
        list(read_corpus(path))


def test_work_on_threads_keeps_the_order() -> None:
    rows = map_in_order(
        range(1000), lambda n: CorpusRow(TRAFFIC_PHASE, b"%d" % n, b"", ADMITTED, "", n), 3
    )
    assert [row.event_millis for row in rows] == list(range(1000))


def test_an_error_in_the_work_reaches_the_caller() -> None:
    def work(number: int) -> CorpusRow:
        if number == 100:
            raise Interrupted
        return ROWS[0]

    with pytest.raises(Interrupted):
        list(map_in_order(range(200), work, 2))


def test_keys_depend_on_the_seed_and_the_address_and_are_pinned() -> None:
    keys = {
        seed_key(seed, label) for seed in (0, 1) for label in (b"", b"\0", b"a" * 20, ISSUER_LABEL)
    }
    assert len(keys) == 8
    assert seed_key(7, b"a" * 20).hex() == PINNED_KEY
    assert own_address(issuer_pair(7).public_key).hex() == PINNED_ISSUER_ADDRESS


PINNED_KEY = "11006f310aa51d96c894aa4ddf8d946cfc6f79ea77867ce00f6aab6caa6b5277"
PINNED_ISSUER_ADDRESS = "61bdbf6dca7162fbfd4ba7d01e174f5d3551a78c"


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_outside_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ParameterError, match="a seed is in"):
        seed_key(seed, b"")


def test_a_label_over_255_bytes_is_refused() -> None:
    with pytest.raises(ParameterError, match="at most 255 bytes, got 256"):
        seed_key(0, bytes(256))


def test_a_key_ring_forgets_the_oldest_and_makes_the_same_again() -> None:
    ring = KeyRing(3, capacity=2)
    first = ring.pair(b"a")
    assert ring.pair(b"a") is first
    ring.pair(b"b")
    ring.pair(b"c")
    again = ring.pair(b"a")
    assert again == first
    assert again is not first
