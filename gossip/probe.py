"""One probe after the other, from the ping to the verdict, and what we do for the probes of others.

SWIM § 3.1, with memberlist's nacks and ping by TCP, and Lifeguard's local health (Dadgar et al. 2017, § IV).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from random import Random

from gossip.awareness import Awareness
from gossip.config import GossipConfig
from gossip.effects import OpenStream, Output, Rejected, RoundaboutOnly, Send
from gossip.hearing import Hearing
from gossip.members import Member, Members
from gossip.messages import (
    Ack,
    Address,
    IndirectPing,
    Message,
    Nack,
    NodeName,
    Ping,
    State,
    StreamMessage,
    Suspect,
)

_RELAYS_MAX = 256
_ROUNDABOUT_SAID = 3
"""Probes in a row: a single answer is lost easily."""


@dataclass(slots=True)
class _Probe:
    """One round: who is asked, and until when."""

    number: int
    target: NodeName
    started: float
    ends: float
    asks_others_at: float
    nacks_due: int = 0
    """Helpers that were asked for a nack and have not sent one."""
    helped: bool = False
    """Whether any helper that sends nacks was asked."""


@dataclass(slots=True)
class _Relay:
    """A ping that we sent for somebody else."""

    requester: Address
    number: int
    expires: float
    nack_at: float
    """Infinite where none is wanted, or it has been sent. An ack is passed on after it too."""


class Prober:
    """Asks the members in turn whether they live. `send` makes a packet of a message and news beside it."""

    def __init__(
        self,
        *,
        members: Members,
        hearing: Hearing,
        send: Callable[[Address, Message], Send],
        tokens: Iterator[int],
        config: GossipConfig,
        random: Random,
        now: float,
    ) -> None:
        self.awareness = Awareness(config.awareness_max)
        self.accused: NodeName | None = None
        """Whoever somebody else has just accused, until we have asked it ourselves."""
        self._members = members
        self._me = members.me
        self._hearing = hearing
        self._send = send
        self._tokens = tokens
        self._config = config
        self._number = random.randrange(2**31)
        self._probe: _Probe | None = None
        self.probe_at = now + random.uniform(0, config.probe_interval)
        """When the next one begins."""
        self._begun = -inf
        self._relays: dict[int, _Relay] = {}
        self._fallbacks: dict[int, int] = {}

    def next_number(self) -> int:
        """A number that no ping of ours had lately."""
        self._number = (self._number + 1) % 2**32
        return self._number

    # Time

    def next_deadline(self) -> float:
        deadline = self.probe_at
        if self._probe is not None:
            deadline = min(deadline, self._probe.asks_others_at, self._probe.ends)
        for relay in self._relays.values():
            deadline = min(deadline, relay.nack_at, relay.expires)
        return deadline

    def excuse(self, late: float, judges_at: float) -> None:
        """We were called `late` seconds late: it counts against us, and whoever is asked has as much longer.

        No probe begins before `judges_at`. None is dropped: who is late again and again would judge nobody.
        """
        self.awareness.add(1 + int(late / self._config.probe_interval))
        self.probe_at = max(self.probe_at, judges_at)
        if (probe := self._probe) is not None:
            longer = max(late, judges_at - probe.asks_others_at)
            probe.asks_others_at += longer
            probe.ends += longer
            self.probe_at = max(self.probe_at, probe.ends)
        for relay in self._relays.values():
            relay.nack_at += late
            relay.expires += late

    def give_second_opinion(self, accused: NodeName, now: float) -> None:
        """Somebody else has accused this member: probe it next, and soon if no probe is under way.

        Two probes in an interval at the most, however many are accused.
        """
        self.accused = accused
        if self._probe is None:
            soon = self._begun + self.awareness.stretch(self._config.probe_interval) / 2
            self.probe_at = min(self.probe_at, max(now, soon))

    def tick(self, now: float, *, leaving: bool) -> tuple[list[Output], Member | None]:
        """What is due, and the member that gave no answer to anybody, if there is one."""
        output, silent = self._tick_relays(now), None
        if self._probe is not None and self._probe.ends <= now:
            silent = self._verdict(self._probe)
        elif self._probe is not None and self._probe.asks_others_at <= now:
            output += self._ask_others(self._probe)
        if self.probe_at <= now:
            self.probe_at = now + self._interval()
            if not leaving and (target := self._next_target()) is not None:
                output.append(self._start(target, now))
        return output, silent

    def _next_target(self) -> Member | None:
        name, self.accused = self.accused, None
        accused = None if name is None else self._members.get(name)
        return accused if accused is not None and accused.present else self._members.next_to_probe()

    def _interval(self) -> float:
        """While we stand aside our probes are only to find out whether we are heard again."""
        interval = self._config.probe_interval
        return interval if self._hearing.aside else self.awareness.stretch(interval)

    def _start(self, target: Member, now: float) -> Send:
        self._begun = now
        number = self.next_number()
        config = self._config
        ends = now + self._interval()
        timeout = config.probe_timeout
        if config.timeout_stretches:
            timeout = self.awareness.stretch(timeout)
        self._probe = _Probe(number, target.name, now, ends, now + timeout)
        ping = Ping(number, target.name, self._me.address, self._me.name)
        if target.state is State.SUSPECT:
            # Lifeguard's buddy system: the suspect learns at once that it has to refute.
            return Send(target.address, (ping, Suspect(target.name, target.incarnation, self._me.name)))
        return self._send(target.address, ping)

    def _ask_others(self, probe: _Probe) -> list[Output]:
        probe.asks_others_at = inf
        target = self._members.get(probe.target)
        if target is None or not target.present:
            return []
        helpers = [m for m in self._members.present() if m.state is State.ALIVE and m is not target]
        output: list[Output] = []
        me = self._me
        for helper in self._members.sample(self._config.indirect_checks, helpers):
            nack = helper.versions.protocol_max >= 4
            probe.nacks_due += nack
            probe.helped = probe.helped or nack
            request = IndirectPing(probe.number, target.name, target.address, nack, me.address, me.name)
            output.append(self._send(helper.address, request))
        if target.versions.protocol_max >= 3:
            token = next(self._tokens)
            self._fallbacks[token] = probe.number
            ping = Ping(probe.number, target.name, me.address, me.name)
            patience = self.awareness.stretch(self._config.probe_interval) - self._config.probe_timeout
            output.append(OpenStream(token, target.address, ping, patience))
        return output

    def _verdict(self, probe: _Probe) -> Member | None:
        self._probe = None
        target = self._members.get(probe.target)
        if target is None or not target.present:
            return None
        self._hearing.pinged(answered=False)
        # Helpers that did not even send a nack speak against us: their answers may be what we miss.
        self.awareness.add(probe.nacks_due if probe.helped else 1)
        return target

    # What arrives

    def ack(self, number: int, now: float, *, by_tcp: bool = False) -> list[Output]:
        """An answer by any way; passed on where we pinged for somebody else."""
        output: list[Output] = []
        if self._probe is not None and self._probe.number == number:
            target = self._members.get(self._probe.target)
            if target is not None:
                output += self._answered(self._probe, target, now, by_tcp=by_tcp)
            self._probe = None
            self.awareness.add(-1)
        relay = self._relays.pop(number, None)
        if relay is not None and now < relay.expires:
            output.append(self._send(relay.requester, Ack(relay.number)))
        return output

    def _answered(self, probe: _Probe, target: Member, now: float, *, by_tcp: bool) -> list[Output]:
        """Who answers in time does so itself; later it may have come by way of others."""
        in_time = now < probe.asks_others_at < inf
        self._hearing.pinged(answered=in_time)
        if in_time:
            target.round_trip, target.roundabout = now - probe.started, 0
            return []
        target.roundabout += 1
        if target.roundabout != _ROUNDABOUT_SAID:
            return []
        return [RoundaboutOnly(target.name, target.address, by_tcp)]

    def nack(self, number: int) -> None:
        """A helper had no answer either, but is well."""
        if self._probe is not None and self._probe.number == number and self._probe.nacks_due:
            self._probe.nacks_due -= 1

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._fallbacks

    def stream_answered(self, token: int, answer: StreamMessage | None, now: float) -> list[Output]:
        """The outcome of a ping by TCP."""
        number = self._fallbacks.pop(token)
        return self.ack(number, now, by_tcp=True) if answer == Ack(number) else []

    def ping(self, ping: Ping, sender: Address) -> list[Output]:
        """Somebody asks whether we live."""
        if ping.target not in ("", self._me.name):
            return [Rejected("ping_for_another")]
        answer = self._send(self._answer_to(ping.source, sender), Ack(ping.number))
        asker = self._members.get(ping.source_name)
        if asker is None or asker is self._me or ping.source is None:
            return [answer]
        if asker.state is State.ALIVE and asker.address == ping.source:
            return [answer]
        # Whoever asks is there, and we know otherwise: it should say so itself.
        return [answer, Send(sender, (Suspect(asker.name, asker.incarnation, self._me.name),))]

    def indirect_ping(self, request: IndirectPing, sender: Address, now: float) -> list[Output]:
        """Somebody asks us to ask another."""
        target = self._members.get(request.target)
        if target is None or target.address != request.address or target is self._me:
            # Anything else would let strangers aim our pings.
            return [Rejected("indirect_ping_for_stranger")]
        if len(self._relays) >= _RELAYS_MAX:
            return [Rejected("too_many_indirect_pings")]
        number = self.next_number()
        timeout = self._config.probe_timeout
        requester = self._answer_to(request.source, sender)
        nack_at = now + self._config.nack_share * timeout if request.nack else inf
        self._relays[number] = _Relay(requester, request.number, now + timeout, nack_at)
        return [self._send(target.address, Ping(number, target.name, self._me.address, self._me.name))]

    def _tick_relays(self, now: float) -> list[Output]:
        output: list[Output] = []
        for number, relay in [*self._relays.items()]:
            if relay.nack_at <= now:
                relay.nack_at = inf
                output.append(self._send(relay.requester, Nack(relay.number)))
            if relay.expires <= now:
                del self._relays[number]
        return output

    def _answer_to(self, source: Address | None, sender: Address) -> Address:
        """Where an answer goes: as asked only where that is a member or the sender: we are no reflector."""
        if source is not None and (source == sender or self._members.at(source) is not None):
            return source
        return sender
