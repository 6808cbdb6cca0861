"""Action of `ecliptica run`."""

from __future__ import annotations

from pipelines.cli.contract import Call, Document
from pipelines.service import Service, ServiceOutcome, check_runner, plan_fields


def run_pipeline(
    call: Call,
    *,
    pipeline: str,
    shard: int | None,
    until_epoch: int | None,
    dry_run: bool,
) -> ServiceOutcome | Document:
    """Runs a pipeline until it is stopped, or shows its plan.

    Raises:
        EnvironmentMissing: The pipeline or the runner is not built yet.
        ParameterError: No such shard.
    """
    settings = call.settings()
    check_runner(pipeline, shard, settings)
    service = Service(settings, pipeline, until_epoch)
    plans = service.plan()
    if dry_run:
        fields = plan_fields(pipeline, plans, settings)
        lines = [f"log      {settings.log_url}", f"data     {settings.data}"]
        lines += [f"process  {plan.name}" for plan in plans]
        lines += [
            f"stage    {stage['name']}: {', '.join(stage['reads'])} -> {', '.join(stage['writes'])}"
            for stage in fields["stages"]
        ]
        return Document("\n".join(lines), fields)
    return service.run(call.report, lambda: call.stop.is_requested)
