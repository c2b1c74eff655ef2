"""The rules that are compared: our core, configured as the papers, as memberlist of today, and as it runs.

What cannot be switched off differs a little: our core always has the buddy system (as memberlist of today),
counts a failed probe against itself as memberlist does (the paper: by one, and by one more where a nack was
missed), and merges a push/pull before it answers.
"""

from dataclasses import replace
from math import inf

from gossip.config import LAN, GossipConfig

_MEMBERLIST = replace(
    LAN,
    gossip_fresh_gap=LAN.gossip_interval,
    lag_tolerated=inf,
    nack_share=1.0,
    retransmit_mult=4,
    rejoin_interval=inf,
    peer_retry_max=1e9,
    accused_first=False,
    suspicion_confirmations=2,
    suspicion_confirmed=1.0,
    comeback_patience=0.0,
    stands_aside=False,
)
"""It joins once, tells news every 200 ms, takes the clock's word, probes in turn, remembers no return, and
never stands aside."""

RULES: dict[str, GossipConfig] = {
    "paper-swim": replace(_MEMBERLIST, suspicion_mult=5, suspicion_max_mult=1, awareness_max=0),
    "paper-lifeguard": replace(
        _MEMBERLIST,
        suspicion_mult=5,
        suspicion_max_mult=6,
        suspicion_confirmations=3,
        awareness_max=8,
        nack_share=LAN.nack_share,
        timeout_stretches=True,
    ),
    "memberlist": _MEMBERLIST,
    "ours": LAN,
}


def rules(name: str, members: int) -> GossipConfig:
    """Those called `name`, in a group of `members`."""
    config = RULES[name]
    if name != "ours" and members - 2 < config.suspicion_confirmations:
        # Where too few could confirm, memberlist waits for nobody, which is to say for the shortest time.
        config = replace(config, suspicion_max_mult=1)
    return config
