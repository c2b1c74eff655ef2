"""One run of drawn faults, as its seed draws it, swarm style (Groce et al. 2012).

Each run draws which kinds of fault it has and how hard they are; a run with few kinds gets deeper into
each than one that has them all.
"""

from dataclasses import dataclass, replace
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from manager.limits.sharing import Sharing
from manager.terms import ManagerConfig
from manager.tokens import JoinToken, digest
from node.protocol import Limit
from simulations.network import Links
from simulations.world import WALL_AT_START

ISSUER = Ed25519PrivateKey.from_private_bytes(bytes(32))
"""Of the documents that managers trust, where they trust any."""

KINDS = (
    "partition",
    "lonely_link",
    "one_way",
    "no_udp",
    "no_tcp",
    "clog",
    "flip_flop",
    "far_link",
    "bad_weather",
    "kill_manager",
    "restart_manager",
    "stop_manager",
    "power_manager",
    "pause_manager",
    "slow_manager",
    "set_clock",
    "twin_manager",
    "move_manager",
    "kill_node",
    "stop_node",
    "power_node",
    "pause_node",
    "slow_node",
    "old_disk",
    "lose_disk",
    "copy_disk",
    "new_node",
    "set_cap",
)

DISK_KINDS = ("full_disk", "slow_disk", "old_store")
"""More, where managers have disks."""

RARE_KINDS = (
    "stutter_manager",
    "orphan_node",
    "small_mtu",
    "set_limit",
    "join_by_hand",
    "leave_for_good",
    "declare_gone",
    "another_year",
    "rename_manager",
    "forge",
)
"""More, each drawn by a chance of its own as those of disks are: all else of a seed stays as it was."""
RARE_SHARE = 0.12
DISKLESS_KINDS = ("long_split",)
"""More such, where managers have none: with disks they are cut off in a blackout."""
RARE_WEIGHT = 3
"""Where one is drawn it happens as often as so many others: few seeds have it, and those get deep into it."""

SHORT_LEASES_SHARE = 0.3
"""Of the seeds: there a share that nobody renews is over soon, and what all have together is judged."""

LAGS = (0.0, 0.0, 0.002, 0.02)
"""For so many seconds the loop of a manager under load is at something else."""
DOCUMENT_KINDS = ("document", "document", "ask_issuer")
"""More, where managers trust an issuer."""
DOCUMENTS_SHARE = 0.2
TOKENS_SHARE = 0.25
"""Of the seeds: there newcomers need a join token."""
ONLY_TOKENS_SHARE = 0.5
"""Of those: there is no cap besides, which would have newcomers claim seats whatever their token says."""
TOKENS = {"fleet": 0.5, "ever": 0.3, "brief": 0.1, "": 0.05, "of another group": 0.05}
"""What each node shows is drawn."""
RETENTION_SHARE = 0.5
SOON = 20.0
"""Of the seeds in which nodes are given up within so many seconds: pages of the gone go as soon."""
RETENTION_KINDS = ("forget_unheard", "forget_unheard")
"""More, in these."""
WHISPERS_SHARE = 0.3
"""Of those with four managers or more: there most of what one of them sends is lost."""
FEW_PEERS_SHARE = 0.3
"""Of those with disks: there all managers are configured with the first one alone."""
FEW_PEERS_KINDS = ("blackout",) * 3
"""More, in these."""
FIRE_FOR_LONG = 120.0
"""For so long things break where splits are long."""
OF_ADDRESSES = frozenset({"old_store", "twin_manager", "move_manager", "rename_manager", "leave_for_good"})
"""Not in these: who came to be there with nobody in mind would never be met."""

OF_LINKS = frozenset({"partition", "lonely_link", "one_way", "no_udp", "no_tcp", "clog", "flip_flop"}) | {
    "long_split",
    "blackout",
    "hit_in_turn",
    "far_link",
    "bad_weather",
    "small_mtu",
}

UNDISTURBING = frozenset({"kill_manager", "restart_manager", "stop_manager", "kill_node", "power_node"}) | {
    "stop_node",
    "pause_node",
    "slow_node",
    "new_node",
}
"""Whatever of these happens, the managers that live are connected, and keep to the cap (rule A1)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, as it was drawn."""

    seed: int
    managers: int
    nodes: int
    kinds: tuple[str, ...]
    calm: float
    """Seconds before, with whole links, in which nodes come and go, and managers crash."""
    fire: float
    """Seconds for which things break."""
    gap: float
    """Seconds between two faults, on average."""
    lasting: float
    """Seconds for which one that ends by itself lasts, on average."""
    config: ManagerConfig
    links: Links
    drift: float
    """The clocks of hosts run faster or slower by at most this share."""
    skew: float
    """By how many seconds wall clocks are off, at most."""
    stranger: bool
    """Whether a member of another group is in this one's gossip."""
    tombstones: int
    """The owner of a page collects when it has more."""
    disks: bool
    """Whether managers keep their state, or start anew each time."""
    lag: float = 0.0
    """Managers take together what comes within so many seconds, at the most."""
    few_peers: bool = False
    """Whether managers are configured with the first one alone, and remember the others."""
    whispers: bool = False
    """Whether one manager is hardly heard by the others while things break."""
    at_a_time: int = 0
    """How many nodes rollouts may have out at once; 0: there are none."""

    @classmethod
    def draw(cls, seed: int, *, disks: bool = False) -> "Plan":
        """The plan of `seed`, for managers with `disks` or without."""
        random = Random(f"{seed}/plan")
        share = random.choice((0.1, 0.25, 0.5, 1.0))
        kinds = tuple(kind for kind in KINDS if random.random() < share)
        heartbeat = random.choice((1.0, 1.0, 5.0))
        nodes = random.choice((0, 1, 2, 3, 4, 5, 8, 8, 12, 12))
        unreachable = 3 * heartbeat
        window = random.choice((1.0, 5.0, 15.0, 60.0))
        config = ManagerConfig(
            heartbeat=heartbeat,
            unreachable_after=unreachable,
            grace=random.choice((2.0, 5.0, 15.0, 60.0)),
            rejoin_window=window,
            retry_after=random.choice((3.0, 15.0)),
            forget_after=window + random.choice((0.5, 5.0, 30.0, 30 * 86400.0)),
            max_nodes=random.choice((None, 1, 2, 4, 8, max(1, nodes), max(1, nodes - 1), nodes + 2)),
            limits={"public": Limit(1000.0), "scarce": Limit(2.0)},
        )
        if (chance := Random(f"{seed}/sharing")).random() < SHORT_LEASES_SHARE:
            # By a chance of its own, as the kinds below.
            short = Sharing(lease=2.5 * heartbeat, reuse_last=chance.choice((0.0, 3.0)), safe=0.1)
            config = replace(config, sharing=dict.fromkeys(config.limits, short))
        config, more = _terms(seed, config)
        slow = random.choice((0.002, 0.002, 0.05, 0.2))
        if disks:
            # By a chance of its own: all else is as without disks.
            disk_random = Random(f"{seed}/plan of disks")
            kinds += tuple(kind for kind in DISK_KINDS if disk_random.random() < share)
        for kind in RARE_KINDS if disks else DISKLESS_KINDS + RARE_KINDS:
            if Random(f"{seed}/{kind}").random() < RARE_SHARE:
                kinds += (kind,) * RARE_WEIGHT
        kinds += more
        few_peers = disks and Random(f"{seed}/few peers").random() < FEW_PEERS_SHARE
        if few_peers:
            kinds = tuple(kind for kind in kinds if kind not in OF_ADDRESSES) + FEW_PEERS_KINDS
        plan = cls(
            seed=seed,
            managers=random.choice((1, 2, 2, 3, 3, 3, 3, 4, 4, 5)),
            nodes=nodes,
            kinds=kinds or (random.choice(KINDS),),
            fire=max(random.choice((30.0, 60.0, 120.0)), FIRE_FOR_LONG if "long_split" in kinds else 0.0),
            gap=random.choice((1.0, 3.0, 8.0)),
            lasting=random.choice((2.0, 10.0, 20.0, 40.0)),
            config=config,
            links=Links(
                delay_max=slow,
                copies=random.choice((0.0, 0.0, 0.1, 0.5)),
                late=random.choice((0.0, 0.0, 0.05, 0.3)),
                loss=random.choice((0.0, 0.0, 0.05, 0.3)),
            ),
            drift=random.choice((0.0, 0.0, 0.01, 0.1)),
            skew=random.choice((0.0, 1.0, 300.0)),
            stranger=random.random() < 0.2,
            tombstones=random.choice((1, 2, 2, 4096)),
            calm=random.choice((0.0, 15.0, 30.0)),
            disks=disks,
            lag=Random(f"{seed}/lag").choice(LAGS),  # by a chance of its own, as above
            few_peers=few_peers,
        )
        whispers = Random(f"{seed}/whisper").random() < WHISPERS_SHARE
        return replace(plan, whispers=whispers and plan.managers >= 4)

    def text(self) -> str:
        """A line for people."""
        return (
            f"{self.managers} managers{' with disks' if self.disks else ''}, {self.nodes} nodes, "
            f"cap {self.config.max_nodes}, "
            f"{self.fire:.0f} s of {', '.join(dict.fromkeys(self.kinds))}"
        )


def _terms(seed: int, config: ManagerConfig) -> tuple[ManagerConfig, tuple[str, ...]]:
    """Join tokens, signed documents and short retention, each by a chance of its own; and kinds for them."""
    kinds: tuple[str, ...] = ()
    if (chance := Random(f"{seed}/retention")).random() < RETENTION_SHARE:
        given_up = config.unreachable_after + config.grace + config.rejoin_window
        if config.grace + config.rejoin_window <= SOON:
            config = replace(config, page_retention=given_up + chance.choice((1.0, 10.0)))
            kinds += RETENTION_KINDS
    if (chance := Random(f"{seed}/tokens")).random() < TOKENS_SHARE:
        tokens = (
            JoinToken("fleet", digest("fleet"), uses=chance.choice((1, 2, 3, 5, 8))),
            JoinToken("ever", digest("ever")),
            JoinToken("brief", digest("brief"), expires=WALL_AT_START + chance.choice((10.0, 60.0))),
        )
        config = replace(config, join_tokens=tokens)
        if chance.random() < ONLY_TOKENS_SHARE:
            config = replace(config, max_nodes=None)
    if (chance := Random(f"{seed}/documents")).random() < DOCUMENTS_SHARE:
        config = replace(
            config,
            issuers=(ISSUER.public_key(),),
            issuer_url=chance.choice(("", "https://issuer.example")),
            margin=chance.choice((5.0, 20.0)),
            free_limits={"public": Limit(2.0)},
        )
        kinds += DOCUMENT_KINDS
    return config, kinds
