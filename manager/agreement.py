"""Whether managers agree: one answer for the demo, the tests and the benchmarks.

`fetch_views` asks managers over their public API, and `agree` says in what their answers differ.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True, slots=True)
class View:
    """What one manager's API answered, as it came."""

    nodes: list[dict[str, Any]]
    members: list[dict[str, Any]]
    subscription: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NoView:
    """A manager that did not answer, or not as a manager does."""

    why: str


def agree(views: Mapping[str, View | NoView]) -> list[str]:
    """In what the views, by the name of their manager, differ: a sentence each; none when all agree.

    Managers agree when their sets of (id, state, incarnation, manager, seat) over all nodes are equal, and of
    (name, state, address) over all members, and (max_nodes, used, serial) of the subscription. A manager
    without a view agrees with nobody.
    """
    silent = [
        f"{manager} gave no answer: {view.why}" for manager, view in views.items() if isinstance(view, NoView)
    ]
    answered = {manager: view for manager, view in views.items() if isinstance(view, View)}
    return [
        *silent,
        *_conflicts({manager: map(_node, view.nodes) for manager, view in answered.items()}),
        *_conflicts({manager: map(_member, view.members) for manager, view in answered.items()}),
        *_conflicts({manager: [_subscription(view.subscription)] for manager, view in answered.items()}),
    ]


async def fetch_views(managers: Mapping[str, str], within: float = 3.0) -> dict[str, View | NoView]:
    """Ask all `managers` (name to base URL) at once; an answer may take `within` seconds."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=within)) as http:
        views = await asyncio.gather(*(_fetch_view(http, url) for url in managers.values()))
    return dict(zip(managers, views, strict=True))


async def _fetch_view(http: aiohttp.ClientSession, url: str) -> View | NoView:
    async def fetch(what: str) -> Any:
        async with http.get(f"{url}/api/v1/{what}", raise_for_status=True) as answer:
            return await answer.json()

    try:
        nodes, members, subscription = await asyncio.gather(
            fetch("nodes"), fetch("members"), fetch("subscription")
        )
        view = View(nodes["nodes"], members["members"], subscription)
        agree({"": view})  # a document that lacks something is found here, not while comparing
    except TimeoutError:
        return NoView(f"{url} took too long")
    except (aiohttp.ClientError, OSError) as error:
        return NoView(str(error))
    except (KeyError, TypeError, ValueError) as error:
        return NoView(f"{url} does not answer as a manager does: {error!r}")
    return view


_Claim = tuple[str, str]
"""What it is about, and what is claimed of it."""


def _node(node: dict[str, Any]) -> _Claim:
    seat = "with a seat" if node["seat"] else "without a seat"
    return (
        f"node {node['id']}",
        f"{node['state']} at {node['manager']}, incarnation {node['incarnation']}, {seat}",
    )


def _member(member: dict[str, Any]) -> _Claim:
    return f"member {member['name']}", f"{member['state']} at {member['address']}"


def _subscription(subscription: dict[str, Any]) -> _Claim:
    return "subscription", "max_nodes {max_nodes}, used {used}, serial {serial}".format_map(subscription)


def _conflicts(claims: Mapping[str, Iterable[_Claim]]) -> Iterator[str]:
    said: dict[str, dict[str, set[str]]] = defaultdict(lambda: {manager: set() for manager in claims})
    for manager, its_claims in claims.items():
        for subject, claim in its_claims:
            said[subject][manager].add(claim)
    for subject, by_manager in sorted(said.items()):
        sides: dict[str, list[str]] = defaultdict(list)
        for manager, its in by_manager.items():
            sides[" and ".join(sorted(its)) or "not listed"].append(manager)
        if len(sides) > 1:
            yield f"{subject}: " + "; ".join(f"{', '.join(who)}: {claim}" for claim, who in sides.items())
