"""Our HTTP client against a real server that misbehaves as the path says."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.infra.http_client.client import CallFailed, CallTimeouts, HttpClient

PATIENCE_S = 10
IMPATIENT = CallTimeouts(connect_s=1, answer_s=0.2)


class Server(ThreadingHTTPServer):
    daemon_threads = False
    may_answer = threading.Event()


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/hangs":
            self.server.may_answer.wait(PATIENCE_S)
        if self.path == "/moved":
            self._answer(302, b"", ("location", "/elsewhere"))
        elif self.path == "/cut":
            self._answer(200, b"half", length=8)
        elif self.path == "/large":
            self._answer(200, b"a" * 2000)
        elif self.path == "/nonsense":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
        else:
            self._answer(404 if self.path == "/missing" else 200, self.path.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self._answer(201, self.headers["content-type"].encode() + b" " + body)

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str], length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.send_header("connection", "close")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Answers) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.may_answer.set()
        server.shutdown()
        serving.join(PATIENCE_S)


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient.open()
    yield client
    await client.aclose()


async def test_any_status_is_an_answer(http: HttpClient, url: str) -> None:
    answers = [await http.call("GET", f"{url}{path}") for path in ("/fine", "/missing", "/moved")]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"/fine"), (404, b"/missing"), (302, b"")]
    assert answers[2].headers["location"] == "/elsewhere"


async def test_a_query_joins_the_url_and_no_query_leaves_its_own(http: HttpClient, url: str) -> None:
    with_own = await http.call("GET", f"{url}/x?a=1")
    with_given = await http.call("GET", f"{url}/x", query={"b": "2 3"})

    assert (with_own.body, with_given.body) == (b"/x?a=1", b"/x?b=2+3")


async def test_json_is_posted_as_such(http: HttpClient, url: str) -> None:
    assert await http.post_json(f"{url}/x", b"{}", {"x-request-id": "r1"}) == 201
    answer = await http.call("POST", f"{url}/x", body=b"{}", headers={"content-type": "application/json"})
    assert answer.body == b"application/json {}"


async def test_a_small_document_is_fetched(http: HttpClient, url: str) -> None:
    assert await http.fetch(f"{url}/keys") == b"/keys"


@pytest.mark.parametrize("path", ["/missing", "/moved", "/cut", "/nonsense"])
async def test_what_is_no_document_is_a_failed_call(http: HttpClient, url: str, path: str) -> None:
    with pytest.raises(CallFailed, match=path):
        await http.fetch(f"{url}{path}")


async def test_an_answer_has_a_largest_size(http: HttpClient, url: str) -> None:
    whole = await http.call("GET", f"{url}/large", limit_bytes=2000)

    with pytest.raises(CallFailed, match="larger than 1999 bytes"):
        await http.call("GET", f"{url}/large", limit_bytes=1999)
    assert len(whole.body) == 2000


async def test_nobody_is_waited_for_for_ever(http: HttpClient, url: str) -> None:
    with pytest.raises(CallFailed, match="ReadTimeout"):
        await http.call("GET", f"{url}/hangs", timeouts=IMPATIENT)


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/", "http://nowhere.invalid/", "gopher://x/", "http://["])
async def test_where_nobody_is_no_call_is_made(http: HttpClient, target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]

    with pytest.raises(CallFailed):
        await http.call("GET", target.format(port=port), timeouts=IMPATIENT)


async def test_a_proxy_of_the_environment_is_not_used(
    http: HttpClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    client = HttpClient.open()

    answer = await client.call("GET", f"{url}/fine")

    assert answer.status == 200
    await client.aclose()


def test_a_failed_call_is_an_os_error() -> None:
    """Callers who know nothing of HTTP, such as the health checks, can still name it."""
    assert issubclass(CallFailed, OSError)
