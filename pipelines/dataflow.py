"""A pipeline as a drawing: stages, the topics between them, and three formats generated from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.errors import ParameterError

FORMATS = ("mermaid", "dot", "json")


@dataclass(frozen=True, slots=True)
class StageNode:
    """One stage.

    Attributes:
        name: Unique within the dataflow.
        purpose: What it does, a few words.
        reads: Topics it reads.
        writes: Topics it writes.
    """

    name: str
    purpose: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dataflow:
    """Stages joined by topics.

    Attributes:
        name: Name of the pipeline.
        stages: Stages in reading order.
        sources: Topics written from outside, such as `tx.0`.
        sinks: Topics or places that nothing here reads.
    """

    name: str
    stages: tuple[StageNode, ...]
    sources: tuple[str, ...]
    sinks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ParameterError(f"dataflow {self.name}: two stages are named {twice[0]}")
        written = {topic for stage in self.stages for topic in stage.writes}
        for stage in self.stages:
            for topic in stage.reads:
                if topic not in written and topic not in self.sources:
                    raise ParameterError(
                        f"dataflow {self.name}: {stage.name} reads {topic}, which nothing writes"
                    )

    @property
    def edges(self) -> tuple[tuple[str, str, str], ...]:
        """(writer, topic, reader); the writer is empty for a source, the reader for a sink."""
        found = []
        for topic in self._topics():
            writers = [stage.name for stage in self.stages if topic in stage.writes]
            readers = [stage.name for stage in self.stages if topic in stage.reads]
            if topic in self.sources:
                writers.append("")
            if topic in self.sinks or not readers:
                readers.append("")
            found += [(writer, topic, reader) for writer in writers for reader in readers]
        return tuple(found)

    def _topics(self) -> list[str]:
        listed = [*self.sources]
        for stage in self.stages:
            listed += [*stage.reads, *stage.writes]
        return list(dict.fromkeys(listed))


def to_json(flow: Dataflow) -> Mapping[str, Any]:
    """Returns the dataflow as plain data."""
    return {
        "name": flow.name,
        "stages": [
            {
                "name": stage.name,
                "purpose": stage.purpose,
                "reads": list(stage.reads),
                "writes": list(stage.writes),
            }
            for stage in flow.stages
        ],
        "edges": [
            {"from": writer or None, "topic": topic, "to": reader or None}
            for writer, topic, reader in flow.edges
        ],
    }


def to_mermaid(flow: Dataflow) -> str:
    """Returns a mermaid flowchart, left to right; sources and sinks are rounded."""
    ids = {stage.name: f"s{place}" for place, stage in enumerate(flow.stages)}
    lines = ["flowchart LR"]
    lines += [
        f'    {ids[stage.name]}["{_quoted(stage.name)}<br/>{_quoted(stage.purpose)}"]'
        for stage in flow.stages
    ]
    for place, (writer, topic, reader) in enumerate(flow.edges):
        outside = f't{place}(["{_quoted(topic)}"])'
        if writer and reader:
            lines.append(f'    {ids[writer]} -- "{_quoted(topic)}" --> {ids[reader]}')
        elif reader:
            lines.append(f"    {outside} --> {ids[reader]}")
        elif writer:
            lines.append(f"    {ids[writer]} --> {outside}")
    return "\n".join(lines) + "\n"


def to_dot(flow: Dataflow) -> str:
    """Returns a Graphviz digraph."""
    lines = [f'digraph "{_quoted(flow.name)}" {{', "    rankdir=LR;", "    node [shape=box];"]
    for stage in flow.stages:
        label = f"{_quoted(stage.name)}\\n{_quoted(stage.purpose)}"
        lines.append(f'    "{_quoted(stage.name)}" [label="{label}"];')
    for writer, topic, reader in flow.edges:
        ends = [_quoted(writer or f"topic {topic}"), _quoted(reader or f"topic {topic}")]
        if not (writer and reader):
            lines.append(f'    "topic {_quoted(topic)}" [shape=oval];')
        if writer or reader:
            lines.append(f'    "{ends[0]}" -> "{ends[1]}" [label="{_quoted(topic)}"];')
    return "\n".join([*dict.fromkeys(lines), "}"]) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "'")
