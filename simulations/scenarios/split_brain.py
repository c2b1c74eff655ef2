"""A split: each side goes on, admits by what it knows, and once healed all agree on who is surplus.

Cap and nodes are equal, so the group is full. The managers split into a majority and the rest, each with
half of the nodes. When each side has given up the other's nodes it has free seats, and newcomers take them.
After the heal more nodes run than the cap allows: the last seated are marked, by all managers alike.
"""

from dataclasses import replace

from simulations.checkers import oversold
from simulations.cluster import DEFAULT, Cluster
from simulations.report import Report, Row


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the split lasts; newcomers arrive after two thirds of it."""
    cluster = Cluster(seed, managers, replace(DEFAULT, max_nodes=nodes))
    world, network = cluster.world, cluster.network
    report = Report("split-brain", seed)
    took = world.run_until(cluster.formed, 10.0, "the managers form one group")
    report.rows.append(Row(world.now, "formed", f"{managers} managers in {took * 1000:.0f} ms"))
    cluster.add_nodes(nodes)
    world.run_until(lambda: cluster.managers[0].core.registry.used == nodes, 30.0, "every node has a seat")
    cluster.settle(10.0, "all managers agree on every node")
    report.see(cluster, "full")

    majority = managers // 2 + 1
    left, right = cluster.managers[:majority], cluster.managers[majority:]
    half = nodes // 2
    sides = [[m.host for m in left], [m.host for m in right]]
    sides[0] += [node.host for node in cluster.nodes[:half]]
    sides[1] += [node.host for node in cluster.nodes[half:]]
    newcomers = [f"10.1.{at // 250}.{at % 250 + 1}" for at in range(nodes, nodes + 2 * (nodes // 4))]
    sides[0] += newcomers[::2]
    sides[1] += newcomers[1::2]
    network.partition(*sides)
    report.rows.append(Row(world.now, "split", f"{len(left)} managers | {len(right)} managers"))
    world.run_for(minutes * 60 * 2 / 3)
    report.see(cluster, "each side alone")
    cluster.add_nodes(len(newcomers))
    world.run_for(minutes * 60 / 3)
    report.see(cluster, "newcomers seated")
    report.broken += oversold(cluster.managers)

    network.heal()
    took = cluster.settle(60.0, "all managers agree after the heal")
    report.rows.append(Row(world.now, "healed", f"all agree after {took:.1f} s"))
    report.see(cluster, "afterwards")
    surplus = {
        m.name: sorted(v.id for v in m.core.registry.views() if v.record.over_limit) for m in left + right
    }
    if len({tuple(ids) for ids in surplus.values()}) > 1:
        report.broken.append(f"the surplus differs: { {name: len(ids) for name, ids in surplus.items()} }")
    report.trace = world.trace
    report.events = world.events
    return report
