"""Action of `ecliptica demo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import day_report
from pipelines.chain_setup import genesis_path
from pipelines.cli.actions.epoch import export_epochs_action
from pipelines.cli.contract import Call, Document
from pipelines.day import DayOutcome, PhaseTimer, build
from pipelines.settings import Settings
from schemas.genesis import load_genesis
from schemas.job import ProofLevel


def run_demo(call: Call) -> Document:
    """Plays a day, exports its epochs, and verifies every proof in a fresh process.

    Raises:
        EclipticaError: A process cannot run, or nothing moves any more.
    """
    settings = call.settings()
    outcome = build(settings).run(call.report, lambda: call.stop.is_requested)
    if outcome.stopped:
        note = f"stopped; `ecliptica demo --data {settings.data}` goes on"
        return Document(note, {"stopped": True, "data": settings.data}, exit_code=1)
    timer = PhaseTimer(dict(outcome.phase_seconds))
    with timer.phase("export"):
        export_epochs_action(call, epoch=_last_epoch(settings), out=None, shard=None)
    files = day_report.all_proof_files(settings.data)
    call.report.phase("proofs verified in a fresh process", len(files))
    with timer.phase("verify"):
        minimum = settings.configuration.proving.minimum_proven_bits
        verified = day_report.verify_in_fresh_process(files, minimum)
    call.report.advance(int(verified["accepted"]))
    days = range(settings.configuration.demo.days if settings.configuration.proving.pyramid else 0)
    with timer.phase("light client"):
        light = [day_report.light_verdict(settings.data, day) for day in days]
    fields = _fields(settings, outcome, verified, light)
    fields["phase_seconds"] = timer.seconds
    problems = _problems(fields, verified, outcome, len(files))
    fields["problems"] = problems
    return Document(_text(fields), fields, exit_code=1 if problems else 0)


def _last_epoch(settings: Settings) -> int | None:
    """Returns the last epoch of the demo's days; the chain goes on while they are proven. None without days."""
    if not settings.configuration.proving.pyramid:
        return None
    clock = settings.configuration.clock
    per_day = clock.shard_epochs_per_hour * clock.epochs_per_day
    return settings.configuration.demo.days * per_day - 1


def _fields(
    settings: Settings, outcome: DayOutcome, verified: Any, light: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    genesis = load_genesis(genesis_path(settings.data))
    chain = outcome.chain
    last = len(light) - 1
    return {
        "transactions": day_report.transaction_counts(
            settings, outcome, days_are_final=bool(light) and all(one["accepted"] for one in light)
        ),
        "latency_ms": day_report.latencies(settings, outcome),
        "blocks": {"height": chain.height, "validators": len(genesis.validators)},
        "windows": {"closed": chain.windows, "segments": chain.segments},
        "proofs": day_report.proof_levels(settings, verified),
        "beacon": day_report.beacon_report(settings.data, last, light[last], verified)
        if light
        else None,
        "supply": day_report.supply(settings.data),
        "final_root": chain.root.hex(),
        "state_roots": [view.state_root.hex() for view in chain.shards],
        "epochs": day_report.epochs(settings.data),
        "restarts": dict(outcome.restarts),
        "data": settings.data,
    }


def _problems(
    fields: dict[str, Any], verified: Any, outcome: DayOutcome, num_files: int
) -> list[str]:
    """Returns why the demo has not reached its goal; empty when it has."""
    counts = fields["transactions"]
    found = []
    if counts["submitted"] != counts["admitted"] + counts["rejected"]:
        found.append("submitted transactions are not all admitted or rejected")
    if counts["bft_final"] != counts["admitted"] or outcome.verdicts.unresolved:
        found.append(f"{counts['admitted'] - counts['bft_final']} admitted are not bft_final")
    if counts["differs_from_expected"]:
        found.append("verdicts differ from what the traffic was made to get")
    if not outcome.chain.is_delivered:
        found.append("a shard has not taken all that another has sent")
    if not outcome.chain.is_proven:
        found.append("a closed window is not proven")
    shown = [one["shown"] for one in verified["proofs"] if one["accepted"]]
    segments = sum(
        one["level"] == ProofLevel.SEGMENT and not outcome.chain.is_beyond(one["window"])
        for one in shown
    )
    if verified["accepted"] != num_files or segments != outcome.chain.segments:
        found.append(
            f"{verified['accepted']} of {num_files} proofs hold in a fresh process, {segments} of "
            f"{outcome.chain.segments} segments"
        )
    listed = counts["beacon_final"] + sum(counts["not_beacon_final"].values())
    if listed != counts["bft_final"]:
        found.append(
            f"{counts['bft_final'] - listed} final transactions are in no day and listed nowhere"
        )
    if fields["beacon"] is not None and not fields["beacon"]["accepted"]:
        found.append(f"the light client refuses the day: {fields['beacon']['error']}")
    if fields["supply"] is None or not fields["supply"]["holds"]:
        found.append("the supply does not hold")
    return found


def _day_lines(fields: dict[str, Any]) -> list[str]:
    counts, beacon = fields["transactions"], fields["beacon"]
    lines = [f"in a day       {counts['beacon_final']} transactions are beacon_final"]
    lines += [f"               {n} are not: {why}" for why, n in counts["not_beacon_final"].items()]
    if beacon is not None:
        lines.append(
            f"light client   {beacon['bytes']} bytes, {beacon['proven_bits']} proven bits, proof "
            f"{beacon['verify_ms']} ms and certificate {beacon['certificate_ms']} ms with the standard library alone"
        )
        lines.append(f"               {beacon['path']}")
    return lines


def _text(fields: dict[str, Any]) -> str:
    counts, supply = fields["transactions"], fields["supply"] or {}
    segment = fields["proofs"][0]
    lines = [
        f"transactions   {counts['submitted']} submitted = {counts['admitted']} admitted "
        f"+ {counts['rejected']} rejected",
        f"final          {counts['bft_final']} in {fields['blocks']['height']} blocks of "
        f"{fields['blocks']['validators']} validators",
        *(
            f"latency        {name.replace('_', ' ')}: p50 {found['p50']:g} ms, p99 {found['p99']:g} ms"
            for name, found in fields["latency_ms"].items()
            if found is not None
        ),
        f"windows        {fields['windows']['closed']} closed, {segment['count']} segment proofs "
        f"verified in a fresh process at {segment['proven_bits_min']} proven bits",
        *(
            f"proofs         {found['level'].replace('_', ' ')}: {found['count']}, {found['bytes_max']} bytes "
            f"at most, {found['proven_bits_min']} bits, {found['verify_ms_max']} ms to verify, "
            f"{found['prove_seconds']} s to make"
            for found in fields["proofs"]
            if found["count"]
        ),
        f"supply         {supply.get('issued')} units issued, holds: {supply.get('holds')}",
        f"final root     {fields['final_root']}",
        f"epochs         {len(fields['epochs'])} exported to {fields['data']}/epochs",
        *_day_lines(fields),
        *(f"PROBLEM        {problem}" for problem in fields["problems"]),
        "next           ecliptica epoch check; ecliptica epoch query --named latency",
    ]
    return "\n".join(lines)
