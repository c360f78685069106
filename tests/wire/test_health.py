"""How the gateway finds out about its upstreams: through the pool that carries the requests."""

import pytest

from app.edge.health import check_upstream, watch_upstreams
from app.edge.upstreams import Upstream, open_upstreams
from app.infra.observability.health import HealthRegistry, NotWell, Wellness
from app.settings import UpstreamRow
from tests.wire.hostile import HI, OK, answering, answering_then_closing, eventually, hostile, on_both_loops


def upstream_at(port: int, **row: object) -> Upstream:
    return open_upstreams({"one": UpstreamRow.model_validate({"url": f"http://127.0.0.1:{port}", **row})})["one"]


@on_both_loops
async def test_an_upstream_is_asked_on_a_connection_that_is_kept() -> None:
    async with hostile(answering(HI, HI)) as there:
        upstream = upstream_at(there.port, health="/ping?full=1")

        words = [await check_upstream(upstream) for _ in range(2)]

        assert words == [f"127.0.0.1:{there.port}: /ping?full=1 answers 200"] * 2
        assert there.visits[0].received.startswith(b"GET /ping?full=1 HTTP/1.1\r\nhost: 127.0.0.1:")
        assert (len(there.visits), upstream.endpoints[0].pool.counts.idle) == (1, 1)
        await upstream.aclose()


@on_both_loops
async def test_without_a_path_it_is_only_called() -> None:
    async with hostile(answering()) as there:
        upstream = upstream_at(there.port)

        words = await check_upstream(upstream)

        assert words == f"127.0.0.1:{there.port}: accepts connections"
        await eventually(lambda: upstream.endpoints[0].pool.counts.open == 0)
        assert [visit.received for visit in there.visits] in ([b""], [])
        await upstream.aclose()


@pytest.mark.parametrize("status", [400, 404, 500, 503])
@on_both_loops
async def test_an_error_is_not_well(status: int) -> None:
    async with hostile(answering(b"HTTP/1.1 %d Oh\r\nContent-Length: 0\r\n\r\n" % status)) as there:
        upstream = upstream_at(there.port, health="/ping")

        with pytest.raises(NotWell, match=f"/ping answers {status}"):
            await check_upstream(upstream)

        await upstream.aclose()


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", OK + b"Content-Length: 9\r\n\r\nhalf"])
@on_both_loops
async def test_a_broken_answer_is_not_well(answer: bytes) -> None:
    async with hostile(answering_then_closing(answer)) as there:
        upstream = upstream_at(there.port, health="/ping")

        with pytest.raises(NotWell, match=f"127.0.0.1:{there.port}: "):
            await check_upstream(upstream)

        assert upstream.endpoints[0].pool.counts.open == 0
        await upstream.aclose()


@on_both_loops
async def test_nobody_there_is_not_well_and_hinders_nothing_else() -> None:
    async with hostile(answering(HI)) as there:
        away = upstream_at(1, health="/ping")
        health = HealthRegistry()
        watch_upstreams(health, {"here": upstream_at(there.port, health="/ping"), "away": away})

        await health.check_all()

        assert {one.name: one.status for one in health.all} == {"here": Wellness.OK, "away": Wellness.ERROR}
        assert health.is_ready
        assert (away.endpoints[0].pool.counts.open, away.endpoints[0].pool.counts.waiting) == (0, 0)
        await eventually(lambda: bool(there.visits))
