"""Who answers whom, by UDP and by TCP apart as firewalls see it: as the API shows it, and what it means."""

from collections.abc import Iterator, Mapping
from typing import Any

from gossip.effects import Reached

_PRESENT = ("alive", "suspect")

View = Mapping[str, Any]


def view(reached: Reached) -> dict[str, Any]:
    """Whom one manager reaches."""
    return {
        "members": [
            {
                "name": member.name,
                "address": str(member.address),
                "state": member.state.name.lower(),
                "udp": member.udp,
                "tcp": member.tcp,
                "why": member.tcp_why,
            }
            for member in reached.members
        ],
        "left_out": reached.left_out,
    }


def views_in(answer: object) -> dict[str, Any]:
    """The views in another manager's answer, by name; raises `ValueError` where there are none."""
    match answer:
        case {"views": dict(found)} if found and all(_is_view(one) for one in found.values()):
            return found
        case _:
            raise ValueError("not an answer about who is reached")


def _is_view(one: object) -> bool:
    match one:
        case {"members": list(members), "left_out": int()}:
            return all(_is_member(member) for member in members)
        case _:
            return False


def _is_member(member: object) -> bool:
    match member:
        case {"name": str(), "address": str(), "state": str(), "udp": udp, "tcp": tcp, "why": str()}:
            return all(value is None or isinstance(value, float | int) for value in (udp, tcp))
        case _:
            return False


def silent(views: Mapping[str, View]) -> list[str]:
    """The members that count as running and did not answer somebody, by UDP or by TCP."""
    return sorted(
        {
            member["name"]
            for _, member in _pairs(views)
            if member["state"] in _PRESENT and None in (member["udp"], member["tcp"])
        }
    )


def findings(views: Mapping[str, View]) -> list[dict[str, str]]:
    """What is amiss, `check`: by which way, and what to do: one for each pair of members."""
    found = [finding for viewer, member in _pairs(views) if (finding := _finding(viewer, member, views))]
    if (culprit := _alone_without_udp(views)) is not None:
        name, address = culprit
        found = [(check, what) for check, what in found if check != "UDP"]
        port = address.rpartition(":")[2]
        text = f"{name} and all others have no answers of each other by UDP, only by TCP: let UDP to and from"
        found.append(("UDP", f"{text} port {port} through at its host {address} (firewall, security group)"))
    left_out = max((one["left_out"] for one in views.values()), default=0)
    if left_out:
        found.append(
            (
                "members",
                f"{left_out} members were not asked: are that many yours? A gossip.key keeps strangers out",
            )
        )
    # What all see of a dead one is said once.
    return [{"check": check, "what": what} for check, what in dict.fromkeys(found)]


def _alone_without_udp(views: Mapping[str, View]) -> tuple[str, str] | None:
    """Name and address of the one member that is in each pair without UDP, where the others have it."""
    running = [(viewer, member) for viewer, member in _pairs(views) if member["state"] in _PRESENT]
    without = [(viewer, member) for viewer, member in running if member["udp"] is None and member["tcp"]]
    others = [(viewer, member) for viewer, member in running if member["udp"] is not None]
    for name, address in {(member["name"], member["address"]) for _, member in without}:
        if (
            len(without) > 1
            and others
            and all(name in (viewer, member["name"]) for viewer, member in without)
            and all(name not in (viewer, member["name"]) for viewer, member in others)
        ):
            return name, address
    return None


def _pairs(views: Mapping[str, View]) -> Iterator[tuple[str, View]]:
    for viewer, one in views.items():
        for member in one["members"]:
            yield viewer, member


def _finding(viewer: str, member: View, views: Mapping[str, View]) -> tuple[str, str] | None:
    name, address = member["name"], member["address"]
    udp, tcp = member["udp"] is not None, member["tcp"] is not None
    port = address.rpartition(":")[2]
    if member["state"] not in _PRESENT:
        if udp or tcp:
            return "UDP, TCP", (
                f"{name} is {member['state']} for {viewer}, and something answers at {address}: "
                "are there two of that name, or of that address?"
            )
        if name in views:
            return "UDP, TCP", f"{name} is {member['state']} for {viewer} and answers others: see its log"
        return "gone", f"{name} is dead and silent: `kcm force-leave {name}` if it does not come back"
    if udp and tcp:
        return None
    if tcp:
        return "UDP", (
            f"{name} answers {viewer} by TCP and not by UDP: let UDP to {address} and its answers back "
            "through (firewall, security group); behind NAT each member must be seen under its own address"
        )
    if udp:
        return "TCP", (
            f"{name} answers {viewer} by UDP and not by TCP ({member['why']}): let TCP to port {port} through"
        )
    return "UDP, TCP", (
        f"{name} answers {viewer} not at all ({member['why']}): is {address} an address that others reach it "
        "by (`advertise`), and are UDP and TCP let through?"
    )
