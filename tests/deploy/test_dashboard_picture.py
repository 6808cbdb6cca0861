"""The dashboard without Grafana: every panel's own queries, and what a picture says of their answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.dashboard_picture import (
    DashboardPicture,
    Interval,
    Prometheus,
    Series,
    Target,
    check_picture,
    named,
    picture,
    read_panels,
)
from deploy.grafana_dashboard import FILE, RATE_WINDOW, ROWS
from deploy.prometheus_server import running_prometheus
from operators.topic_view import TopicView
from pipelines.bench_endurance import endurance_configuration
from pipelines.cli.main import main
from pipelines.live_chain import live_chain
from pipelines.node_plan import metrics_ports
from pipelines.process_samples import free_ports
from schemas.config import Configuration
from schemas.errors import EclipticaError, EnvironmentMissing, ParameterError

NOW = 1_000.0


@dataclass
class Answering:
    """A server that speaks Prometheus' API and keeps what it was asked."""

    results: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if self.error:
            return {"status": "error", "error": self.error}
        if path == "/api/v1/query":
            return {
                "status": "success",
                "data": {"resultType": "scalar", "result": [NOW, str(NOW)]},
            }
        self.asked.append(query)
        return {"status": "success", "data": {"resultType": "matrix", "result": self.results}}


@pytest.fixture
def server() -> Iterator[Answering]:
    found = Answering()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = json.dumps(found.answer(parts.path, query)).encode()
            self.send_response(400 if found.error else 200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield found
    running.shutdown()
    running.server_close()


def line(**labels: str) -> dict[str, Any]:
    return {"metric": labels, "values": [[900, "1"], [905, "2.5"], [910, "NaN"]]}


def test_the_panels_are_those_of_the_stored_dashboard() -> None:
    found = [(panel.row, panel.title, panel.unit) for panel in read_panels()]
    assert found == [(row, panel.title, panel.unit) for row, panels in ROWS for panel in panels]
    expressions = [target.expression for panel in read_panels() for target in panel.targets]
    assert expressions == [q.expression for _, panels in ROWS for p in panels for q in p.queries]


def test_every_query_of_every_panel_is_asked_with_grafanas_rate_window(server: Answering) -> None:
    panels = read_panels()
    picture(Prometheus(server.url), panels, Interval(0, 600, scrape_seconds=5))
    wanted = [t.expression.replace(RATE_WINDOW, "20s") for p in panels for t in p.targets]
    assert [query["query"] for query in server.asked] == wanted
    assert {(q["start"], q["end"], q["step"]) for q in server.asked} == {("0.000", "600.000", "5")}


@pytest.mark.parametrize(
    ("minutes", "step", "window"), [(1, 5, "20s"), (30, 8, "20s"), (24 * 60, 360, "365s")]
)
def test_step_and_rate_window_grow_with_the_time(minutes: int, step: float, window: str) -> None:
    interval = Interval(0, 60 * minutes, 5)
    assert (interval.step, interval.rate_window) == (step, window)


def test_a_series_is_called_as_the_legend_says(server: Answering) -> None:
    server.results = [line(shard="0", kind="check")]
    (found,) = Prometheus(server.url).series(
        Target("x", "p99 {{kind}} {{ shard }}"), Interval(0, 9)
    )
    assert (found.name, found.times, found.values[:2]) == (
        "p99 check 0",
        (900.0, 905.0, 910.0),
        (1.0, 2.5),
    )
    assert named("", {"b": "2", "a": "1"}) == "a=1, b=2"


def test_a_query_that_is_refused_names_its_panel(server: Answering) -> None:
    server.error = "parse error"
    with pytest.raises(EclipticaError, match=r"panel 'Ready': .* refuses: parse error"):
        picture(Prometheus(server.url), read_panels(), Interval(0, 60))


def test_addresses_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is no Prometheus"):
        Prometheus("file:///etc/passwd")
    with pytest.raises(ParameterError, match="is no picture"):
        check_picture(tmp_path / "dashboard.pdf")
    port = free_ports(1)
    with pytest.raises(EnvironmentMissing, match="no Prometheus answers"):
        Prometheus(f"http://127.0.0.1:{port}").now()
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ParameterError, match="is no dashboard"):
        read_panels(tmp_path / "x.json")


def drawn(series: list[Series]) -> DashboardPicture:
    panels = read_panels()
    return DashboardPicture([(panel, series) for panel in panels[:4]], Interval(0, 60), "a test")


def test_a_page_shows_every_panel_says_who_drew_it_and_asks_no_network() -> None:
    page = drawn([]).as_html()
    assert page.count("<svg") == 4
    assert "not by Grafana" in page
    assert "<script" not in page
    assert 'src="http' not in page


def test_a_picture_differs_by_what_was_measured() -> None:
    some = drawn([Series("a", (0.0, 30.0), (1.0, 2.0))])
    assert (some.with_data, drawn([]).with_data) == (4, 0)
    assert some.as_png().startswith(b"\x89PNG")
    assert some.as_png() != drawn([]).as_png()


def test_the_command_draws_and_counts_the_panels_with_data(
    server: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dashboard.html"
    arguments = ["deploy", "draw", "--prometheus", server.url, "--out", str(out), "--json"]
    assert main(arguments) == 1
    assert "has no data of any panel" in capsys.readouterr().err
    assert not out.exists()
    server.results = [line(process="admission")]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    panels = len(read_panels())
    assert (found["panels"], found["with_data"]) == (panels, panels)
    assert out.read_text("utf-8").count("<svg") == panels


@pytest.mark.slow
def test_a_real_prometheus_answers_every_query_of_a_running_chain(tmp_path: Path) -> None:
    if which("prometheus") is None:
        pytest.skip("NO PROMETHEUS: the package prometheus is not installed")
    configuration: Configuration = endurance_configuration()
    ports = metrics_ports(configuration)
    targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    place, port = tmp_path / "prometheus", free_ports(1)
    with (
        live_chain(configuration, tmp_path / "chain", "", 1) as chain,
        running_prometheus(targets, place, port, 1) as url,
    ):
        source = Prometheus(url)
        ready = Target("max by (process) (ecliptica_process_ready_state)", "{{process}}")
        found: list[Series] = []
        while len(found) < len(chain.supervisor.pids()):  # every process was scraped
            TopicView(chain.log).wait(0.5)
            chain.check()
            end = source.now()
            found = source.series(ready, Interval(end - 60, end, 1))
        shown = picture(source, read_panels(FILE), Interval(end - 60, end, 1))
    assert {one.name for one in found} >= set(chain.supervisor.pids())
    by_title = {panel.title: series for panel, series in shown.panels}
    assert len(by_title["Memory"]) == len(found)
    assert shown.as_png().startswith(b"\x89PNG")
