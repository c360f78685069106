"""What becomes of the requests of runs, at both mounts: let in as the asker while the run lives, else refused."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from app.kernel.ids import RunId, new_run_id
from tests.builders import a_run_token, a_token
from tests.wire.caller import Answered, get, post
from tests.wire.counting import Counting
from tests.wire.doorway import withdraw
from tests.wire.front import Front
from tests.wire.runs import LIVE, begin_run
from tests.wire.test_verdicts import judged
from tests.wire.verdict import Case, bearer, in_cookie, let_in, refused

MINE = b"/mine/x"
SEVEN = (b"x-user-id: 7", b"x-user-role: user")
PATIENCE_S = 10
WITHIN_S = 3  # half a second and a reading is promised; the rest is for a busy machine

# as in the table of all other verdicts
pytestmark = pytest.mark.parametrize("front_gateway", ["portico", "uvloop-httptools"], indirect=True)


@pytest.fixture
def run() -> Iterator[RunId]:
    run_id = begin_run(epoch=2)
    yield run_id
    LIVE.epochs.pop(run_id, None)
    LIVE.is_away = False


def cases_of(run: RunId) -> dict[str, Case]:
    def of(**claims: object) -> bytes:
        return bearer(a_run_token(run, sub="7", epoch=2, **claims))

    good = a_run_token(run, sub="7", epoch=2)
    over, fenced = bearer(a_run_token(new_run_id(), sub="7")), bearer(a_run_token(run, sub="7", epoch=1))
    now_s = int(time.time())
    return {
        "a run that lives": let_in(get(MINE, bearer(good)), b"GET /mine/x", *SEVEN),
        "in the cookie": let_in(get(MINE, in_cookie(good)), b"GET /mine/x", *SEVEN),
        "an agent behind an agent": let_in(
            get(MINE, of(act={"sub": "agenda", "act": {"sub": "assistant"}})), b"GET /mine/x", *SEVEN
        ),
        "forwarded where the row says so": let_in(
            get(b"/trusted/x", bearer(good)), b"GET /trusted/x", *SEVEN, b"authorization: Bearer " + good.encode()
        ),
        "what its asker may not": refused(get(b"/admin/x", bearer(good)), 403, "role-not-allowed"),
        "what another asker may": let_in(
            get(b"/admin/x", of(role="admin")), b"GET /admin/x", b"x-user-id: 7", b"x-user-role: admin"
        ),
        "on a public row": let_in(get(b"/main/x", bearer(good)), b"GET /main/x", *SEVEN),
        "over": refused(get(MINE, over), 401, "token-invalid"),
        "over, on a public row": let_in(get(b"/main/x", over), b"GET /main/x"),
        "over, with a body": refused(post(MINE, b"hello", over), 401, "token-invalid"),
        "taken over": refused(get(MINE, fenced), 401, "token-invalid"),
        "for somebody else": refused(get(MINE, of(aud="other")), 401, "token-invalid"),
        "of another issuer": refused(get(MINE, of(iss="auth")), 401, "token-invalid"),
        "without an agent": refused(get(MINE, of(act=None)), 401, "token-invalid"),
        "expired": refused(get(MINE, of(iat=now_s - 400, exp=now_s - 100)), 401, "token-expired"),
        "beside another token": refused(get(MINE, bearer(good), in_cookie(a_token(sub="7"))), 401, "token-invalid"),
        "one letter changed": refused(get(MINE, bearer(good[:-9] + "A" + good[-8:])), 401, "token-invalid"),
    }


async def until(front: Front, request: bytes, *, let_in: bool) -> Answered:
    """Ask again and again until it is let in, or is not any more."""
    async with asyncio.timeout(PATIENCE_S):
        while ((answer := await front.ask(request)).status == 200) is not let_in:  # noqa: ASYNC110 - with a deadline
            await asyncio.sleep(0.01)
    return answer


async def test_verdicts_on_runs_are_the_same_whichever_mount_gives_them(front: Front, run: RunId) -> None:
    counting, cases = Counting(), cases_of(run)
    async with front.upstream(counting):
        first = {name: await judged(front, counting, case.request) for name, case in cases.items()}
        again = {name: await judged(front, counting, case.request) for name, case in cases.items()}

    assert first == {name: case.verdict for name, case in cases.items()}
    assert again == first


async def test_a_run_that_ends_is_refused_within_a_second(front: Front, run: RunId) -> None:
    request = get(MINE, bearer(a_run_token(run, sub="7", epoch=2)))
    async with front.upstream(Counting()):
        was_let_in = (await front.ask(request)).status
        del LIVE.epochs[run]
        begun_s = time.monotonic()
        answer = await until(front, request, let_in=False)
        seconds = time.monotonic() - begun_s

    assert was_let_in == 200
    assert (answer.status, answer.problem["type"]) == (401, "token-invalid")
    assert answer.problem["detail"] == "The run that the token belongs to is over."
    assert seconds < WITHIN_S


async def test_a_run_that_began_a_moment_ago_is_let_in_at_once(front: Front, run: RunId) -> None:
    async with front.upstream(Counting()):
        await front.ask(get(MINE, bearer(a_run_token(run, epoch=2))))  # what is known now is fresh

        answers = [(await front.ask(get(MINE, bearer(a_run_token(begin_run()))))).status for _ in range(3)]

    assert answers == [200, 200, 200]


async def test_while_nobody_can_tell_which_runs_live_none_is_let_in_and_everybody_else_is(
    front: Front, run: RunId
) -> None:
    request = get(MINE, bearer(a_run_token(run, sub="7", epoch=2)))
    async with front.upstream(Counting()):
        before = (await front.ask(request)).status
        LIVE.is_away = True
        answer = await until(front, request, let_in=False)
        others = (await front.ask(get(MINE, bearer(a_token(sub="7"))))).status
        open_to_all = (await front.ask(get(b"/main/x", bearer(a_run_token(run, epoch=2))))).status
        LIVE.is_away = False
        await until(front, request, let_in=True)

    assert (before, others, open_to_all) == (200, 200, 200)
    assert (answer.status, answer.problem["type"]) == (503, "keys-unavailable")
    assert answer.first(b"retry-after") == b"1"


async def test_whose_token_is_withdrawn_has_no_run_that_is_let_in(front: Front, run: RunId) -> None:
    asker = f"asker-{run}"
    token = bearer(a_run_token(run, sub=asker, epoch=2, orig_iat=time.time() - 60))
    later = bearer(a_run_token(run, sub=asker, epoch=2, orig_iat=time.time() + 60))
    async with front.upstream(Counting()):
        before = (await front.ask(get(MINE, token))).status
        withdraw(front, sub=asker)
        answer = await until(front, get(MINE, token), let_in=False)
        asked_for_later = (await front.ask(get(MINE, later))).status

    assert (before, asked_for_later) == (200, 200)
    assert (answer.status, answer.problem["type"]) == (401, "token-invalid")
    assert "withdrawn" in answer.problem["detail"]
