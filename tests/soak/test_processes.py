"""Workers killed, instances stopped and tables changed under load."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.e2e.program import Program, becomes_true, free_port, running
from tests.soak.load import a_request, load_on
from tests.soak.stand import HEALTH, Origin, a_gateway, answers, port_of, proxying, route, say, stay_for, upstream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
WORKERS = 2
CONNECTIONS = 64
PER_S = 1500
CHANGES = 1000
BALANCER_SULKS_S = 11
"""nginx leaves who failed alone for ten seconds"""
ECHO = a_request("/echo", token=a_token())
SLOW = a_request("/after/300", token=a_token())

BALANCER = """
daemon off;
pid {home}/nginx.pid;
error_log {home}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream porticos {{ {servers} keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 1000000;
    location / {{ proxy_pass http://porticos; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def test_a_killed_worker_costs_no_more_than_it_had_in_hand(home: Path, migrated_dsn: str, origin: Origin) -> None:
    with (
        a_gateway(home, proxying(origin), workers=WORKERS, POSTGRES_DSN=migrated_dsn) as gateway,
        load_on(port_of(gateway), ECHO, connections=CONNECTIONS, per_s=PER_S) as load,
        load_on(port_of(gateway), ECHO, connections=CONNECTIONS, per_s=200, is_fresh=True) as fresh,
    ):
        stay_for(2)
        load.begin("killed")
        for number in (1, 2):
            os.kill(gateway.workers()[0], signal.SIGKILL)
            gateway.awaits(lambda number=number: len(gateway.logged("gateway.listening")) == WORKERS + number)  # type: ignore[misc]
            stay_for(1)

    say(load.told("a worker was killed, twice; connections that are kept"))
    say(fresh.told("connections of one request"))
    assert sum(load.failed.values()) <= 2 * CONNECTIONS
    assert sum(fresh.failed.values()) <= 2 * CONNECTIONS
    assert "ConnectionRefusedError" not in load.failed | fresh.failed


def test_a_thousand_changes_of_the_table_cost_no_request(
    home: Path, migrated_dsn: str, origins: tuple[Origin, Origin]
) -> None:
    tables = [
        upstream("origin", one) + route("/", "origin") + route(f"/only/{name}", "origin") + HEALTH
        for name, one in enumerate(origins)
    ]
    with (
        a_gateway(home, tables[0], workers=WORKERS, POSTGRES_DSN=migrated_dsn, ACCESS_LOG_SAMPLE="0") as gateway,
        load_on(port_of(gateway), ECHO, connections=CONNECTIONS, per_s=PER_S) as load,
    ):
        config = next(home.glob("gateway-*.toml"))
        for number in range(1, CHANGES + 1):
            fresh = config.with_suffix(".fresh")
            fresh.write_text(tables[number % 2] + f"# {number}\n")
            fresh.replace(config)
            gateway.awaits(lambda number=number: reloads(gateway) == number * WORKERS, within_s=10)  # type: ignore[misc]

    say(load.told(f"{CHANGES} changes, each taken by {WORKERS} workers"))
    assert load.failed == {}


def reloads(gateway: Program) -> int:
    return gateway.complained().count('"table.reloaded"')


@contextmanager
def a_balancer(home: Path, *instances: Program) -> Iterator[int]:
    """nginx as everybody has it: it tries the next instance where the first refused or broke off, for GET alone."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    servers = " ".join(f"server 127.0.0.1:{port_of(one)};" for one in instances)
    config = home / "nginx.conf"
    config.write_text(BALANCER.format(home=home, port=port, servers=servers))
    url = f"http://127.0.0.1:{port}"
    with running(home, nginx, "-c", str(config), "-e", str(home / "nginx.err"), url=url) as balancer:
        assert becomes_true(lambda: answers(f"{balancer.url}/api/health/ping"), within_s=10)
        yield port


def test_a_rolling_restart_behind_a_balancer_refuses_nothing(home: Path, migrated_dsn: str, origin: Origin) -> None:
    rows = proxying(origin)
    ports = free_port(), free_port()
    post = a_request("/echo", method="POST", token=a_token(), body="x" * 500)
    with (
        a_gateway(home, rows, port=ports[0], POSTGRES_DSN=migrated_dsn) as one,
        a_gateway(home, rows, port=ports[1], POSTGRES_DSN=migrated_dsn) as two,
        a_balancer(home, one, two) as port,
        load_on(port, ECHO, connections=CONNECTIONS, per_s=1000) as reads,
        load_on(port, post, connections=CONNECTIONS, per_s=200) as writes,
        load_on(port, SLOW, connections=CONNECTIONS, per_s=100) as slow,
    ):
        stay_for(1)
        codes = [one.stop()]
        with a_gateway(home, rows, port=ports[0], POSTGRES_DSN=migrated_dsn):
            stay_for(BALANCER_SULKS_S)
            codes.append(two.stop())
            stay_for(1)
            for load in (reads, writes, slow):
                load.end()

    for load, words in ((reads, "reads"), (writes, "writes"), (slow, "slow reads")):
        say(load.told(f"one instance after the other was told to stop; {words}"))
    assert codes == [0, 0]
    assert [load.failed for load in (reads, writes, slow)] == [{}, {}, {}]
