"""`portico serve` and the small commands: what an operator starts, mistypes, and stops."""

import asyncio
import importlib.util
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import asyncpg
import httpx
import pytest

from app.infra.db.embedded.postgres import EmbeddedPostgres
from tests.builders import bearer, public_pem
from tests.e2e.certificate import self_signed
from tests.e2e.program import PORTICO, Program, a_home, becomes_true, free_port, run, running
from tests.e2e.upstream import raw_upstream

DRAIN_BOUND_S = 30


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


def settings_of(dsn: str, **values: str) -> dict[str, str]:
    nowhere = f"http://127.0.0.1:{free_port()}"
    fleet = dict.fromkeys(("AUTH_SERVICE_URL", "AGENDA_SERVICE_URL", "SNAPSHOT_SERVICE_URL"), nowhere)
    return fleet | {
        "POSTGRES_DSN": dsn,
        "JWT_PUBLIC_KEY": public_pem(),
        "DEFAULT_MODEL": "scripted",
        "LOG_JSON": "true",
        **values,
    }


def a_gateway(home: Path, dsn: str, *flags: str, **values: str) -> AbstractContextManager[Program]:
    port = free_port()
    command = (PORTICO, "serve", "--port", str(port), "--drain-delay", "0", *flags)
    return running(home, *command, url=f"http://127.0.0.1:{port}", **settings_of(dsn, **values))


def test_it_becomes_ready_soon_when_the_database_runs_already(home: Path, migrated_dsn: str) -> None:
    started_s = time.monotonic()

    with a_gateway(home, migrated_dsn) as gateway:
        gateway.awaits(gateway.is_ready, within_s=30)
        seconds = time.monotonic() - started_s
        code = gateway.stop()

    print(f"portico serve with a running database: ready after {seconds:.2f} s")  # noqa: T201 - a figure to read with -s
    assert code == 0
    assert gateway.logged("gateway.listening", url=gateway.url)


def test_a_database_that_is_not_there_is_one_line_that_names_the_setting(home: Path) -> None:
    dsn = f"postgresql+asyncpg://portico:s3cret@127.0.0.1:{free_port()}/portico"

    ended = run(home, "serve", "--port", str(free_port()), env=settings_of(dsn))

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("portico: POSTGRES_DSN: the database cannot be used (")
    assert "unset it to use the embedded one" in ended.stderr
    assert "s3cret" not in ended.stderr


@pytest.mark.soak
def test_a_wrong_password_is_one_line_that_names_the_setting(home: Path) -> None:
    server = EmbeddedPostgres(home / "postgres")
    server.acquire()
    try:
        (rules,) = (home / "postgres").glob("*/pg_hba.conf")
        rules.write_text("local all all scram-sha-256\n")
        asyncio.run(read_rules_again(server))
        dsn = server.dsn.replace("postgres@", "postgres:s3cret@")

        ended = run(home, "serve", "--port", str(free_port()), env=settings_of(dsn))
    finally:
        server.release()

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("portico: POSTGRES_DSN: ")
    assert "password" in ended.stderr
    assert "s3cret" not in ended.stderr


async def read_rules_again(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.dsn.replace("+asyncpg", ""))
    await connection.fetchval("SELECT pg_reload_conf()")
    await connection.close()


@pytest.mark.parametrize("dsn", ["mysql://u:s3cret@h/d", "postgresql+asyncpg://u:s3cret@h:port/d"])
def test_an_address_that_is_none_of_postgresql_is_bad_configuration(home: Path, dsn: str) -> None:
    ended = run(home, "serve", "--port", str(free_port()), env=settings_of(dsn))

    assert ended.returncode == 2
    assert ended.stderr.startswith("portico: POSTGRES_DSN: must be")
    assert "s3cret" not in ended.stderr


def test_a_port_in_use_is_one_line_that_names_the_mend(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = run(home, "serve", "--port", str(port), env=settings_of(""))

    assert ended.returncode == 1
    assert ended.stderr == (
        f"portico: 127.0.0.1:{port} is in use by another program; stop it, or choose another with --port\n"
    )


@pytest.mark.skipif(importlib.util.find_spec("anthropic") is not None, reason="the extra anthropic is installed")
def test_a_model_whose_extra_is_missing_is_bad_configuration_that_names_the_extra(home: Path) -> None:
    ended = run(home, "serve", "--port", str(free_port()), env=settings_of("", DEFAULT_MODEL="anthropic:claude"))

    assert ended.returncode == 2
    assert "DEFAULT_MODEL" in ended.stderr
    assert 'pip install "portico-gateway[anthropic]"' in ended.stderr


@pytest.mark.soak
def test_a_service_that_is_away_and_a_model_that_is_not_configured_are_told_apart(
    home: Path, migrated_dsn: str
) -> None:
    with a_gateway(home, migrated_dsn, DEFAULT_MODEL="none") as gateway:
        gateway.awaits(gateway.is_ready)
        with httpx.Client(base_url=gateway.url, headers=bearer(sub="away"), timeout=30) as client:
            chat_id = client.post("/api/v1/chats/", json={}).json()["id"]

            away = client.get("/api/v1/agenda/calendars/")
            unconfigured = client.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": "Hello"})

    assert (away.status_code, away.json()["type"]) == (502, "upstream-refused")
    assert away.headers["x-request-id"] == away.json()["request_id"]
    assert (unconfigured.status_code, unconfigured.json()["type"]) == (503, "model-not-configured")
    assert "DEFAULT_MODEL" in unconfigured.json()["detail"]


def test_a_request_in_flight_is_finished_and_no_new_one_is_taken(home: Path, migrated_dsn: str) -> None:
    answers: list[httpx.Response] = []
    with raw_upstream(answers_at_once=False) as slow:
        config = config_for(home, slow.url)
        with a_gateway(home, migrated_dsn, "--config", str(config)) as gateway:
            gateway.awaits(gateway.is_ready)
            asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{gateway.url}/slow", timeout=60)))
            asking.start()
            assert slow.has_request.wait(10)

            gateway.process.terminate()
            refuses = becomes_true(lambda: not accepts(gateway.url), within_s=10)
            still_runs = gateway.process.poll() is None
            slow.may_answer.set()

            asking.join(30)
            code = gateway.process.wait(DRAIN_BOUND_S)

    assert refuses
    assert still_runs
    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "ok")]
    assert code == 0


@pytest.mark.soak
def test_a_request_that_never_ends_holds_the_stop_up_for_thirty_seconds_at_most(home: Path, migrated_dsn: str) -> None:
    with raw_upstream(answers_at_once=False) as slow:
        config = config_for(home, slow.url)
        with a_gateway(home, migrated_dsn, "--config", str(config)) as gateway:
            gateway.awaits(gateway.is_ready)
            with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as client:
                client.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
                assert slow.has_request.wait(10)

                gateway.process.terminate()

                assert gateway.process.wait(DRAIN_BOUND_S + 10) == 0


def config_for(home: Path, url: str) -> Path:
    rows = (
        f'[upstreams.slow]\nurl = "{url}"\nresponse_timeout_s = 60\n'
        '[[routes]]\npath = "/slow"\nupstream = "slow"\naccess = "PUBLIC"\n'
        '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
    )
    config = home / "slow.toml"
    config.write_text(rows)
    return config


def accepts(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def test_it_listens_on_a_unix_socket_and_takes_it_away_when_it_stops(home: Path, migrated_dsn: str) -> None:
    path = home / "portico.sock"
    transport = httpx.HTTPTransport(uds=str(path))
    with a_gateway(home, migrated_dsn, "--uds", str(path)) as gateway, httpx.Client(transport=transport) as client:
        gateway.awaits(lambda: bool(gateway.logged("gateway.listening", url=f"unix:{path}")))

        answer = client.get("http://portico/api/health/ping")

        client.close()
        gateway.stop()
    assert answer.status_code == 204
    assert not path.exists()


def test_it_speaks_tls_with_a_certificate_and_its_key(home: Path, migrated_dsn: str) -> None:
    certificate, key = self_signed(home)
    with a_gateway(home, migrated_dsn, "--tls-cert", str(certificate), "--tls-key", str(key)) as gateway:
        gateway.awaits(lambda: bool(gateway.logged("gateway.listening")))
        port = gateway.url.rpartition(":")[2]
        with httpx.Client(verify=trusting(certificate)) as client:
            answer = client.get(f"https://localhost:{port}/api/health/ping")

    assert answer.status_code == 204
    assert gateway.logged("gateway.listening", url=f"https://127.0.0.1:{port}")


@pytest.mark.parametrize("flags", [["--tls-cert", "cert.pem"], ["--tls-cert", "cert.pem", "--tls-key", "key.pem"]])
def test_a_certificate_that_cannot_be_used_is_bad_usage(home: Path, flags: list[str]) -> None:
    ended = run(home, "serve", "--port", str(free_port()), *flags, env=settings_of(""))

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "--tls-key" in ended.stderr


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)
