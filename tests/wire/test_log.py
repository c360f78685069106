"""Every request leaves exactly one line, which says what became of it and why."""

import pytest

from tests.builders import a_token
from tests.wire.caller import get, post, post_chunks
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import HI, answering, answering_then_closing

pytestmark = both_mounts

PAGE = b"Origin: https://page.test"
EXPIRED = b"Authorization: Bearer " + a_token(exp=1_000_000_000).encode()

REQUESTS = {
    "proxied": (get(b"/main/x"), 200, "proxied"),
    "local": (get(b"/api/health/ping"), 204, "local"),
    "not found behind a local row": (get(b"/local"), 404, "route_not_found"),
    "preflight": (
        get(b"/main/x", PAGE, b"Access-Control-Request-Method: POST", method=b"OPTIONS"), 204, "preflight"
    ),
    "no token": (get(b"/mine/x"), 401, "token_missing"),
    "bad token": (get(b"/mine/x", b"Authorization: Bearer x"), 401, "token_invalid"),
    "old token": (get(b"/mine/x", EXPIRED), 401, "token_expired"),
    "role": (
        get(b"/mine/x", b"Authorization: Bearer " + a_token(role="stranger").encode()), 403, "role_not_allowed"
    ),
    "no route": (get(b"/nowhere"), 404, "route_not_found"),
    "method": (get(b"/local", method=b"PUT"), 405, "method_not_allowed"),
    "path": (get(b"/main/%2e%2e/x"), 400, "path_not_allowed"),
    "host": (get(b"/main/x").replace(b"front", b"fr ont"), 400, "head_malformed"),
    "target": (get(b"/main/" + b"x" * 9000), 414, "target_too_long"),
    "fields": (get(b"/main/x", *[b"X-A: 1"] * 101), 431, "head_too_large"),
    "body": (post(b"/small/x", b"x" * 1001), 413, "body_too_large"),
    "chunked body": (post_chunks(b"/small/x", b"x" * 1001, b""), 413, "body_too_large"),
    "silent upstream": (get(b"/quick/x"), 504, "upstream_timeout"),
}  # fmt: skip


@pytest.mark.parametrize(("request_bytes", "status", "reason"), REQUESTS.values(), ids=REQUESTS)
async def test_one_line_says_what_became_of_a_request(
    front: Front, request_bytes: bytes, status: int, reason: str
) -> None:
    script = answering() if reason == "upstream_timeout" else answering(HI)
    async with front.upstream(script):
        answered = await front.ask(request_bytes)
        await front.is_at_rest()

        line = await front.line()
        assert (line["status"], line["reason"]) == (answered.status, reason)
        assert answered.status == status
        assert line["request_id"] == (answered.first(b"x-request-id") or b"").decode()


async def test_a_line_counts_bytes_and_names_caller_route_and_endpoint(front: Front) -> None:
    token = b"Authorization: Bearer " + a_token(sub="7").encode()
    async with front.upstream(answering(HI)):
        await front.ask(post(b"/mine/x?secret=1", b"", token))

        line = await front.line()
        assert (line["method"], line["path"], line["route"]) == ("POST", "/mine/x", "/mine/*")
        assert (line["user_id"], line["client"]) == ("7", "127.0.0.1")
        assert (line["bytes_in"], line["bytes_out"]) == (0, 2)
        assert line["endpoint"] == f"127.0.0.1:{front.upstream_port}"
        assert 0 < line["seconds"] < 10


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"], ids=["nothing", "nonsense"])
async def test_an_upstream_that_breaks_is_named_with_its_cause(front: Front, answer: bytes) -> None:
    async with front.upstream(answering_then_closing(answer)):
        await front.ask(get(b"/unretried/x"))

        line = await front.line()
        assert (line["reason"], line["upstream"], line["phase"]) == ("upstream_broken", "unretried", "head")
        assert line["cause"]


async def test_no_line_holds_a_token(front: Front) -> None:
    token = a_token()
    async with front.upstream(answering(HI)):
        await front.ask(get(b"/mine/x", b"Authorization: Bearer " + token.encode()))

        await front.line()
        assert token not in repr(front.lines)
