"""Draws the dataflow of a pipeline from the pipeline object."""

from __future__ import annotations

import json

from pipelines.cli.contract import Call, Document
from pipelines.dataflow import to_dot, to_json, to_mermaid
from pipelines.flows import dataflow


def draw_pipeline(call: Call, *, pipeline: str, form: str) -> Document:
    """Returns the drawing of a pipeline.

    Raises:
        EnvironmentMissing: The pipeline is not built yet.
    """
    configuration = call.settings().configuration
    flow = dataflow(pipeline, configuration)
    fields = to_json(flow)
    texts = {"mermaid": to_mermaid, "dot": to_dot}
    text = texts[form](flow) if form in texts else json.dumps(fields, indent=2)
    return Document(text, {**fields, "format": form, "text": text})
