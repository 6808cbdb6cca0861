"""Action of `ecliptica deploy`."""

from __future__ import annotations

from pathlib import Path

from pipelines.cli.contract import Call, Document
from pipelines.deployment import render


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
