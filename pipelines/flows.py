"""The dataflow of every pipeline, as data: what `graph` draws, `--dry-run` prints and the supervisor starts."""

from __future__ import annotations

from pipelines.dataflow import Dataflow, StageNode
from schemas.config import Configuration
from schemas.errors import EnvironmentMissing
from schemas.topics import BEACON, JOBS, PROOFS, RECEIPTS, REJECTED, shard_topic

PARQUET = "epochs/*.parquet"
"""The export, as a sink of the drawing."""

COUNTED = "analytics/*.parquet"
"""The counted windows, as a sink of the drawing."""

SERVICES = ("admission", "consensus", "windows", "proving", "export")
"""Pipelines that run; `all` and `day` are all of them."""

NOT_BUILT = {"watch": "fraud proofs", "market": "the prover market"}
"""Pipelines that are named and wait for a part."""


def stages_of(service: str, configuration: Configuration) -> tuple[StageNode, ...]:
    """Returns the stages of a service, for every shard.

    Raises:
        EnvironmentMissing: The service is not built yet.
    """
    if service in NOT_BUILT:
        raise EnvironmentMissing(
            f"not built yet: the pipeline {service} needs {NOT_BUILT[service]}",
            f"pipelines: {', '.join(SERVICES)}, all",
        )
    if service in ("all", "day"):
        return tuple(stage for name in SERVICES for stage in stages_of(name, configuration))
    builders = {
        "admission": _admission,
        "consensus": _consensus,
        "windows": _windows,
        "proving": _proving,
        "export": _export,
    }
    shards = range(configuration.chain.shards)
    return tuple(stage for shard in shards for stage in builders[service](shard, configuration))


def dataflow(pipeline: str, configuration: Configuration) -> Dataflow:
    """Returns the dataflow of a pipeline; topics that nothing in it writes are its sources.

    Raises:
        EnvironmentMissing: The pipeline is not built yet.
    """
    stages = stages_of(pipeline, configuration)
    written = {topic for stage in stages for topic in stage.writes}
    read = dict.fromkeys(topic for stage in stages for topic in stage.reads)
    sources = tuple(topic for topic in read if topic not in written)
    sinks = tuple(topic for topic in (REJECTED, RECEIPTS) if topic in written)
    return Dataflow(pipeline, stages, sources, sinks)


def _admission(shard: int, _: Configuration) -> tuple[StageNode, ...]:
    return (
        StageNode(
            f"admission.{shard}",
            "signature, format, nonce, balance, expiry",
            (shard_topic("tx", shard),),
            (shard_topic("admitted", shard), REJECTED, RECEIPTS),
        ),
    )


def _consensus(shard: int, configuration: Configuration) -> tuple[StageNode, ...]:
    transactions, admitted = shard_topic("tx", shard), shard_topic("admitted", shard)
    proposals, votes = shard_topic("proposals", shard), shard_topic("votes", shard)
    certificates, blocks = shard_topic("certificates", shard), shard_topic("blocks", shard)
    messages = (proposals, votes, certificates)
    return (
        StageNode(
            f"validators.{shard}",
            f"assemble, execute, vote: Simplex, n = {configuration.chain.validators}",
            (transactions, admitted, blocks, *messages),
            messages,
        ),
        StageNode(
            f"finality.{shard}",
            "certified blocks in order, receipts",
            (transactions, admitted, *messages),
            (blocks, RECEIPTS, REJECTED),
        ),
    )


def _windows(shard: int, configuration: Configuration) -> tuple[StageNode, ...]:
    runner = configuration.streaming.runner
    by = "in the process chain" if runner == "loop" else f"with Beam, runner {runner}"
    return (
        StageNode(
            f"windows.{shard}",
            f"close windows, cut segments, plan jobs {by}",
            (shard_topic("tx", shard), shard_topic("blocks", shard)),
            (shard_topic("windows", shard), JOBS),
        ),
    )


def _proving(shard: int, configuration: Configuration) -> tuple[StageNode, ...]:
    blocks = shard_topic("blocks", shard)
    pool = "Ray actors" if configuration.proving.pool == "ray" else "this process"
    return (
        StageNode(f"prover.{shard}", f"lease and prove jobs in {pool}", (JOBS,), (PROOFS, JOBS)),
        StageNode(
            f"pyramid.{shard}",
            "plan recursive proofs of what is accepted, keep them",
            (BEACON, PROOFS, blocks, shard_topic("windows", shard)),
            (JOBS,),
        ),
        StageNode(
            f"beacon.{shard}",
            f"verify and order proofs: Simplex, n = {configuration.chain.validators}",
            (PROOFS, blocks, BEACON),
            (BEACON, JOBS),
        ),
    )


def _export(shard: int, _: Configuration) -> tuple[StageNode, ...]:
    stems = ("tx", "votes", "certificates", "blocks", "windows")
    shared = (JOBS, PROOFS, RECEIPTS, REJECTED)
    return (
        StageNode(
            f"export.{shard}",
            "sealed epochs to Parquet",
            (*(shard_topic(stem, shard) for stem in stems), *shared),
            (PARQUET,),
        ),
        StageNode(
            f"analytics.{shard}",
            "count closed windows with Beam: runners direct and flink",
            (*(shard_topic(stem, shard) for stem in ("tx", "votes", "blocks")), RECEIPTS, REJECTED),
            (COUNTED,),
        ),
    )
