"""What people and programs are shown of a manager: the core's state as JSON-ready values.

Times are RFC 3339 in UTC, durations seconds.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from gossip.members import Member
from gossip.messages import Address
from manager.core import Manager
from manager.events import Event
from manager.liveness import TAG_HTTP_PORT, TAG_NODE_PORT
from manager.records import Mark, NodeState, Setting
from manager.registry import NodeView
from manager.rollout.orders import Order
from manager.seats.desk import Lapse
from manager.seats.refusals import FULL, keeps
from manager.seats.rights import Account
from manager.subscription.settling import pending
from manager.terms import LIMITS, SUBSCRIPTION
from node.protocol import ConfigState, Limits


def rfc3339(unix_seconds: float) -> str:
    """`2026-11-24T13:37:00.000Z`; 1970 for a number that is no time, which only a forged record holds."""
    try:
        at = datetime.fromtimestamp(unix_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(0, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def limits_view(limits: Limits) -> dict[str, dict[str, Any]]:
    """`{name: {"max_rate", "every"}}`."""
    return {
        name: {"max_rate": limit.max_rate, "every": limit.every} for name, limit in sorted(limits.items())
    }


def node_view(core: Manager, view: NodeView) -> dict[str, Any]:
    """One node."""
    share = core.shares.shown(view) if view.running else {}
    said = core.rollouts.standings.says(view.id) or ConfigState()
    ordered = core.rollouts.restarts.ordered(view.id)
    return {
        "id": view.id,
        "name": view.record.name,
        "state": view.state.value,
        "over_limit": view.record.over_limit,
        "since": rfc3339(view.since),
        "why": view.why,
        "manager": view.manager,
        "address": view.record.address,
        "seat": view.seat,
        "incarnation": view.record.incarnation,
        "gateway": view.record.gateway,
        "service": said.service or "in service",
        "order": None if ordered is None else _order_view(core, view.id, *ordered),
        "order_taken": {
            "serial": said.order_serial,
            "writer": said.order_writer,
            "note": said.order_note,
        },
        "token": view.record.token,
        "labels": view.record.labels,
        "limits": limits_view(share),
    }


def _order_view(core: Manager, id_: str, mark: Mark, order: Order) -> dict[str, Any]:
    """What an operator wants of a node that has not taken it yet."""
    return {
        "action": order.action.value,
        "serial": mark[0],
        "writer": mark[1],
        "by": order.by,
        "at": rfc3339(order.at),
        "waits_for": core.registry.with_names(core.rollouts.restarts.waits_for(id_)),
    }


def nodes_view(
    core: Manager, *, after: str = "", count: int | None = None, state: str | None = None
) -> dict[str, Any]:
    """The first `count` nodes in `state` by id after `after`; where `next` is not null, more come."""
    views = [v for v in core.registry.views() if v.id > after and state in (None, v.state.value)]
    shown = views[:count]
    return {
        "nodes": [node_view(core, view) for view in shown],
        "next": shown[-1].id if len(shown) < len(views) else None,
    }


def members_view(core: Manager) -> dict[str, Any]:
    """All members of the gossip group, ourselves among them, by name."""
    me = core.group.swim.members.me
    members = [
        {
            "name": member.name,
            "state": member.state.name.lower(),
            "since": rfc3339(core.group.wall(member.changed)),
            "address": str(member.address),
            "kind": "manager" if member is me or core.group.is_kin(member) else "foreign",
        }
        for member in core.group.swim.members
    ]
    return {"members": sorted(members, key=lambda member: member["name"])}


def subscription_view(core: Manager, now: float) -> dict[str, Any]:
    """The cap, where it comes from, what is left of it, and what lies ahead."""
    document, stands = core.subscription.document, core.subscription.standing(core.group.wall(now))
    setting = core.settings.get(SUBSCRIPTION)
    used, cap, left = core.registry.used, core.cap, None
    if core.founders is not None:
        used = sum(map(core.founders.count, core.founders.names))
        left = sum(_left(core, name) for name in core.founders.names)
    free = None if cap is None else max(0, cap - used) if left is None else left
    refused = sum(view.state is NodeState.REFUSED for view in core.registry.views())
    return {
        "max_nodes": core.max_nodes,
        "cap": cap,
        "used": used,
        "free": free,
        "over_limit": core.registry.over,
        "refused": refused,
        "source": "document" if document else _source(setting),
        "serial": document.serial if document else 0 if setting is None else setting.serial,
        "policy": core.config.policy,
        "refusal": _refusal(core, now),
        "pending": pending(core, now),
        "overage": document.overage if document else "none",
        "expires": rfc3339(document.expires) if document and document.expires is not None else None,
        "stage": stands.stage.value,
        "why": stands.why,
        "next": [
            {"at": rfc3339(step.at), "stage": step.stage.value, "why": step.why} for step in stands.steps
        ],
        "lapses": _lapses(core),
    }


def _left(core: Manager, name: str) -> int:
    """The rights that a founder has left for newcomers, as far as we can ask it."""
    assert core.founders is not None
    assert core.desk is not None
    account = core.founders.known.accounts.get(name)
    return account.left if account is not None and name in core.desk.reachable() else 0


def _refusal(core: Manager, now: float) -> str:
    """What a newcomer would be told here, empty where it would get a seat."""
    if core.desk is not None and core.founders is not None:
        if any(_left(core, name) for name in core.founders.names):
            return ""
        return core.desk.refusal(now)[1]
    full = core.cap is not None and core.registry.used + core.registry.over >= core.cap
    return FULL if full else ""


def audit_view(core: Manager, limit: int) -> list[dict[str, Any]]:
    """The last changes over HTTP at this manager, the newest first."""
    return [
        {
            "at": rfc3339(one.at),
            "manager": core.name,
            "who": one.who,
            "change": one.change,
            "status": one.status,
        }
        for one in core.audit.newest()[:limit]
    ]


def founders_view(core: Manager) -> dict[str, Any]:
    """The founders of the group, and what each may spend; none under policy available."""
    founders, desk = core.founders, core.desk
    if founders is None or desk is None:
        return {"policy": core.config.policy, "heir": None, "founders": []}
    reachable = desk.reachable()
    rows = []
    for name in founders.names:
        account, expelled = founders.known.accounts.get(name), name in founders.known.expelled
        rows.append(
            {
                "name": name,
                "state": "expelled" if expelled else _founder_state(account),
                "reachable": name in reachable,
                "total": 0 if account is None else account.total,
                "rights": 0 if account is None or expelled else account.rights,
                "seats": founders.count(name),
                "left": 0 if account is None or expelled else account.left,
                "owes": account is not None and account.owes,
                "heir_of": [] if account is None else [*account.freed, *account.heir_of],
                "why": "" if expelled else keeps(name, founders, reachable),
                **_lapse(core, desk.lapse(name)),
            }
        )
    return {"policy": core.config.policy, "heir": founders.heir or None, "founders": rows}


def _lapse(core: Manager, lapse: Lapse | None) -> dict[str, str | None]:
    """Since when a founder is out of reach, and between when and when its tickets are over."""
    if lapse is None:
        return {"away_since": None, "first_lapse": None, "last_lapse": None}
    times = {"away_since": lapse.since, "first_lapse": lapse.first, "last_lapse": lapse.last}
    return {key: rfc3339(core.group.wall(at)) for key, at in times.items()}


def _lapses(core: Manager) -> list[dict[str, Any]]:
    """The founders that are out of reach, and when the tickets of their nodes are over."""
    if core.founders is None or core.desk is None:
        return []
    found = [(name, core.desk.lapse(name)) for name in core.founders.names]
    return [
        {"founder": name, "seats": lapse.seats, **_lapse(core, lapse)}
        for name, lapse in found
        if lapse is not None
    ]


def _founder_state(account: Account | None) -> str:
    if account is None:
        return "unmet"
    return "barred" if account.barred else "founded" if account.founded else "founding"


def _source(setting: Setting | None) -> str:
    return "none" if setting is None else "set" if setting.serial else "yaml"


def subscription_history_view(core: Manager) -> dict[str, Any]:
    """Seats by day, and the signed documents that are still known; the newest first."""
    return {
        "documents": [
            {
                "serial": document.serial,
                "max_nodes": document.max_nodes,
                "overage": document.overage,
                "issued": rfc3339(document.issued),
                "not_before": rfc3339(document.not_before),
                "expires": None if document.expires is None else rfc3339(document.expires),
                "revoked": document.revoked,
            }
            for document in core.subscription.history
        ],
        "days": [
            {"date": day.date, "peak": day.peak, "p99": day.p99, "minutes": day.minutes, "cap": day.cap}
            for day in core.days.newest()
        ],
    }


def cluster_limits_view(core: Manager) -> dict[str, Any]:
    """The cluster's limits and how each is divided, and the share of a running node of weight 1."""
    setting = core.settings.get(LIMITS)
    return {
        "limits": {name: cluster_limit_view(core, name) for name in sorted(core.limits)},
        "share": limits_view(core.shares.usual()),
        "nodes": core.registry.running,
        "mode": core.config.limits_mode,
        "source": _source(setting) if core.limits else "none",
        "serial": 0 if setting is None else setting.serial,
    }


def cluster_limit_view(core: Manager, name: str) -> dict[str, Any]:
    """One of the cluster's limits, with all its keys."""
    limit, how = core.limits[name], core.sharing(name)
    return {
        "max_rate": limit.max_rate,
        "every": limit.every,
        "per_client": limit.per_client,
        "algorithm": how.algorithm,
        "lease": how.lease,
        "reuse_last": how.reuse_last,
        "safe": how.safe,
    }


def shares_view(core: Manager, name: str, now: float) -> dict[str, Any]:
    """Who may use how much of a limit, per second, and what is known here of why."""
    sheet, limit = core.shares.sheet(name, now), core.limits[name]
    views = [view for view in core.registry.views() if view.running or view.id in sheet.held]
    return {
        "limit": name,
        "per_second": limit.max_rate / limit.every,
        "algorithm": core.sharing(name).algorithm,
        "mode": core.config.limits_mode,
        "split": sheet.split,
        "managers": [
            {
                "name": manager,
                "alive": manager in sheet.alive,
                "entitled": sheet.entitled.get(manager, 0.0),
                "budget": sheet.counts.get(manager, 0.0),
            }
            for manager in sorted(sheet.entitled.keys() | sheet.counts.keys() | sheet.alive)
        ],
        "nodes": [
            {
                "id": view.id,
                "name": view.record.name,
                "manager": view.manager,
                "state": view.state.value,
                "weight": view.record.weight,
                "share": limits_view(core.shares.shown(view)).get(name),
                "entitled": sheet.targets.get(view.id),
                "in_force": sheet.held.get(view.id),
            }
            for view in views
        ],
    }


def info_view(core: Manager, version: str, up_for: float) -> dict[str, Any]:
    """This manager, in short."""
    members = core.group.swim.members
    return {
        "name": core.name,
        "group": core.group.group_name,
        "version": version,
        "address": str(members.me.address),
        "seed": _door(core, members.me, TAG_NODE_PORT),
        "up_for": round(up_for, 3),
        "fresh": core.fresh,
        "reconciled": core.group.reconciled,
        "managers": {"alive": len(core.group.kin()) + 1, "known": _managers_known(core)},
        "nodes": {"connected": len(core.served()), "running": core.registry.running},
        "going": core.going,
    }


def other_managers(core: Manager, scheme: str) -> dict[str, str]:
    """The base URL of each other manager's API that is alive, by name."""
    doors = {member.name: _door(core, member, TAG_HTTP_PORT) for member in core.group.kin()}
    return {name: f"{scheme}://{door}" for name, door in doors.items() if door is not None}


def _door(core: Manager, member: Member, tag: str) -> str | None:
    """Where `member` listens on the port that its `tag` names."""
    port = core.group.tags(member).get(tag, "")
    return str(Address(member.address.host, int(port))) if port.isdecimal() and len(port) < 6 else None


def _managers_known(core: Manager) -> int:
    return 1 + sum(core.group.is_kin(member) for member in core.group.swim.members.others())


def event_view(event: Event) -> dict[str, Any]:
    """One event."""
    return {**asdict(event), "at": rfc3339(event.at)}


def usage_view(core: Manager) -> dict[str, Any]:
    """Seats and states over time, as this manager saw them: columns, the oldest first, times since 1970."""
    samples = core.history.samples()
    return {
        "step": core.history.step,
        "at": [round(sample.at, 3) for sample in samples],
        "used": [sample.used for sample in samples],
        "cap": [sample.cap for sample in samples],
        "over_limit": [sample.over_limit for sample in samples],
        "states": {
            state: [sample.states.get(state, 0) for sample in samples]
            for state in ("active", "unreachable", "down", "removed", "refused")
        },
    }


def group_view(core: Manager) -> dict[str, Any]:
    """The group as this one manager sees it."""
    swim, ledger = core.group.swim, core.group.ledger
    others = sorted(swim.members.others(), key=lambda member: member.name)
    return {
        "health": swim.prober.awareness.score,
        "page": ledger.own.version,
        "copies": {owner: page.version for owner, page in sorted(ledger.pages.items()) if owner != core.name},
        "sees": {
            member.name: {
                "state": member.state.name.lower(),
                "accusers": sorted(member.suspicion.accusers) if member.suspicion else [],
                "round_trip": None if member.round_trip is None else round(member.round_trip, 6),
                "kind": "manager" if core.group.is_kin(member) else "foreign",
            }
            for member in others
        },
    }
