"""Configurations and rollouts as the API shows them. Times are RFC 3339 in UTC, durations seconds."""

from typing import Any

from manager.core import Manager
from manager.records import Setting
from manager.rollout.conductor import Standing, drifted
from manager.rollout.plan import Plan
from manager.rollout.tally import Answered
from manager.views import rfc3339


def configs_view(core: Manager) -> dict[str, Any]:
    """One entry for each kind of gateway that has a configuration."""
    plans = core.configs.plans()
    return {"configs": [_summary(core, kind, *plans[kind]) for kind in sorted(plans)]}


def config_view(core: Manager, kind: str, setting: Setting, plan: Plan) -> dict[str, Any]:
    """The versions, the rollout and the nodes of one kind."""
    held = core.rollouts.held(kind)
    return {
        **_summary(core, kind, setting, plan),
        "versions": [
            {
                "version": version.number,
                "sha256": version.sha256,
                "size": version.size,
                "at": rfc3339(version.at),
                "by": version.by,
                "wanted": version.number == plan.target,
                "here": core.configs.content(version.sha256) is not None,
            }
            for version in plan.versions
        ],
        "nodes": [_node(core, plan, node, node.id in held) for node in core.rollouts.standings.of(kind)],
    }


def _summary(core: Manager, kind: str, setting: Setting, plan: Plan) -> dict[str, Any]:
    step = core.rollouts.step(kind)
    conductor_is_here = setting.writer in (core.name, *(member.name for member in core.group.kin()))
    wait, gone = step.wait, not conductor_is_here and not plan.phase.settled
    if gone:
        wait = f"its conductor {setting.writer} is gone: `kcm rollout resume` lets another manager go on"
    standings, answered = core.rollouts.standings.of(kind), core.rollouts.answered(kind, plan)
    return {
        "kind": kind,
        "version": plan.target,
        "base": plan.base,
        "sha256": plan.wanted.sha256,
        "phase": plan.phase.value,
        "why": core.registry.with_names(plan.why),
        "waits_for": core.registry.with_names(wait),
        "conductor": setting.writer,
        "conductor_gone": gone,
        "serial": setting.serial,
        "waves": list(plan.waves),
        "wave": step.wave + 1,
        "max_unavailable": plan.max_unavailable,
        "pause": plan.pause,
        "error_margin": plan.error_margin,
        "p95_margin": plan.p95_margin,
        "answered": {"new": _answered(answered.new), "rest": _answered(answered.rest)},
        "heal": plan.heal,
        "done": sum(node.config.running == plan.wanted.sha256 for node in standings),
        "total": len(standings),
        "drifted": [node.id for node in standings if drifted(node, plan)],
    }


def _answered(one: Answered) -> dict[str, Any]:
    """Since the rollout began; 0 and null where none goes on."""
    return {"requests": one.requests, "error_rate": round(one.rate, 6), "p95": one.p95}


def _node(core: Manager, plan: Plan, node: Standing, held: bool) -> dict[str, Any]:
    view, config = core.registry.view(node.id), node.config
    versions = {version.sha256: version.number for version in plan.versions}
    return {
        "id": node.id,
        "name": "" if view is None else view.record.name,
        "running": versions.get(config.running, 0),
        "running_sha256": config.running,
        "on_disk": versions.get(config.on_disk, 0),
        "on_disk_sha256": config.on_disk,
        "wanted": plan.target,
        "staged": config.staged == plan.target,
        "failed": config.failed == plan.target,
        "note": config.note,
        "ready": node.well,
        "turn": held,
        "drifted": drifted(node, plan),
    }
