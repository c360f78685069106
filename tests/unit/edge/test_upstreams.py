"""Rows of `[upstreams]`: what they become, how often a request may be tried again."""

import pytest

from app.edge.answer_head import AnswerHead, Framing
from app.edge.upstreams import RetryBudget, Upstream, open_upstreams
from app.settings import UpstreamRow


async def opened(**row: object) -> Upstream:
    return open_upstreams({"one": UpstreamRow.model_validate(row)})["one"]


ADDRESSES = [
    ("http://agenda:8001", "agenda:8001", b"agenda:8001"),
    ("http://agenda", "agenda:80", b"agenda"),
    ("https://agenda/base", "agenda:443", b"agenda"),
    ("http://[::1]:8001", "::1:8001", b"[::1]:8001"),
    ("http://b\u00fccher.test:81", "b\u00fccher.test:81", b"xn--bcher-kva.test:81"),
    ("unix:/run/agenda.sock", "/run/agenda.sock", b"localhost"),
]


@pytest.mark.parametrize(("url", "endpoint", "authority"), ADDRESSES)
async def test_a_url_says_where_to_dial_and_what_host_to_name(url: str, endpoint: str, authority: bytes) -> None:
    upstream = await opened(url=url)

    picked = upstream.pick()
    assert picked.name == endpoint
    assert picked.authority == authority
    assert (picked.pool.endpoint.tls is not None) is url.startswith("https")


@pytest.mark.parametrize(("verify", "checks"), [(True, True), (False, False)])
async def test_a_certificate_is_checked_unless_the_row_says_otherwise(*, verify: bool, checks: bool) -> None:
    tls = (await opened(url="https://agenda", verify=verify)).pick().pool.endpoint.tls

    assert tls is not None
    assert tls.check_hostname is checks


MEDIA_TYPES = [
    (b"text/event-stream", 300),
    (b"Text/Event-Stream; charset=utf-8", 300),
    (b"text/event-streams", 60),
    (b"application/json", 60),
    (None, 60),
]


@pytest.mark.parametrize(("media_type", "idle_timeout_s"), MEDIA_TYPES)
async def test_a_stream_of_events_may_be_silent_for_long(media_type: bytes | None, idle_timeout_s: float) -> None:
    upstream = await opened(url="http://agenda")
    headers = [] if media_type is None else [(b"content-type", media_type)]

    assert upstream.idle_timeout_s(AnswerHead(200, b"OK", headers, Framing.CHUNKED)) == idle_timeout_s


async def test_a_row_that_allows_more_silence_than_a_stream_of_events_is_obeyed() -> None:
    upstream = await opened(url="http://agenda", idle_timeout_s=900)
    head = AnswerHead(200, b"OK", [(b"content-type", b"text/event-stream")], Framing.CHUNKED)

    assert upstream.idle_timeout_s(head) == 900


def test_a_budget_of_retries_runs_out_and_is_earned_again() -> None:
    budget = RetryBudget()

    spent = [budget.spend() for _ in range(11)]
    for _ in range(10):
        budget.earn()

    assert spent == [True] * 10 + [False]
    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_budget_saves_no_more_than_ten() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.earn()

    assert sum(budget.spend() for _ in range(20)) == 10


async def test_as_many_retries_may_be_saved_as_requests_can_be_on_their_way_to_an_endpoint_and_a_few() -> None:
    budget = (await opened(url="http://agenda", max_connections=50)).budget
    for _ in range(1000):
        budget.earn()

    assert sum(budget.spend() for _ in range(1000)) == 60
