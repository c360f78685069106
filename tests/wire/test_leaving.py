"""A client that leaves takes its place in line and its half of a request with it; how soon: `test_leaving_in_time`."""

import pytest

from tests.wire.caller import LEAVES, Leave, get, post_chunks
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import eventually, silent

pytestmark = [
    both_mounts,
    pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES),
]


async def test_while_standing_in_line_for_a_connection(front: Front, leave: Leave) -> None:
    async with front.upstream(silent) as upstream, front.calling() as first, front.calling() as second:
        await first.send(get(b"/crowded/first"))
        await eventually(lambda: front.counts("crowded").in_use == 1)
        await second.send(get(b"/crowded/second"))
        await eventually(lambda: front.counts("crowded").waiting == 1)
        leave(second)

        await eventually(lambda: front.counts("crowded").waiting == 0)
        assert (await front.line())["reason"] == "client_gone"
        assert len(upstream.visits) == 1


async def test_during_an_upload_the_upstream_reads(front: Front, leave: Leave) -> None:
    async with front.upstream(silent) as upstream, front.calling() as caller:
        await caller.send(post_chunks(b"/main/x", b"x" * 65536))
        await eventually(lambda: bool(upstream.visits) and len(upstream.visits[0].received) > 65536)
        leave(caller)

        await front.is_at_rest()
        assert (await front.line())["reason"] == "client_gone"
        assert front.counts().open == 0
        assert not upstream.visits[0].received.endswith(b"0\r\n\r\n")


async def test_between_two_requests(front: Front, leave: Leave) -> None:
    async with front.calling() as caller:
        await caller.send(get(b"/nowhere"))
        await caller.answer()
        leave(caller)

        await front.is_at_rest()
        assert (await front.line())["reason"] == "route_not_found"
