"""Why each node has the share that it has, in sentences, from what a manager answers about a limit."""

from collections.abc import Iterator
from typing import Any

from node.bounds import in_words

_HOW = {
    "equal": "equally",
    "weighted": "by weight",
    "fair_share": "by what each is asked for, as far as that is less, and by weight",
}


def explain(shares: dict[str, Any]) -> Iterator[str]:
    """Lines for people; `shares` is the answer of `GET /api/v1/limits/{name}/shares`."""
    total, nodes = shares["per_second"], [node for node in shares["nodes"] if node["share"]]
    running = f"{len(nodes)} running node{'' if len(nodes) == 1 else 's'}"
    how = _HOW[shares["algorithm"]]
    yield f"{shares['limit']}: {_rate(total)} in the whole cluster, divided {how} over {running}"
    budgets = sum(manager["budget"] for manager in shares["managers"])
    nobodys = _rate(max(0.0, total - budgets))
    yield f"the managers' budgets count {_rate(budgets)} together, {nobodys} is nobody's"
    for manager in shares["managers"]:
        if manager["budget"] or manager["entitled"]:
            yield f"  {_manager(manager, shares)}"
    for node in shares["nodes"]:
        yield f"{node['name'] or node['id']} at {node['manager']}: {_node(node)}"


def _manager(manager: dict[str, Any], shares: dict[str, Any]) -> str:
    name, budget, entitled = manager["name"], manager["budget"], manager["entitled"]
    conserves = shares["mode"] == "conserve"
    if not manager["alive"]:
        until = "until it is back or has left for good" if conserves else "until its leases are over"
        return f"{name} is out of reach: {_rate(budget)} count for it {until}"
    if budget < entitled * 0.999:
        frozen = "in a split nobody adds anything, managers only hand over what they have"
        why = frozen if shares["split"] and conserves else "others have not given it back yet"
        return f"{name} has {_rate(budget)} of the {_rate(entitled)} that are its nodes': {why}"
    if budget > entitled * 1.001:
        more = f"{_rate(entitled)} are its nodes': it waits until they work under less"
        return f"{name} has {_rate(budget)}, {more}"
    return f"{name} has {_rate(budget)}, all that is its nodes'"


def _node(node: dict[str, Any]) -> str:
    share, entitled, held = node["share"], node["entitled"], node["in_force"]
    if share is None:
        return f"it is {node['state']}, and {_rate(held or 0.0)} count until its lease is over"
    told = f"told {in_words(share['max_rate'], share['every'])}"
    if held is None:
        return f"{told}, or about to be: its manager knows what is in force"
    if entitled is None:
        return f"{told}; {_rate(held)} may be in force"
    if held > entitled * 1.001:
        return f"{told}, but {_rate(held)} count until it has confirmed, or its lease is over"
    if held < entitled * 0.999:
        return f"{told}; {_rate(entitled)} are its own when there is room"
    return f"{told}, all that is its own"


def _rate(per_second: float) -> str:
    return f"{per_second:.4g}/s"
