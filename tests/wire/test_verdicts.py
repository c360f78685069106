"""One table of cases, both mounts: the same verdict, the same bytes to the upstream, the first time and the second."""

from asyncio import IncompleteReadError

import pytest

from tests.wire.caller import Caller, get
from tests.wire.counting import Counting
from tests.wire.front import Front
from tests.wire.verdict import Case, Sent, Verdict
from tests.wire.verdicts import VERDICTS


async def judged(front: Front, counting: Counting, request: bytes) -> Verdict:
    """Send one request, then another behind it, and tell what became of both."""
    counting.requests.clear()
    async with front.calling() as caller:
        await caller.send(request)
        answered = await caller.answer(request.partition(b" ")[0])
        stays = await takes_another(caller)

    assert answered.is_whole
    sent = [Sent.of(one) for one in counting.requests if one.line != b"GET /main/after HTTP/1.1"]
    assert len(sent) <= 1
    is_problem = answered.first(b"content-type") == b"application/problem+json" and answered.body
    kind = answered.problem["type"] if is_problem else ""
    return Verdict(answered.status, kind, stays=stays, sent=sent[0] if sent else None)


async def takes_another(caller: Caller) -> bool:
    try:
        await caller.send(get(b"/main/after"))
        return (await caller.answer()).body == b"hi"
    except (IncompleteReadError, ConnectionError):
        return False


# h11 refuses some of these by itself, before the ASGI mount hears of them, in words of its own
@pytest.mark.parametrize("front_gateway", ["portico", "uvloop-httptools"], indirect=True)
@pytest.mark.parametrize("cases", VERDICTS.values(), ids=VERDICTS)
async def test_verdicts_are_the_same_whichever_mount_gives_them(front: Front, cases: dict[str, Case]) -> None:
    counting = Counting()
    async with front.upstream(counting):
        first = {name: await judged(front, counting, case.request) for name, case in cases.items()}
        again = {name: await judged(front, counting, case.request) for name, case in cases.items()}

        assert first == {name: case.verdict for name, case in cases.items()}
        assert again == first
        assert not counting.flaws
