"""Which addresses a tool may call, whatever a name says."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infra.http_client.client import CallFailed, HttpClient
from app.infra.http_client.egress import EgressRefused, aim, is_reachable, networks_of, public_address

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.1.1.1",
    "255.255.255.255",
    "198.18.0.1",
    "203.0.113.1",
    "::",
    "::1",
    "::7f00:1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_public_is_not_called(text: str) -> None:
    assert not is_reachable(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_is_called(text: str) -> None:
    assert is_reachable(ip_address(text))


@given(st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_no_way_of_writing_a_private_address_opens_it(address: IPv4Address) -> None:
    number = int(address)
    disguised = [number, 0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]

    assert not any(is_reachable(IPv6Address(one)) for one in disguised)


def test_an_author_may_open_a_network_and_no_other() -> None:
    networks = networks_of(["10.1.0.0/16", "fd00::/8"])

    assert is_reachable(ip_address("10.1.2.3"), networks=networks)
    assert is_reachable(ip_address("::ffff:10.1.2.3"), networks=networks)
    assert is_reachable(ip_address("fd00::1"), networks=networks)
    assert not is_reachable(ip_address("10.2.0.1"), networks=networks)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Sequence[str]]]:
    """What each name says, one answer after the other; the last stays."""
    known: dict[str, list[Sequence[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: object, **more: object) -> list[object]:
        if host not in known:
            return list(real(host, port, *rest, **more))  # type: ignore[arg-type] # passed on as it came
        answers = known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


async def test_the_request_goes_to_the_address_that_was_checked(names: dict[str, list[Sequence[str]]]) -> None:
    names["shop.example"] = [["93.184.216.34"], ["127.0.0.1"]]

    target = await aim("https://shop.example:8443/a?b=c")

    assert (target.url, target.host, target.authority) == (
        "https://93.184.216.34:8443/a?b=c",
        "shop.example",
        "shop.example:8443",
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://trap.example/",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:7f00:1]/",
        "http://nowhere.invalid/",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "http://user@shop.example/",
        "//shop.example/",
    ],
)
async def test_what_leads_inside_or_nowhere_is_refused(names: dict[str, list[Sequence[str]]], url: str) -> None:
    names |= {"trap.example": [["8.8.8.8", "127.0.0.1"]], "shop.example": [["8.8.8.8"]], "nowhere.invalid": [[]]}

    with pytest.raises(EgressRefused) as refused:
        await aim(url)

    assert "127.0.0.1" not in str(refused.value)


async def test_a_literal_public_address_is_given_and_a_private_one_refused() -> None:
    assert await public_address("1.1.1.1", 443) == "1.1.1.1"
    with pytest.raises(EgressRefused, match="localhost is at an address that is not public"):
        await public_address("localhost", 80)


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["host"]))  # type: ignore[attr-defined] # ours
        self.send_response(302 if self.path == "/away" else 200)
        self.send_header("location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(b"x" * 100)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answers) as running:
        running.asked = []  # type: ignore[attr-defined] # ours
        serving = threading.Thread(target=running.serve_forever, args=(0.02,))
        serving.start()
        yield running
        running.shutdown()
        serving.join()


async def test_a_guarded_call_reaches_what_is_allowed_under_its_name(
    server: HTTPServer, names: dict[str, list[Sequence[str]]]
) -> None:
    names["inside.example"] = [["127.0.0.1"]]
    url = f"http://inside.example:{server.server_address[1]}"
    http = HttpClient.open()
    try:
        with pytest.raises(EgressRefused):
            await http.call_outside("GET", f"{url}/first")
        answer = await http.call_outside("GET", f"{url}/second", networks=[ip_network("127.0.0.0/8")])
        redirect = await http.call_outside("GET", f"{url}/away", networks=[ip_network("127.0.0.0/8")])
        with pytest.raises(CallFailed):
            await http.call_outside("GET", f"{url}/", networks=[ip_network("127.0.0.0/8")], limit_bytes=99)
    finally:
        await http.aclose()

    assert (answer.status, answer.body, redirect.status) == (200, b"x" * 100, 302)
    host = f"inside.example:{server.server_address[1]}"
    assert server.asked == [("/second", host), ("/away", host), ("/", host)]  # type: ignore[attr-defined] # ours


async def test_a_certificate_is_asked_for_under_the_name_and_not_the_address(
    names: dict[str, list[Sequence[str]]],
) -> None:
    names["tls.example"] = [["127.0.0.1"]]
    asked: list[str | None] = []

    def note(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del connection, context
        asked.append(name)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = note
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    http = HttpClient.open()
    try:
        url = f"https://tls.example:{listening.sockets[0].getsockname()[1]}/"
        with pytest.raises(CallFailed):  # it has no certificate, but it was told the name by then
            await http.call_outside("GET", url, networks=[ip_network("127.0.0.0/8")])
    finally:
        await http.aclose()
        listening.close()

    assert asked == ["tls.example"]
