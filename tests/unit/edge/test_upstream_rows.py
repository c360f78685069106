"""Rows of `[upstreams]`: what is wrong with them, before anything is opened."""

from pathlib import Path

import pytest

from app.edge.upstream_rows import sites_of, upstream_flaws
from app.settings import UpstreamRow


def flaws_of(**row: object) -> list[str]:
    return [flaw.message for flaw in upstream_flaws({"one": UpstreamRow.model_validate(row)})]


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
def test_what_is_asked_must_be_a_path_that_can_be_sent(health: str) -> None:
    assert flaws_of(url="http://agenda", health=health) == ["health must be a path"]
    assert flaws_of(url="http://agenda", openapi=health) == ["openapi must be a path"]


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


SEVERAL = [
    (["http://a:1", "http://a:2", "http://b"], []),
    (["http://a/base", "http://b/base/"], []),
    (["unix:/run/a.sock", "unix:/run/b.sock"], []),
    (["http://a", "https://b"], ["urls mixes http, https and unix"]),
    (["http://a", "unix:/run/b.sock"], ["urls mixes http, https and unix"]),
    (["http://a/base", "http://b"], ["urls differ in their path"]),
    (["http://a", "http://a"], ["urls names an endpoint twice"]),
    ([f"http://a:{port}" for port in range(1, 18)], ["urls has 17 entries"]),
    (["nowhere", "http://a", "ftp://b"], [f"{url!r} is no http, https or unix URL" for url in ("nowhere", "ftp://b")]),
]


@pytest.mark.parametrize(("urls", "messages"), SEVERAL, ids=lambda value: str(value)[:40])
def test_several_urls_must_be_one_service(urls: list[str], messages: list[str]) -> None:
    assert flaws_of(urls=urls) == messages


NAMED = [
    ("http://agenda", True),
    ("https://agenda.test:1", True),
    ("http://127.1", True),
    ("http://127.0.0.1:1", False),
    ("http://[::1]:1", False),
    ("http://localhost:1", False),
    ("http://agenda.localhost:1", False),
    ("unix:/run/agenda.sock", False),
]


@pytest.mark.parametrize(("url", "has_name"), NAMED)
def test_a_host_that_is_no_address_is_looked_up(url: str, *, has_name: bool) -> None:
    (site,) = sites_of(UpstreamRow(url=url))

    assert site.has_name is has_name
