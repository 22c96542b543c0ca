"""When an endpoint is given up: driven by hand, with a clock that stands still."""

from __future__ import annotations

import pytest

from oasis.errors import NoEndpointError
from oasis.inference import MockTransport, TransportError
from oasis.inference.endpoints import DENIALS_TO_DIE, Endpoint, EndpointPool, Sent
from oasis.inference.transport import ErrorKind


class Drive:
    """One endpoint, and requests to it that end when told to."""

    def __init__(self, timeout_s: float = 10.0) -> None:
        self.now = 100.0
        self.pool = EndpointPool([MockTransport(lambda _: "")], 64, timeout_s, lambda: self.now)
        self.endpoint: Endpoint = self.pool.endpoints[0]

    async def send(self, count: int = 1) -> list[Sent]:
        return [self.pool.sent(await self.pool.acquire()) for _ in range(count)]

    def answer(self, *sent: Sent) -> None:
        for each in sent:
            self.pool.succeeded(self.endpoint, each)

    def fail(self, kind: ErrorKind, *sent: Sent) -> None:
        for each in sent:
            self.pool.failed(self.endpoint, TransportError(kind, "no"), each)

    async def good_for(self, answers: int) -> None:
        for _ in range(answers):
            self.answer(*await self.send())
            self.now += 0.01


async def test_requests_lost_among_quick_answers_do_not_speak_against_the_endpoint() -> None:
    drive = Drive()
    lost = []
    for _ in range(20):
        sent = await drive.send(3)
        drive.now += 0.1
        drive.answer(sent[0], sent[1])
        lost.append(sent[2])
        limit = drive.endpoint.limit
        if len(lost) > 8:
            drive.now = max(drive.now, lost[0].at + 10.0)
            drive.fail("timeout", lost.pop(0))
        assert not drive.endpoint.opened
        assert not drive.endpoint.dead
        assert drive.endpoint.limit == limit  # no fewer at once


async def test_silence_of_one_that_was_good_is_its_end() -> None:
    drive = Drive()
    await drive.good_for(50)
    sent = await drive.send(16)
    drive.now += 10.0
    drive.fail("timeout", *sent)
    with pytest.raises(NoEndpointError, match="timeout: no"):
        await drive.pool.acquire()


async def test_one_that_loses_a_third_is_given_more_patience() -> None:
    drive = Drive()
    for _ in range(50):
        sent = await drive.send(3)
        drive.fail("connection", sent[0])
        drive.answer(sent[1], sent[2])
        drive.now += 0.01
    sent = await drive.send(8)
    drive.now += 10.0
    drive.fail("timeout", *sent[:7])
    assert drive.endpoint.opened  # spared for a while
    assert not drive.endpoint.dead
    drive.answer(sent[7])
    assert not drive.endpoint.opened


async def test_quick_failures_at_the_start_do_not_bury_one_that_is_still_at_work() -> None:
    drive = Drive()
    sent = await drive.send(16)
    drive.fail("server", *sent[:5])
    for _ in range(3):
        drive.now += 3.0
        drive.fail("server", *await drive.send())  # probes
    assert drive.endpoint.opened
    assert not drive.endpoint.dead
    drive.answer(*sent[5:])
    assert not drive.endpoint.opened


async def test_one_that_never_answered_is_given_up_when_nothing_is_at_work() -> None:
    drive = Drive()
    drive.fail("connection", *await drive.send(2))
    for _ in range(2):
        drive.now += 3.0
        drive.fail("connection", *await drive.send())
    assert drive.endpoint.dead


async def test_one_that_hangs_from_the_start_is_given_up_at_the_time_out() -> None:
    drive = Drive()
    sent = await drive.send(16)
    drive.now += 10.0
    drive.fail("timeout", *sent)
    assert drive.endpoint.dead


async def test_one_that_refused_meanwhile_has_not_been_silent() -> None:
    drive = Drive()
    sent = await drive.send(16)
    drive.now += 9.9
    drive.fail("overloaded", sent[0])
    drive.now += 0.1
    drive.fail("timeout", *sent[1:])  # all sent before it spoke
    assert not drive.endpoint.dead
    assert not drive.endpoint.opened


async def test_a_key_that_expires_is_the_end_and_one_bad_replica_is_not() -> None:
    drive = Drive()
    for _ in range(3):
        await drive.good_for(5)
        for _ in range(DENIALS_TO_DIE - 1):
            drive.fail("denied", *await drive.send())
        assert not drive.endpoint.dead
    drive.fail("denied", *await drive.send())
    with pytest.raises(NoEndpointError, match="denied: no"):
        await drive.pool.acquire()


class Pair(Drive):
    """Two endpoints, of which the first is given up."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = EndpointPool([MockTransport(lambda _: "", n) for n in "ab"], 64, 10.0, lambda: self.now)
        self.endpoint, self.other = self.pool.endpoints

    async def give_up(self) -> None:
        for endpoint in (self.endpoint, self.other):
            endpoint.in_flight += 1
            self.pool.succeeded(endpoint, self.pool.sent(endpoint))
        self.now += 0.01
        sent = [self.pool.sent(self.endpoint)] * 12
        self.endpoint.in_flight += 12
        self.now += 10.0
        self.fail("connection", *sent)
        assert self.endpoint.dead

    async def next_asked(self) -> str:
        endpoint = await self.pool.acquire()
        if endpoint is self.other:
            self.pool.succeeded(endpoint, self.pool.sent(endpoint))
        return endpoint.transport.name


async def test_one_that_was_given_up_and_comes_back_is_used_again() -> None:
    pair = Pair()
    await pair.give_up()
    assert {await pair.next_asked() for _ in range(9)} == {"b"}
    pair.now += 60.0
    assert await pair.next_asked() == "a"
    assert {await pair.next_asked() for _ in range(9)} == {"b"}  # one probe at a time
    pair.fail("connection", pair.pool.sent(pair.endpoint))
    assert {await pair.next_asked() for _ in range(9)} == {"b"}
    pair.now += 60.0
    assert await pair.next_asked() == "a"
    pair.answer(pair.pool.sent(pair.endpoint))
    assert not pair.endpoint.dead
    assert {await pair.next_asked() for _ in range(2)} == {"a", "b"}


async def test_with_all_others_given_up_too_it_is_the_end() -> None:
    pair = Pair()
    await pair.give_up()
    pair.other.dead = True
    pair.now += 60.0
    with pytest.raises(NoEndpointError):
        await pair.pool.acquire()


async def test_one_that_was_denied_is_not_asked_again() -> None:
    pair = Pair()
    pair.endpoint.in_flight += 1
    pair.fail("denied", pair.pool.sent(pair.endpoint))
    pair.now += 1000.0
    assert {await pair.next_asked() for _ in range(9)} == {"b"}
