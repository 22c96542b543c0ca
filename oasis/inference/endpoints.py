"""Which endpoint takes the next request: the one that has its beginning in its cache, as far as load allows.

Of those whose circuit is closed and that have room, the first by `oasis.inference.affinity` that does not have `SLACK`
more in flight than the mean; without a key the one with the fewest in flight.

Concurrency adapts per endpoint as TCP's window does (slow start, then additive increase and multiplicative decrease;
Chiu and Jain 1989, RFC 5681): a server that refuses, times out, or takes more than half of the time-out gets fewer
requests at once, so one with a single slot is not sent more than it can answer in time.
A circuit opens after `FAILURES_TO_OPEN` failures without a success between them (`UNREACHED_TO_OPEN` at an address
that never spoke), is probed with one request at a time after a cool-down that doubles, and closes on a success
(the circuit breaker of Nygard, *Release It!*, 2007). Failures of requests that were sent before it last spoke (an
answer, or a refusal) are those of the requests, not of the endpoint.

An endpoint is dead when its key, address or model is wrong (one that answered before must say so `DENIALS_TO_DIE` times
in a row: a key that expired, not one replica of many that lacks the model); when it has never answered, two probes
failed too and nothing that was asked is still in work; or when for as long as a request may take it answered none of so
many requests that chance does not explain it, at the rate at which it failed before (the idea of an accrual failure
detector, Hayashibara et al. 2004): five for a good one, ten for one that loses 30%.
While others are alive, a dead one is still probed now and then, unless it was denied: it may have been started again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from oasis.errors import NoEndpointError
from oasis.inference.affinity import Ranking
from oasis.inference.transport import Transport, TransportError

__all__ = ["Endpoint", "EndpointPool"]

FAILURES_TO_OPEN = 5
"""With 30% of requests failing at random, five in a row are 1 in 400; a dead server shows at once. Assumed."""
UNREACHED_TO_OPEN = 2
"""With the two probes this is four failures, as many as one question's attempts: a lone question finds out too."""
COOL_DOWN_S = 0.25
LONGEST_COOL_DOWN_S = 30.0
PROBES_BEFORE_GIVING_UP = 2
"""Failed probes after which an endpoint that never answered is dead: about 0.75 s with `COOL_DOWN_S`."""
UNREACHED_TO_DIE = 4
"""Requests without an answer after which one that never answered is dead, once they took their time-out."""
DENIALS_TO_DIE = 4
"""As many as one question's attempts: a lone question finds out too."""
CHANCE = 1e-5
"""How unlikely a run of failures must be, at the rate before, to be the endpoint's death. Assumed."""
FIRST_LIMIT = 16
"""Requests in flight to begin with; doubles each round trip until the first sign of overload. Assumed."""
DECREASE = 0.7
"""Factor on what is in flight when an endpoint is overloaded or slow (CUBIC's, RFC 9438)."""
SLACK = 0.25
"""How far above the mean an endpoint's requests in flight may be for the sake of its cache (Mirrokni, Thorup and
Zadimoghaddam 2018, consistent hashing with bounded loads)."""
SLOW_SHARE = 0.5
"""An answer that took this share of the time-out is a sign of overload; below half of it, of room for more."""


@dataclass(slots=True)
class Sent:
    """When a request was sent, and how many were then in flight at its endpoint."""

    at: float
    in_flight: int


@dataclass(eq=False)
class Endpoint:
    """A transport and what is known about the server behind it."""

    transport: Transport
    limit: float
    most: int
    in_flight: int = 0
    reached: bool = False
    answered: bool = False
    won: int = 0
    lost: int = 0
    failures: int = 0
    failing_since: float = 0.0
    last_spoke: float = float("-inf")
    last_quick: float = float("-inf")
    denials: int = 0
    probes_failed: int = 0
    opened: bool = False
    probing: bool = False
    probe_at: float = 0.0
    dead: bool = False
    last_error: str = "never asked"
    last_decrease: float = float("-inf")

    def grow(self) -> None:
        """Allow more in flight: one per answer before the first overload, then one per round trip."""
        first = self.last_decrease == float("-inf")
        self.limit = min(float(self.most), self.limit + (1.0 if first else 1.0 / self.limit))

    def shrink(self, sent: Sent, now: float) -> None:
        """Allow less in flight; once per round trip, for requests sent before the last time say nothing new."""
        if sent.at >= self.last_decrease:
            self.limit = max(1.0, DECREASE * min(self.limit, sent.in_flight))
            self.last_decrease = now

    @property
    def failures_to_die(self) -> int:
        """How many failures in a row are more than bad luck."""
        if not self.answered:
            return UNREACHED_TO_DIE
        rate = (self.lost + 1) / (self.lost + self.won + 2)
        return max(FAILURES_TO_OPEN, math.ceil(math.log(CHANCE) / math.log(rate)))

    def spoke(self, now: float) -> None:
        """Take note that it is there: failures until now were those of single requests."""
        self.last_spoke = now
        self.opened = self.probing = self.dead = False
        self.lost += self.failures
        self.failures = 0

    def free(self, now: float) -> bool:
        """Return whether a request may be sent now: to one whose circuit is open, dead or not, a probe."""
        if self.opened:
            return not self.probing and now >= self.probe_at
        return not self.dead and self.in_flight < int(self.limit)


class EndpointPool:
    """Hands out endpoints and learns from what comes back.

    Parameters
    ----------
    transports : sequence of Transport
    concurrency : int
        Most requests in flight over all endpoints.
    timeout_s : float
        How long an endpoint that once answered may be silent before it is dead.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self, transports: Sequence[Transport], concurrency: int, timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self.endpoints = []
        for transport in transports:
            most = min(concurrency, transport.most_in_flight or concurrency)
            self.endpoints.append(Endpoint(transport, float(min(most, FIRST_LIMIT)), most))
        self._concurrency, self._timeout_s, self._clock = concurrency, timeout_s, clock
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._ranking = Ranking([transport.name for transport in transports])

    async def acquire(self, avoid: Endpoint | None = None, key: int | None = None) -> Endpoint:
        """Wait for a free endpoint and take it; not `avoid` while another one is alive.

        Parameters
        ----------
        avoid : Endpoint, optional
        key : int, optional
            Requests with the same one go to the same endpoint, as far as load allows. Without one it is that with the
            fewest in flight.

        Raises
        ------
        NoEndpointError
            When none is alive, naming each and what it last said.
        """
        while True:
            if self.all_dead:
                raise NoEndpointError(self.obituary())
            if (chosen := self._take(avoid, key)) is not None:
                return chosen
            now, opened = self._clock(), [e for e in self.endpoints if e.opened]
            await self._wait(min((e.probe_at - now for e in opened if not e.probing), default=None))

    def acquire_now(self, key: int | None = None) -> Endpoint | None:
        """Take a free endpoint as `acquire` does, where there is one and nobody waits for it; None otherwise."""
        if self._waiting or self.all_dead:
            return None
        return self._take(None, key)

    def _take(self, avoid: Endpoint | None, key: int | None) -> Endpoint | None:
        if sum(e.in_flight for e in self.endpoints) >= self._concurrency:
            return None
        now = self._clock()
        alive = [e for e in self.endpoints if not e.dead]
        others = [e for e in alive if e is not avoid and not e.opened]
        free = [e for e in (others or alive) if e.free(now)]
        due = [e for e in self.endpoints if e.opened and e.free(now)]
        if due:  # a probe comes before other work, else a closed circuit would never be tested under load
            free = due
        if not free:
            return None
        chosen = self._preferred(key, free) if key is not None and len(free) > 1 else _idlest(free)
        chosen.in_flight += 1
        chosen.probing = chosen.opened
        return chosen

    def _preferred(self, key: int, free: list[Endpoint]) -> Endpoint:
        """Return the first in the key's order that does not have much more in flight than the others."""
        most = math.ceil((1.0 + SLACK) * (sum(e.in_flight for e in free) + 1) / len(free))
        for position in self._ranking.order(key):
            endpoint = self.endpoints[position]
            if endpoint.in_flight < most and endpoint in free:
                return endpoint
        return _idlest(free)

    def sent(self, endpoint: Endpoint) -> Sent:
        """Return what `succeeded` and `failed` need to know of a request that is sent now."""
        return Sent(self._clock(), endpoint.in_flight)

    def succeeded(self, endpoint: Endpoint, sent: Sent) -> None:
        """Release an endpoint that answered a request."""
        now = self._clock()
        endpoint.in_flight -= 1
        endpoint.reached = endpoint.answered = True
        endpoint.spoke(now)
        endpoint.won += 1
        endpoint.denials = endpoint.probes_failed = 0
        if now - sent.at > SLOW_SHARE * self._timeout_s:
            endpoint.shrink(sent, now)
        elif now - sent.at < 0.5 * SLOW_SHARE * self._timeout_s:
            endpoint.grow()
            endpoint.last_quick = now
        self._wake()

    def failed(self, endpoint: Endpoint, error: TransportError, sent: Sent) -> None:
        """Release an endpoint whose request failed."""
        endpoint.in_flight -= 1
        endpoint.last_error = str(error)
        now = self._clock()
        endpoint.reached |= error.kind not in ("connection", "timeout")
        # A request that got lost while others were answered quickly is no sign of overload.
        if error.kind == "overloaded" or (error.kind == "timeout" and sent.at >= endpoint.last_quick):
            endpoint.shrink(sent, now)
        if error.kind == "denied" and self._denied(endpoint, sent.at):
            endpoint.dead, endpoint.opened = True, False
        elif error.kind in ("overloaded", "malformed", "refused"):
            endpoint.spoke(now)
        else:
            self._count_failure(endpoint, sent.at, now)
        self._wake()

    def release(self, endpoint: Endpoint) -> None:
        """Release an endpoint whose request was cancelled."""
        endpoint.in_flight -= 1
        endpoint.probing = False
        self._wake()

    @property
    def all_dead(self) -> bool:
        """Whether no endpoint is left."""
        return all(e.dead for e in self.endpoints)

    def obituary(self) -> str:
        """Return why no endpoint is alive."""
        if not self.endpoints:
            return (
                "no inference endpoint: give --llm URL and --model NAME, or [llm] endpoints and model in the scenario"
            )
        lines = [f"  {e.transport.name}: {e.last_error}" for e in self.endpoints]
        return "no inference endpoint is alive:\n" + "\n".join(lines)

    def _denied(self, endpoint: Endpoint, started: float) -> bool:
        """Count a denial; return whether it means the endpoint."""
        if started >= endpoint.last_spoke:
            endpoint.denials += 1
        return not endpoint.answered or endpoint.denials >= DENIALS_TO_DIE

    def _count_failure(self, endpoint: Endpoint, started: float, now: float) -> None:
        if started < endpoint.last_spoke:
            endpoint.lost += 1
            return
        if endpoint.failures == 0:
            endpoint.failing_since = started
        endpoint.failures += 1
        if endpoint.failures >= endpoint.failures_to_die and now - endpoint.failing_since >= self._timeout_s:
            endpoint.dead = True
        elif not endpoint.opened and endpoint.failures < (FAILURES_TO_OPEN if endpoint.reached else UNREACHED_TO_OPEN):
            return
        if endpoint.opened and started < endpoint.probe_at:
            return  # sent before the circuit opened: no news
        if endpoint.opened:
            endpoint.probes_failed += 1
            endpoint.probing = False
        wait = min(COOL_DOWN_S * 2.0**endpoint.probes_failed, LONGEST_COOL_DOWN_S, self._timeout_s / 4)
        endpoint.opened, endpoint.probe_at = True, now + wait
        never = not endpoint.answered and endpoint.probes_failed >= PROBES_BEFORE_GIVING_UP
        endpoint.dead |= never and not endpoint.in_flight

    async def _wait(self, seconds: float | None) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            async with asyncio.timeout(None if seconds is None else max(seconds, 0.001)):
                await future
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._wake()  # its turn is another's
            raise
        finally:
            self._waiting.pop(future, None)

    def _wake(self) -> None:
        """Wake as many as there is room for, the longest waiting first; all, to find out, when no endpoint is alive."""
        if not self._waiting:
            return
        alive = [e for e in self.endpoints if not e.dead]
        room = sum(1 if e.opened else max(int(e.limit) - e.in_flight, 0) for e in alive)
        room = min(room, self._concurrency - sum(e.in_flight for e in self.endpoints)) if alive else len(self._waiting)
        for future in [f for f in self._waiting if f.done()]:  # cancelled: it must not be woken in another's place
            del self._waiting[future]
        for future in list(islice(self._waiting, max(room, 1))):
            del self._waiting[future]
            future.set_result(None)


def _idlest(endpoints: Sequence[Endpoint]) -> Endpoint:
    return min(endpoints, key=lambda e: e.in_flight)
