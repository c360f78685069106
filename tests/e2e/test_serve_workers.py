"""`portico serve --workers 2`: killed, reloaded and stopped under load, nobody who could be served is not."""

import os
import select
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.builders import public_pem
from tests.e2e.program import PORTICO, Program, a_home, becomes_true, free_port, running
from tests.e2e.upstream import RawUpstream, raw_upstream

WORKERS = 2
PING = b"GET /api/health/ping HTTP/1.1\r\nhost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
CLIENTS = 8
WAITING_CLIENTS = 20


def environment(dsn: str) -> dict[str, str]:
    return {"POSTGRES_DSN": dsn, "JWT_PUBLIC_KEY": public_pem(), "DEFAULT_MODEL": "scripted", "LOG_JSON": "true"}


def config_for(home: Path, url: str) -> Path:
    config = home / "gateway.toml"
    config.write_text(
        f'[upstreams.slow]\nurl = "{url}"\n'
        '[[routes]]\npath = "/slow"\nupstream = "slow"\naccess = "PUBLIC"\n'
        '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
    )
    return config


@contextmanager
def a_gateway(dsn: str, slow: RawUpstream, *flags: str, port: int | None = None) -> Iterator[Program]:
    port = port or free_port()
    with a_home() as home:
        config = ("--config", str(config_for(home, slow.url)))
        command = (PORTICO, "serve", "--role", "web", "--port", str(port), *config, *flags)
        with running(home, *command, url=f"http://127.0.0.1:{port}", **environment(dsn)) as program:
            yield program


@pytest.fixture(scope="module")
def slow() -> Iterator[RawUpstream]:
    with raw_upstream(answers_at_once=False) as slow:
        yield slow


@pytest.fixture(scope="module")
def gateway(migrated_dsn: str, slow: RawUpstream) -> Iterator[Program]:
    """The tests below use it in their order; the last one stops it."""
    with a_gateway(migrated_dsn, slow, "--workers", str(WORKERS), "--drain-delay", "1") as gateway:
        gateway.awaits(has_listened(gateway, WORKERS))
        gateway.awaits(gateway.is_ready)
        yield gateway


@contextmanager
def load_on(url: str) -> Iterator[Counter[str]]:
    """Have clients open a connection for each request, for as long as the block lasts, and count what they are told."""
    told: Counter[str] = Counter()
    is_over = threading.Event()

    def ask_again_and_again() -> None:
        while not is_over.wait(0.005):
            told[ask(int(url.rpartition(":")[2]))] += 1

    clients = [threading.Thread(target=ask_again_and_again) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield told
    finally:
        is_over.set()
        for client in clients:
            client.join()


def ask(port: int) -> str:
    """Ask once on a connection of its own; tell the status line, or what happened instead."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(PING)
            return client.recv(1000).split(b"\r\n")[0].decode() or "closed without an answer"
    except OSError as error:
        return type(error).__name__


def has_listened(gateway: Program, times: int) -> Callable[[], bool]:
    return lambda: len(gateway.logged("gateway.listening")) == times


@pytest.mark.soak
def test_a_killed_worker_costs_no_more_than_it_had_in_hand_and_another_takes_its_place(gateway: Program) -> None:
    victim = gateway.workers()[0]

    with load_on(gateway.url) as told:
        assert becomes_true(lambda: told.total() > 100, within_s=20)
        os.kill(victim, signal.SIGKILL)
        gateway.awaits(has_listened(gateway, WORKERS + 1))

    print(f"a worker was killed: {dict(told)}")  # noqa: T201 - counts to read with -s
    in_hand = told.total() - told["HTTP/1.1 204 No Content"]
    assert in_hand <= CLIENTS
    assert told["ConnectionRefusedError"] == 0
    assert victim not in gateway.workers()


@pytest.mark.soak
def test_a_hangup_is_served_through(gateway: Program) -> None:
    before = set(gateway.workers())

    with load_on(gateway.url) as told:
        gateway.process.send_signal(signal.SIGHUP)
        for worker in before:
            os.kill(worker, signal.SIGHUP)
        assert becomes_true(lambda: told.total() > 100, within_s=20)

    assert set(told) == {"HTTP/1.1 204 No Content"}
    assert set(gateway.workers()) == before


def test_told_to_stop_it_is_not_ready_at_once_and_answers_all_who_got_through(
    gateway: Program, slow: RawUpstream
) -> None:
    address = ("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    with socket.create_connection(address) as running_request, httpx.Client(base_url=gateway.url) as kept:
        kept.get("/api/health/ping")
        running_request.sendall(SLOW)
        assert slow.has_request.wait(10)

        gateway.process.terminate()
        assert becomes_true(lambda: len(gateway.logged("gateway.draining")) == WORKERS, within_s=5)
        ready = httpx.get(f"{gateway.url}/api/health/ready")
        last = kept.get("/api/health/ping")
        late = waiting_in_the_queue_when_it_closes(gateway, address)
        slow.may_answer.set()
        finished = running_request.recv(1000)
        code = gateway.process.wait(20)

    assert ready.status_code == 503
    assert last.headers["connection"] == "close"
    assert late == [b"HTTP/1.1 204 No Content"] * WAITING_CLIENTS
    assert finished.startswith(b"HTTP/1.1 200 OK")
    assert code == 0


def waiting_in_the_queue_when_it_closes(gateway: Program, address: tuple[str, int]) -> list[bytes]:
    """Freeze the workers, connect, and let them go on when the time to accept is over."""
    workers = gateway.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    clients = [socket.create_connection(address, timeout=20) for _ in range(WAITING_CLIENTS)]
    for client in clients:
        client.sendall(PING)
    select.select([], [], [], 1.5)  # the delay passes, and the supervisor closes its side
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    answers = [client.recv(1000).split(b"\r\n")[0] for client in clients]
    for client in clients:
        client.close()
    return answers


@pytest.mark.soak
def test_workers_that_are_told_to_stop_one_by_one_are_replaced_and_nobody_is_refused(
    migrated_dsn: str, slow: RawUpstream
) -> None:
    with a_gateway(migrated_dsn, slow, "--workers", str(WORKERS)) as gateway:
        gateway.awaits(has_listened(gateway, WORKERS))
        with load_on(gateway.url) as told:
            for index, worker in enumerate(gateway.workers(), 1):
                os.kill(worker, signal.SIGTERM)
                gateway.awaits(has_listened(gateway, WORKERS + index))

    print(f"every worker was replaced: {dict(told)}")  # noqa: T201 - counts to read with -s
    assert set(told) == {"HTTP/1.1 204 No Content"}


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 2])
def test_one_instance_takes_over_from_another_on_the_same_port_and_nobody_is_refused(
    migrated_dsn: str, slow: RawUpstream, workers: int
) -> None:
    port = free_port()
    flags = ("--workers", str(workers), "--reuse-port", "--drain-delay", "1")
    with a_gateway(migrated_dsn, slow, *flags, port=port) as old:
        old.awaits(old.is_ready)
        with a_gateway(migrated_dsn, slow, *flags, port=port) as new, load_on(old.url) as told:
            new.awaits(has_listened(new, workers))
            code = old.stop()
            served = told.total()
            assert becomes_true(lambda: told.total() > served + 500, within_s=20)

    print(f"an instance took over from another: {dict(told)}")  # noqa: T201 - counts to read with -s
    assert code == 0
    assert set(told) == {"HTTP/1.1 204 No Content"}


@pytest.mark.soak
def test_when_the_supervisor_is_killed_nobody_serves(migrated_dsn: str, slow: RawUpstream) -> None:
    with a_gateway(migrated_dsn, slow) as gateway:
        gateway.awaits(lambda: bool(gateway.logged("gateway.listening")))
        assert ask(int(gateway.url.rpartition(":")[2])) == "HTTP/1.1 204 No Content"

        gateway.process.kill()

        is_gone = becomes_true(lambda: ask(int(gateway.url.rpartition(":")[2])) == "ConnectionRefusedError", within_s=2)
    assert is_gone
