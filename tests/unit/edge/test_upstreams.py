"""Rows of `[upstreams]`: what is wrong with them, what they become, how often a request may be tried again."""

from pathlib import Path

import pytest

from app.edge.upstream_answer import AnswerHead, Framing
from app.edge.upstream_rows import upstream_flaws
from app.edge.upstreams import RetryBudget, Upstream, open_upstreams
from app.settings import UpstreamRow


def flaws_of(**row: object) -> list[str]:
    return [flaw.message for flaw in upstream_flaws({"one": UpstreamRow.model_validate(row)})]


async def opened(**row: object) -> Upstream:
    return open_upstreams({"one": UpstreamRow.model_validate(row)})["one"]


URLS = [
    "http://127.0.0.1:8001",
    "http://agenda",
    "https://agenda.test/base",
    "http://[::1]:8001",
    "unix:/run/agenda.sock",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_of_an_upstream_is_taken(url: str) -> None:
    assert flaws_of(url=url, health="/api/health/ping?full=1") == []


NO_URLS = [
    "127.0.0.1:8001",
    "ftp://agenda",
    "http://",
    "http://agenda:0",
    "http://agenda:99999",
    "http://agenda:x",
    "http://user:password@agenda",
    "http://agenda/?x=1",
    "http://agenda/#x",
    "unix:agenda.sock",
    "http://[::1",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_anything_else_is_named(url: str) -> None:
    (message,) = flaws_of(url=url)

    assert message == f"{url!r} is no http, https or unix URL"


@pytest.mark.parametrize(
    "health", ["ping", "http://other/ping", "/a b", "/a\r\nx: y", "/../ping", "/caf\u00e9", "//ping"]
)
def test_a_health_check_must_be_a_path_that_can_be_sent(health: str) -> None:
    assert flaws_of(url="http://agenda", health=health) == ["health must be a path"]


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_a_ca_must_hold_certificates(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)

    assert flaws_of(url="https://agenda", ca=str(file)) == [f"ca {str(file)!r} holds no certificates"]


def test_every_flaw_of_every_row_is_told() -> None:
    rows = {
        "one": UpstreamRow(url="nowhere"),
        "two": UpstreamRow(url="http://agenda", health="x", ca=Path("/nowhere")),
        "three": UpstreamRow(url="http://agenda"),
    }

    assert [flaw.row for flaw in upstream_flaws(rows)] == ["upstreams.one", "upstreams.two", "upstreams.two"]


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
