from pathlib import Path

import pytest

from app.edge.upstreams import RetryBudget, open_upstreams, upstream_flaws
from app.settings import UpstreamRow


def flaws(**row: object) -> list[str]:
    rows = {"there": UpstreamRow.model_validate({"url": "http://h", **row})}
    return [f"{one.row}: {one.message}; {one.mend}" for one in upstream_flaws(rows)]


@pytest.mark.parametrize(
    "url",
    ["http://h", "http://h:8001", "https://h/base", "http://127.0.0.1:1", "http://[::1]:8001", "unix:/run/there.sock"],
)
def test_an_upstream_listens_at_a_url(url: str) -> None:
    assert flaws(url=url) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8001",
        "//h",
        "ftp://h",
        "file:///etc/passwd",
        "http://",
        "http://:80",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://[::1",
        "http://user@h",
        "http://user:secret@h",
        "http://h?x=1",
        "http://h#x",
        "unix:run.sock",
    ],
)
def test_what_nobody_can_connect_to_is_refused(url: str) -> None:
    found = flaws(url=url)

    assert len(found) == 1
    assert "is no http, https or unix URL" in found[0]


def test_every_flaw_of_an_upstream_is_told() -> None:
    found = flaws(health="ping", ca=Path("/nowhere.pem"))

    assert [flaw.partition(";")[0] for flaw in found] == [
        "upstreams.there: health must be a path",
        "upstreams.there: ca '/nowhere.pem' is no file",
    ]


@pytest.mark.parametrize(
    ("row", "authority", "endpoint"),
    [
        ({"url": "http://h"}, b"h", ("h", 80, None)),
        ({"url": "http://H.test:8001/base"}, b"H.test:8001", ("h.test", 8001, None)),
        ({"url": "http://[::1]:81"}, b"[::1]:81", ("::1", 81, None)),
        ({"url": "unix:/run/a.sock"}, b"localhost", ("", 0, "/run/a.sock")),
        ({"url": "unix:/run/a.sock", "server_name": "a.test"}, b"a.test", ("", 0, "/run/a.sock")),
    ],
    ids=str,
)
async def test_an_upstream_is_opened_as_its_row_says(
    row: dict[str, object], authority: bytes, endpoint: tuple[str, int, str | None]
) -> None:
    opened = open_upstreams({"there": UpstreamRow.model_validate(row)})["there"]

    found = opened.pool.endpoint
    assert opened.authority == authority
    assert (found.host, found.port, found.path) == endpoint
    await opened.pool.aclose()


def test_a_tenth_of_the_requests_may_be_tried_again() -> None:
    budget = RetryBudget(saved=0)

    granted = 0
    for _ in range(1000):
        budget.earn()
        granted += budget.spend()

    assert 95 <= granted <= 100


def test_no_more_than_ten_retries_are_saved() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.earn()

    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]
