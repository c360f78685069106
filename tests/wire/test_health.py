"""How the gateway finds out about its upstreams: on a connection of its own to each endpoint, never through a route."""

import asyncio
import re

import pytest

from app.edge.endpoint import EndpointState
from app.edge.health import ActiveChecks, report, watch_upstreams
from app.edge.upstreams import Upstream, open_upstreams
from app.infra.observability.health import HealthRegistry, NotWell, Wellness
from app.settings import UpstreamRow
from tests.wire.hostile import (
    HI,
    OK,
    Script,
    Visit,
    answering,
    answering_then_closing,
    eventually,
    fail,
    hostile,
    on_both_loops,
    silent,
)


def upstream_at(*ports: int, **row: object) -> Upstream:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    return open_upstreams({"one": UpstreamRow.model_validate({"urls": urls, **row})})["one"]


def checks_of(upstream: Upstream, *, timeout_s: float = 5) -> ActiveChecks:
    return ActiveChecks(lambda: {"one": upstream}, timeout_s)


def states(upstream: Upstream) -> list[EndpointState]:
    return [member.state for member in upstream.endpoints]


@on_both_loops
async def test_an_endpoint_is_asked_for_its_health() -> None:
    async with hostile(answering(HI)) as there:
        upstream = upstream_at(there.port, health="/ping?full=1")

        await checks_of(upstream).check_all()

        words = await report(upstream)
        assert words == f"127.0.0.1:{there.port} ready, /ping?full=1 answers 200, 0 in use, 0 idle, 0 waiting"
        assert there.visits[0].received.startswith(b"GET /ping?full=1 HTTP/1.1\r\nhost: 127.0.0.1:")
        await upstream.aclose()


@on_both_loops
async def test_without_a_path_it_is_only_called() -> None:
    async with hostile(answering()) as there:
        upstream = upstream_at(there.port)

        await checks_of(upstream).check_all()
        words = await report(upstream)

        assert "ready, accepts connections, 0 in use" in words
        await eventually(lambda: len(there.visits) == 1)
        assert there.visits[0].received == b""
        await upstream.aclose()


@on_both_loops
async def test_a_full_pool_does_not_starve_a_check_nor_a_check_the_pool() -> None:
    async with hostile(answering(HI)) as there:
        upstream = upstream_at(there.port, health="/ping", max_connections=1)
        pool = upstream.endpoints[0].pool
        taken = await pool.acquire()

        await checks_of(upstream).check_all()

        assert re.search("/ping answers 200, 1 in use", await report(upstream))
        assert pool.counts.open == 1
        taken.abort()
        await upstream.aclose()


UNWELL: list[Script] = [
    *(answering(b"HTTP/1.1 %d Oh\r\nContent-Length: 0\r\n\r\n" % status) for status in (400, 404, 500, 503)),
    *(answering_then_closing(answer) for answer in (b"", b"nonsense\r\n\r\n", OK + b"Content-Length: 9\r\n\r\nhalf")),
    silent,
]


@pytest.mark.parametrize("script", UNWELL, ids=["400", "404", "500", "503", "nothing", "nonsense", "half", "frozen"])
@on_both_loops
async def test_two_failed_checks_take_an_endpoint_out_and_two_good_ones_bring_it_back(script: Script) -> None:
    async def sick(visit: Visit) -> None:
        await (script if visit.number < 3 else answering(HI))(visit)

    async with hostile(sick) as there, hostile(answering(HI)) as other:
        upstream = upstream_at(there.port, other.port, health="/ping")
        seen = []

        for patience_s in (0.2, 0.2, 0.2, 5, 5):  # what is silent is waited for in vain
            await checks_of(upstream, timeout_s=patience_s).check_all()
            seen.append(states(upstream)[0])

        ready, unhealthy = EndpointState.READY, EndpointState.UNHEALTHY
        assert seen == [ready, unhealthy, unhealthy, unhealthy, ready]
        await upstream.aclose()


@on_both_loops
async def test_an_unhealthy_endpoint_is_not_asked_while_another_is_well() -> None:
    async with hostile(answering_then_closing(b"")) as sick, hostile(answering(HI)) as well:
        upstream = upstream_at(sick.port, well.port, health="/ping")

        for _ in range(2):
            await checks_of(upstream).check_all()

        assert {upstream.pick().name for _ in range(10)} == {f"127.0.0.1:{well.port}"}
        await upstream.aclose()


@on_both_loops
async def test_checks_that_all_fail_are_not_believed_but_told() -> None:
    async with hostile(answering_then_closing(b"HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n")) as there:
        upstream = upstream_at(there.port, health="/mistyped")

        for _ in range(2):
            await checks_of(upstream).check_all()

        assert upstream.pick() is upstream.endpoints[0]
        with pytest.raises(NotWell, match="unhealthy, /mistyped answers 404"):
            await report(upstream)
        await upstream.aclose()


@on_both_loops
async def test_a_check_that_hangs_delays_no_other() -> None:
    async with hostile(silent) as frozen, hostile(answering(HI)) as well:
        upstream = upstream_at(frozen.port, well.port, health="/ping")

        async with asyncio.TaskGroup() as group:
            checking = group.create_task(checks_of(upstream, timeout_s=60).check_all())
            await eventually(lambda: upstream.endpoints[1].last_check == "/ping answers 200")
            checking.cancel()

        assert upstream.endpoints[0].last_check == ""
        await upstream.aclose()


@on_both_loops
async def test_a_body_without_end_does_not_keep_a_check() -> None:
    async def endless(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + b"\r\n")
        while True:
            await visit.send(b"x" * 65536)

    async with hostile(endless) as there:
        upstream = upstream_at(there.port, health="/ping")

        await checks_of(upstream, timeout_s=60).check_all()

        assert upstream.endpoints[0].last_check == "/ping answers 200"
        await upstream.aclose()


@on_both_loops
async def test_nobody_there_is_not_well_and_hinders_nothing_else() -> None:
    async with hostile(answering(HI)) as there:
        upstreams = {
            "here": upstream_at(there.port, health="/ping"),
            "away": upstream_at(1, health="/ping"),
            "mute": upstream_at(1),
        }
        health = HealthRegistry()
        watch_upstreams(health, lambda: upstreams)
        for _ in range(2):
            await ActiveChecks(lambda: upstreams).check_all()

        await health.check_all()

        expected = {"here": Wellness.OK, "away": Wellness.ERROR, "mute": Wellness.ERROR}
        assert {one.name: one.status for one in health.all} == expected
        assert health.is_ready
        await eventually(lambda: bool(there.visits))


@on_both_loops
async def test_an_upstream_that_left_the_table_is_no_longer_told_of() -> None:
    upstreams = {"one": upstream_at(1), "two": upstream_at(1)}
    health = HealthRegistry()
    watch_upstreams(health, lambda: upstreams)

    del upstreams["one"]
    watch_upstreams(health, lambda: upstreams)

    assert [one.name for one in health.all] == ["two"]


@on_both_loops
async def test_staff_is_told_what_an_endpoint_does_and_what_went_wrong() -> None:
    async with hostile(answering_then_closing(b"")) as there:
        upstream = upstream_at(there.port, breaker_failures=1)
        endpoint = upstream.pick()
        endpoint.note_failure(await fail(endpoint.pool))

        with pytest.raises(NotWell) as told:
            await report(upstream)

        words = str(told.value)
        assert words.startswith(f"127.0.0.1:{there.port} ejected, accepts connections, 0 in use, 0 idle, 0 waiting")
        assert "breaker open, last failure 0 s ago: UpstreamBroken: the connection ended before the head" in words
        await upstream.aclose()
