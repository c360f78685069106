"""Endpoints that leave, by a changed table or a changed name, lose no request; names are looked up aside."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from app.edge.endpoint import EndpointState
from app.edge.endpoint_names import Names, look_up
from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import UpstreamBroken
from app.edge.upstreams import ADDRESSES_LIMIT, Upstream, open_upstreams
from app.settings import UpstreamRow
from tests.wire.hostile import GET, HI, OK, Visit, answering, eventually, fetch, hostile, on_both_loops, silent


def upstream_at(*urls: str) -> Upstream:
    return open_upstreams({"one": UpstreamRow.model_validate({"urls": urls, "max_connections": 1})})["one"]


def addresses(upstream: Upstream) -> list[str]:
    return [member.pool.endpoint.host for member in upstream.endpoints]


class NameServer:
    """Answers what it was last given; an error is raised."""

    def __init__(self, **known: Sequence[str] | Exception) -> None:
        self.known = known
        self.asked: list[str] = []

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        assert port > 0
        self.asked.append(host)
        found = self.known[host]
        if isinstance(found, Exception):
            raise found
        return found

    def names_of(self, upstream: Upstream) -> Names:
        return Names(lambda: {"one": upstream}, self.look_up)


@on_both_loops
async def test_what_is_on_its_way_and_who_waits_are_served_before_a_pool_closes() -> None:
    gate = asyncio.Event()

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await gate.wait()
            await visit.send(HI)

    async with hostile(script) as there:
        upstream = upstream_at(f"http://127.0.0.1:{there.port}")
        pool = upstream.pick().pool
        async with asyncio.TaskGroup() as group:
            running = group.create_task(fetch(pool))
            await eventually(lambda: len(there.visits) == 1)
            waiting = group.create_task(fetch(pool))
            await eventually(lambda: pool.counts.waiting == 1)

            draining = group.create_task(upstream.drain(60))
            await eventually(lambda: upstream.endpoints[0].state is EndpointState.DRAINING)
            gate.set()

        assert (running.result()[1], waiting.result()[1]) == (b"hi", b"hi")
        assert draining.done()
        assert pool.counts.open == 0


@on_both_loops
async def test_draining_closes_what_is_idle_at_once() -> None:
    async with hostile(answering(HI)) as there:
        upstream = upstream_at(f"http://127.0.0.1:{there.port}")
        await fetch(upstream.pick().pool)

        await upstream.drain(60)

        assert upstream.pick().pool.counts.open == 0


@on_both_loops
async def test_who_had_chosen_a_drained_upstream_is_still_served() -> None:
    async with hostile(answering(HI)) as there:
        upstream = upstream_at(f"http://127.0.0.1:{there.port}")
        await upstream.drain(60)

        _, body = await fetch(upstream.pick().pool)

        assert body == b"hi"
        await eventually(lambda: upstream.pick().pool.counts.open == 0)


@on_both_loops
async def test_what_does_not_end_in_time_is_cut() -> None:
    async with hostile(silent) as there:
        upstream = upstream_at(f"http://127.0.0.1:{there.port}")
        exchange = Exchange(await upstream.pick().pool.acquire())
        exchange.begin(b"GET", GET)

        await upstream.drain(0.05)

        with pytest.raises(UpstreamBroken):
            await exchange.head()


@on_both_loops
async def test_a_name_is_as_many_endpoints_as_it_has_addresses() -> None:
    upstream = upstream_at("http://there.test:81/base", "http://127.0.0.9/base")
    before = addresses(upstream)

    await NameServer(**{"there.test": ["10.0.0.1", "10.0.0.2"]}).names_of(upstream).refresh_all()

    assert before == ["there.test", "127.0.0.9"]
    assert addresses(upstream) == ["10.0.0.1", "10.0.0.2", "127.0.0.9"]
    assert [member.authority for member in upstream.endpoints] == [b"there.test:81"] * 2 + [b"127.0.0.9"]
    assert [member.name for member in upstream.endpoints] == ["10.0.0.1:81", "10.0.0.2:81", "127.0.0.9:80"]


@on_both_loops
async def test_a_certificate_is_checked_against_the_name_whatever_the_address() -> None:
    upstream = upstream_at("https://there.test")

    await NameServer(**{"there.test": ["10.0.0.1"]}).names_of(upstream).refresh_all()

    endpoint = upstream.pick().pool.endpoint
    assert (endpoint.host, endpoint.port, endpoint.server_name) == ("10.0.0.1", 443, "there.test")


@on_both_loops
async def test_an_address_that_is_gone_is_drained_and_one_that_stays_keeps_its_connections() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + b"Content-Length: 4\r\n\r\nha")
        await go_on.wait()
        await visit.send(b"lf")
        await visit.until_left()

    go_on = asyncio.Event()
    async with hostile(script) as there:
        upstream = upstream_at(f"http://there.test:{there.port}")
        server = NameServer(**{"there.test": ["127.0.0.1", "127.0.0.2"]})
        names = server.names_of(upstream)
        await names.refresh_all()
        gone, stays = upstream.endpoints
        exchange = Exchange(await gone.pool.acquire())
        exchange.begin(b"GET", GET)
        await exchange.head()

        server.known = {"there.test": ["127.0.0.2", "127.0.0.3"]}
        await names.refresh_all()
        go_on.set()
        body = b"".join([piece async for piece in exchange.body()])

        assert body == b"half"
        assert addresses(upstream) == ["127.0.0.2", "127.0.0.3"]
        assert upstream.endpoints[0] is stays
        assert (gone.state, gone in upstream.leaving) == (EndpointState.DRAINING, True)
        assert gone not in {upstream.pick() for _ in range(10)}
        await eventually(lambda: gone.pool.counts.open == 0)
        server.known = {"there.test": ["127.0.0.2"]}
        await names.refresh_all()
        assert gone not in upstream.leaving
        await upstream.aclose()


LOST: list[Sequence[str] | Exception] = [socket.gaierror(-2, "Name not known"), TimeoutError(), UnicodeError("x"), []]


@pytest.mark.parametrize("found", LOST, ids=["unknown", "late", "impossible", "nothing"])
@on_both_loops
async def test_a_name_that_is_lost_keeps_its_last_addresses(found: Sequence[str] | Exception) -> None:
    upstream = upstream_at("http://there.test")
    server = NameServer(**{"there.test": ["10.0.0.1"]})
    names = server.names_of(upstream)
    await names.refresh_all()
    before = upstream.endpoints

    server.known = {"there.test": found}
    await names.refresh_all()

    assert upstream.endpoints is before


@on_both_loops
async def test_a_lookup_that_hangs_is_given_up() -> None:
    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(3600)
        return [host] * port

    upstream = upstream_at("http://there.test")

    await Names(lambda: {"one": upstream}, hang, timeout_s=0.02).refresh_all()

    assert addresses(upstream) == ["there.test"]


@on_both_loops
async def test_addresses_are_never_looked_up() -> None:
    upstream = upstream_at("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1")
    server = NameServer()

    await server.names_of(upstream).refresh_all()

    assert server.asked == []


@on_both_loops
async def test_more_addresses_than_allowed_are_left_out() -> None:
    upstream = upstream_at("http://there.test")
    many = [f"10.0.0.{number}" for number in range(100)]

    await NameServer(**{"there.test": many}).names_of(upstream).refresh_all()

    assert addresses(upstream) == many[:ADDRESSES_LIMIT]


@pytest.mark.parametrize(("host", "found"), [("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"])])
@on_both_loops
async def test_the_system_is_asked(host: str, found: list[str]) -> None:
    assert await look_up(host, 80) == found


@on_both_loops
async def test_of_both_kinds_of_addresses_one_is_used() -> None:
    found = await look_up("localhost", 80)

    assert found in (["127.0.0.1"], ["::1"])
