"""Action of `ecliptica deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.dashboard_picture import (
    Interval,
    Prometheus,
    check_picture,
    picture,
    read_panels,
)
from pipelines.cli.contract import Call, Document
from pipelines.deployment import render
from schemas.errors import EclipticaError


def render_manifests(call: Call, *, target: str, out: Path | None) -> Document:
    """Prints the manifests of a target, or writes them below a directory.

    Raises:
        ParameterError: The configuration does not fit the target.
        EnvironmentMissing: The target is not built yet.
    """
    rendered = render(target, call.settings())
    fields = {"target": target, "out": out, "files": dict(rendered.files), "then": rendered.then}
    if out is None:
        text = "".join(f"# {path}\n{content}" for path, content in rendered.files.items())
        return Document(text.rstrip("\n"), fields)
    for path, content in rendered.files.items():
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")
    lines = [*(str(out / path) for path in rendered.files), f"then: {rendered.then}"]
    return Document("\n".join(lines), fields)


def draw_dashboard(
    call: Call, *, prometheus: str, out: Path, minutes: float, scrape_seconds: float
) -> dict[str, Any]:
    """Draws the committed dashboard with what a Prometheus has.

    Returns:
        How many panels there are and how many have data.

    Raises:
        ParameterError: The address or the file's name is none.
        EnvironmentMissing: Nobody answers there, or matplotlib is not installed.
        EclipticaError: It refuses a query, or has nothing of any.
    """
    check_picture(out)
    source = Prometheus(prometheus)
    panels, end = read_panels(), source.now()
    call.report.phase("panels", None)
    found = picture(source, panels, Interval(end - 60 * minutes, end, scrape_seconds))
    if not found.with_data:
        raise EclipticaError(
            f"{prometheus} has no data of any panel", "is `metrics.port` set, and is it scraped?"
        )
    found.write(out)
    return {"out": out, "panels": len(panels), "with_data": found.with_data}
