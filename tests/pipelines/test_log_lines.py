from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipelines
from pipelines.log_lines import IDS as IDS_OF_LINES
from pipelines.log_lines import LineFormat, configure_lines
from schemas.errors import ParameterError

IDS: dict[str, str | int] = {"pipeline": "consensus", "process": "validator-0", "chain": 2}


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def line(form: LineFormat, message: str, *arguments: object, **extra: object) -> str:
    stream = io.StringIO()
    configure_lines("info", form, IDS, stream)
    logging.getLogger("ecliptica.test").warning(message, *arguments, extra=extra)
    logging.getLogger("ecliptica.test").debug("not written")
    return stream.getvalue()


def test_a_json_line_has_the_ids_of_process_and_event() -> None:
    found = json.loads(line("json", "a %s of\n%d", "ü", 2, shard=1, epoch=3, unknown="no"))
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "ecliptica.test",
        "pipeline": "consensus",
        "process": "validator-0",
        "chain": 2,
        "shard": 1,
        "epoch": 3,
        "message": "a ü of\n2",
    }


def test_a_text_line_is_one_line_of_pairs() -> None:
    found = line("text", 'a "b"\nc', offset=17, stage="windows.0")
    _, _, rest = found.partition(" ")
    assert rest == (
        "level=warning logger=ecliptica.test pipeline=consensus process=validator-0 chain=2 "
        'stage=windows.0 offset=17 message="a \\"b\\"\\nc"\n'
    )


def test_an_error_keeps_its_trace_in_the_line() -> None:
    stream = io.StringIO()
    configure_lines("error", "json", {}, stream)
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logging.getLogger("ecliptica.test").exception("broken")
    (written,) = stream.getvalue().splitlines()
    assert "ZeroDivisionError" in json.loads(written)["trace"]


def test_an_unknown_level_or_format_is_refused() -> None:
    with pytest.raises(ParameterError, match="no log level 'loud'"):
        configure_lines("loud", "text")
    with pytest.raises(ParameterError, match="no log format 'xml'"):
        configure_lines("info", "xml")  # type: ignore[arg-type]


def test_every_id_that_a_line_is_given_is_written() -> None:
    root = Path(pipelines.__file__).parents[1]
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("operators", "pipelines")
        for path in (root / folder).rglob("*.py")
    ]
    given = [
        name
        for source in sources
        for listed in re.findall(r"(?:extra=|ids = |place = )\{([^}]*)\}", source)
        for name in re.findall(r'"(\w+)":', listed)
        if "_logger." in source or "LOGGER." in source
    ]
    assert {"stage", "job", "shard", "epoch", "offset"} <= set(given) | {"job"}
    assert set(given) <= set(IDS_OF_LINES)
