"""Every knob of the gossip, with its unit, and the one preset that there is.

Members of one group should share these values, though nothing checks it. Defaults are memberlist's LAN
profile where it has the knob, so that agents and managers judge each other alike.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipConfig:
    """Tunables of membership and ledger. Durations are seconds."""

    probe_interval: float = 1.0
    """One member is probed in each; every member once per cycle, at the latest after two."""

    probe_timeout: float = 0.5
    """Wait for a direct ack before asking others; near the slowest usual round trip."""

    timeout_stretches: bool = False
    """Whether our health stretches `probe_timeout` too, as in the Lifeguard paper; memberlist dropped it."""

    accused_first: bool = True
    """Whether whom somebody else accuses is probed next, and not in its turn: it wants a second opinion."""

    indirect_checks: int = 3
    """How many others are asked to try where we had no answer."""

    nack_share: float = 0.8
    """A helper that had no answer for this share of `probe_timeout` says so, as in the Lifeguard paper.
    memberlist: 1, with which it comes when the probe is over, and speaks against whoever asked."""

    stream_timeout: float = 10.0
    """For a whole exchange over TCP, connecting included."""

    awareness_max: int = 7
    """The worst that our health score gets; the probe interval is stretched by it up to eightfold."""

    lag_tolerated: float = 0.2
    """Being called later than this is our own fault: it counts against us, and for as long we only listen."""

    suspicion_mult: int = 4
    """α of the Lifeguard paper: the shortest suspicion is this × max(1, log10(n)) × probe_interval."""

    suspicion_max_mult: int = 6
    """β: the longest suspicion is this × the shortest."""

    suspicion_confirmations: int = 3
    """K of the paper: so many, or as many as there can be, end a suspicion. memberlist: α - 2."""

    suspicion_confirmed: float = 0.75
    """With all its confirmations a suspicion lasts this × the shortest."""

    stands_aside: bool = True
    """Whether we let ourselves be given up while most of what we send is lost. memberlist: no."""

    comeback_patience: float = 30.0
    """For so long after a member came back from the dead no confirmation shortens a suspicion of it; doubled
    with each time. memberlist: 0."""

    gossip_interval: float = 0.2
    gossip_nodes: int = 3

    gossip_fresh_gap: float = 0.02
    """News that nobody has been told yet goes out at once, but not more often than this."""

    retransmit_mult: int = 5
    """Each broadcast is put into this × ceil(log10(n + 1)) packets. memberlist: 4, which miss some."""

    gossip_to_dead: float = 30.0
    """For so long a dead member is still sent gossip, so that a wrongly dead one can refute; and who is gone
    still counts for the size of the group."""

    push_pull_interval: float = 30.0
    """Full exchange with one random member; stretched in groups above 32."""

    packet_bytes_max: int = 1400
    """Largest datagram we send; below the path MTU, so that none is fragmented."""

    rejoin_interval: float = 1.0
    """While something is amiss, one lost member or unmet peer is tried this often, for as long as we live."""

    join_timeout: float = 5.0
    """For an exchange with whom we may not reach; the kernel repeats what nobody answers after 1 and 3 s."""

    peer_retry_max: float = 2.0
    """A configured peer that is no live member is tried again after this, once an attempt is over."""

    gone_kept: float = 86400.0
    """A dead or left member stays listed, and a dead one is tried, for so long after it went."""

    members_max: int = 10_000
    """More are refused: without a key anybody can claim to be thousands."""

    leave_intent: float = 0.6
    """Serf's agents must have heard that we mean to leave before they hear that we left."""

    leave_linger: float = 1.0
    """How long a member that left still answers, so that its leave is told on."""

    resend_after: float = 0.1
    """What a live member has not acknowledged of our page is sent again, then at doubling intervals."""

    resend_tries: int = 4
    """After so many, reconciling brings what is missing."""

    tombstones_max: int = 4096
    """The owner of a page collects the older half of its tombstones when it has more."""


LAN = GossipConfig()
