"""Draws the dataflow of a pipeline from the pipeline object."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec

from pipelines.cli.contract import Call, Document
from pipelines.dataflow import Dataflow, to_dot, to_json, to_mermaid
from schemas.errors import EnvironmentMissing

BUILDERS = {"day": "pipelines.day"}
"""Modules with a function `dataflow(pipeline, configuration) -> Dataflow`; `pipelines.node` for the rest."""


def draw_pipeline(call: Call, *, pipeline: str, form: str) -> Document:
    """Returns the drawing of a pipeline.

    Raises:
        EnvironmentMissing: The pipeline is not built yet.
    """
    configuration = call.settings().configuration
    module = BUILDERS.get(pipeline, "pipelines.node")
    if find_spec(module) is None:
        raise EnvironmentMissing(f"not built yet: the pipeline {pipeline} ({module})")
    flow: Dataflow = import_module(module).dataflow(pipeline, configuration)
    fields = to_json(flow)
    texts = {"mermaid": to_mermaid, "dot": to_dot}
    text = texts[form](flow) if form in texts else json.dumps(fields, indent=2)
    return Document(text, {**fields, "format": form, "text": text})
