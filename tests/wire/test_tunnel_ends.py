"""How a tunnel ends: whoever leaves takes the other side along, behind everything it has said."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from app.edge.pipeline import EdgeOptions
from app.edge.websocket_frames import close_frame
from tests.builders import a_run_token, a_token
from tests.wire.caller import LEAVES, Caller, Leave
from tests.wire.doorway import SWITCHING, dying_token, handshake, running_doorway, withdraw
from tests.wire.front import Front
from tests.wire.hostile import Script, Visit, eventually
from tests.wire.runs import begin_run, end_run

PATIENCE_S = 10
PROMPT_S = 5  # a deadline for a machine that is busy; what it takes is printed
FRAME = b"\x82\x02hi"
HALF_A_FRAME = b"\x82\x7e\x10\x00half"
MASKED = b"\x82\x82\0\0\0\0hi"
HALF_A_MASKED = b"\x82\xfe\x10\x00\0\0\0\0half"
EXPIRED = close_frame(1008, "token_expired", is_masked=False)
WITHDRAWN = close_frame(1008, "token_withdrawn", is_masked=False)
OVER = close_frame(1008, "run_over", is_masked=False)
GOING = close_frame(1001, "going_away", is_masked=False)


@pytest.fixture(scope="module")
def front_gateway() -> Iterator[Front]:
    with running_doorway(options=EdgeOptions(client_write_s=0.3, farewell_s=0.3)) as front:
        yield front


@pytest.fixture(autouse=True)
async def _nothing_is_left(front: Front) -> AsyncIterator[None]:
    yield
    edge = front.edge
    await eventually(lambda: edge.gauges.tunnels_open == edge.load.requests_open == edge.gauges.connections_open == 0)


def switching(behind: bytes = b"") -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.received = b""
        await visit.send(SWITCHING + behind)
        await visit.until_left()
        visit.close()

    return script


async def opened(caller: Caller, path: bytes = b"/ws", *fields: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await caller.send(handshake(path, *fields))
        assert (await caller.head()).status == 101


async def rest(caller: Caller) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await caller.reader.read()


def unmasked(frame: bytes) -> bytes:
    """What a client's close frame says, as a server would write it."""
    if not frame:
        return b""
    length = frame[1] & 0x7F
    mask, payload = frame[2:6], frame[6 : 6 + length]
    plain = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
    return bytes((frame[0], length)) + plain + frame[6 + length :]


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
async def test_an_upstream_hears_at_once_that_the_client_is_gone(front: Front, leave: Leave) -> None:
    left_at: list[float] = []

    async def script(visit: Visit) -> None:
        await switching()(visit)
        left_at.append(time.monotonic())

    async with front.upstream(script) as upstream, front.calling() as caller:
        await opened(caller)
        await caller.send(MASKED)
        await eventually(lambda: upstream.visits[0].received == MASKED)
        began = time.monotonic()
        leave(caller)
        await eventually(lambda: bool(left_at))

    print(f"the upstream heard of it after {(left_at[0] - began) * 1000:.1f} ms")  # noqa: T201 - a number to look at
    assert left_at[0] - began < PROMPT_S
    line = await front.line()
    assert (line["status"], line["reason"]) == (101, "client_gone")


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
async def test_a_client_that_leaves_before_the_101_takes_the_handshake_along(front: Front, leave: Leave) -> None:
    async with front.upstream(Visit.until_left) as upstream, front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        await eventually(lambda: bool(upstream.visits))
        leave(caller)

        await eventually(lambda: front.counts().open == 0)
        line = await front.line()
        assert (line["status"], line["reason"]) == (0, "client_gone")


async def test_what_a_client_said_before_it_left_arrives(front: Front) -> None:
    farewell = MASKED * 50_000 + close_frame(1000, is_masked=True)

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING)
        visit.received = b""
        may_read.set()
        await visit.until_left()

    may_read = asyncio.Event()
    async with front.upstream(script) as upstream, front.calling() as caller:
        await opened(caller)
        await may_read.wait()
        caller.writer.write(farewell)
        caller.writer.write_eof()

        await eventually(lambda: len(upstream.visits[0].received) == len(farewell))
        assert await rest(caller) == b""
        assert (await front.line())["reason"] == "proxied"


type Die = Callable[[Visit], None]


@pytest.mark.parametrize("die", [Visit.close, Visit.reset], ids=["fin", "rst"])
async def test_a_client_hears_at_once_that_the_upstream_is_gone(front: Front, die: Die) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING + FRAME)
        await may_die.wait()
        die(visit)

    may_die = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await opened(caller)
        assert await asyncio.wait_for(caller.reader.readexactly(4), PATIENCE_S) == FRAME
        began = time.monotonic()
        may_die.set()

        assert await rest(caller) == b""
        took_s = time.monotonic() - began
        print(f"the client heard of it after {took_s * 1000:.1f} ms")  # noqa: T201 - a number to look at
        assert took_s < PROMPT_S
        line = await front.line()
        assert (line["status"], line["reason"]) == (101, "upstream_broken")


async def test_what_an_upstream_said_before_it_left_arrives_although_the_client_goes_on_talking(front: Front) -> None:
    last_words = FRAME * 30_000

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING + last_words)

    async with front.upstream(script), front.calling() as caller:
        await opened(caller)
        for _ in range(10):
            caller.writer.write(MASKED)

        assert await rest(caller) == last_words


async def test_a_silent_tunnel_outlives_the_upstreams_deadlines(front: Front) -> None:
    async with front.upstream(switching()) as upstream, front.calling() as caller:
        await opened(caller, b"/impatient")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.reader.read(1), 0.6)  # its response_timeout_s is 0.3
        await caller.send(MASKED)

        await eventually(lambda: upstream.visits[0].received == MASKED)


async def test_a_client_that_does_not_read_is_cut_off(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING)
        for _ in range(1000):
            await visit.send(FRAME * 16384)

    async with front.upstream(script), front.calling() as caller:
        await opened(caller)
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's transport can read as well

        line = await front.line()
        assert (line["status"], line["reason"]) == (101, "client_too_slow")
        await eventually(lambda: front.counts().open == 0)


async def talk_on(caller: Caller) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await caller.send(MASKED * 8192)


async def test_an_upstream_that_does_not_read_is_cut_off(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING)
        visit.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's transport can read as well
        await is_over.wait()

    is_over = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await opened(caller, b"/impatient")
        with pytest.raises(ConnectionError):
            await talk_on(caller)

        line = await front.line()
        assert (line["status"], line["reason"]) == (101, "upstream_timeout")
        is_over.set()


FAREWELL = close_frame(1000, is_masked=False)
MASKED_FAREWELL = close_frame(1000, is_masked=True)
EXPIRIES: tuple[tuple[bytes, bytes, bytes, bytes], ...] = (
    (FRAME, MASKED, FRAME + EXPIRED, EXPIRED),
    (HALF_A_FRAME, MASKED, HALF_A_FRAME, EXPIRED),
    (FRAME, HALF_A_MASKED, FRAME + EXPIRED, b""),
    (FAREWELL, MASKED_FAREWELL, FAREWELL, b""),
)
"""What the upstream has said, and the client; then what the client has heard in all, and the upstream at the end."""


async def test_tunnels_end_with_their_token_and_each_side_is_told_where_a_frame_may_stand(front: Front) -> None:
    ends: dict[int, bytes] = {}

    async def script(visit: Visit) -> None:
        case = int((await visit.request()).split()[1][-1:])
        said, asked, _, _ = EXPIRIES[case]
        visit.received = b""
        await visit.send(SWITCHING + said)
        await visit.until_left()
        assert visit.received.startswith(asked)
        ends[case] = unmasked(visit.received[len(asked) :])

    async def visit(case: int) -> bytes:
        async with front.calling() as caller:
            token = b"Authorization: Bearer " + dying_token(1).encode()
            await opened(caller, b"/mine/%d" % case, token)
            await caller.send(EXPIRIES[case][1])
            return await rest(caller)

    async with front.upstream(script):
        heard = await asyncio.gather(*(visit(case) for case in range(len(EXPIRIES))))
        await eventually(lambda: len(ends) == len(EXPIRIES))

    assert heard == [case[2] for case in EXPIRIES]
    assert [ends[case] for case in range(len(EXPIRIES))] == [case[3] for case in EXPIRIES]
    assert {(line["status"], line["reason"]) for line in front.answered} == {(101, "token_expired")}


async def test_a_tunnel_ends_when_its_token_is_withdrawn_and_others_stay(front: Front) -> None:
    async with front.upstream(switching()), front.calling() as caller, front.calling() as other:
        await opened(caller, b"/mine", b"Authorization: Bearer " + a_token(sub="leaver").encode())
        await opened(other, b"/mine", b"Authorization: Bearer " + a_token(sub="stayer").encode())
        withdraw(front, sub="leaver")

        assert await rest(caller) == WITHDRAWN
        assert (await front.line())["reason"] == "token_withdrawn"
        assert front.edge.gauges.tunnels_open == 1


async def test_a_tunnel_ends_with_the_run_that_opened_it_and_others_stay(front: Front) -> None:
    run, other_run = begin_run(), begin_run()
    async with front.upstream(switching()), front.calling() as leaver, front.calling() as other:
        await opened(leaver, b"/mine", b"Authorization: Bearer " + a_run_token(run).encode())
        await opened(other, b"/mine", b"Authorization: Bearer " + a_run_token(other_run).encode())

        end_run(run)

        assert await rest(leaver) == OVER
        assert (await front.line())["reason"] == "run_over"
        assert not other.reader.at_eof()
    end_run(other_run)


async def test_a_token_that_is_withdrawn_during_the_handshake_opens_no_tunnel(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        withdraw(front, jti="hasty")
        await visit.send(SWITCHING)
        await visit.until_left()

    async with front.upstream(script), front.calling() as caller:
        await opened(caller, b"/mine", b"Authorization: Bearer " + a_token(jti="hasty").encode())

        assert await rest(caller) == WITHDRAWN


def _refuses(port: int) -> bool:
    with socket.socket() as newcomer:
        return newcomer.connect_ex(("127.0.0.1", port)) != 0


async def test_a_process_that_ends_says_so_shortly_before_and_not_at_once() -> None:
    with ExitStack() as process:
        front = process.enter_context(running_doorway(grace_s=4))
        async with (
            asyncio.TaskGroup() as ending,
            front.upstream(switching(FRAME)) as upstream,
            front.calling() as caller,
            front.calling() as cut,
        ):
            await opened(caller)
            await opened(cut)
            await cut.send(HALF_A_MASKED)
            ending.create_task(asyncio.to_thread(process.close))
            await eventually(lambda: _refuses(front.port))
            await caller.send(MASKED)
            await eventually(lambda: upstream.visits[0].received == MASKED)

            assert await rest(caller) == FRAME + GOING
            assert await rest(cut) == FRAME + GOING
            await eventually(lambda: unmasked(upstream.visits[0].received[8:]) == GOING)
            assert upstream.visits[1].received == HALF_A_MASKED
