"""Many times the load that one worker can take: whoever is let in is served in time, and it is over when it is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.e2e.program import Program
from tests.soak.load import Running, a_request, load_on
from tests.soak.stand import HEALTH, LOCAL, Origin, a_gateway, port_of, route, say, stay_for, upstream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
PROBE_PER_S = 100
FLOOD_S = 10
FLOOD_CONNECTIONS = 1000
TIMES = 10
RECOVERY_S = 2
LATENCY_LIMIT_MS = 1000
"""a loose one, for busy machines; what it is on a quiet one is printed"""
REFUSED = {"503 overloaded", "503 upstream-unavailable", "503 storage-unavailable"}
ECHO = a_request("/echo", token=a_token())
CHATS = a_request("/api/v1/chats/", token=a_token())


@pytest.fixture
def gateway(home: Path, migrated_dsn: str, origin: Origin) -> Iterator[Program]:
    rows = upstream("origin", origin) + route("/echo", "origin") + HEALTH + LOCAL
    with a_gateway(home, rows, POSTGRES_DSN=migrated_dsn) as gateway:
        yield gateway


def judge(probe: Running, title: str) -> None:
    say(probe.told(title))
    assert set(probe.failed) <= REFUSED
    assert probe.phases["flood"].p99_ms < LATENCY_LIMIT_MS
    assert probe.phases["after"].failed == 0
    assert probe.phases["after"].p99_ms < LATENCY_LIMIT_MS / 2


def test_a_flood_of_proxied_requests_is_over_when_it_is_over(gateway: Program) -> None:
    """As many connections as ten times those that are enough to keep a worker busy, each asking without a pause."""
    with load_on(port_of(gateway), ECHO, connections=64, per_s=PROBE_PER_S) as probe:
        stay_for(2)
        probe.begin("flood")
        with load_on(port_of(gateway), ECHO, connections=FLOOD_CONNECTIONS) as flood:
            stay_for(FLOOD_S)
        probe.begin("recovery")
        stay_for(RECOVERY_S)
        probe.begin("after")
        stay_for(3)

    say(flood.told(f"{FLOOD_CONNECTIONS} connections that ask without a pause"))
    judge(probe, "a small load meanwhile")
    assert set(flood.failed) - {"never answered"} <= REFUSED


def test_a_flood_of_local_requests_is_not_felt_by_proxied_ones(gateway: Program) -> None:
    """Those wait in line for the database, and nobody else waits for them."""
    with load_on(port_of(gateway), ECHO, connections=64, per_s=PROBE_PER_S) as probe:
        with load_on(port_of(gateway), CHATS, connections=16) as capacity:
            stay_for(3)
        most_per_s = TIMES * capacity.phases["start"].good / capacity.phases["start"].seconds
        stay_for(1)
        probe.begin("flood")
        with load_on(port_of(gateway), CHATS, connections=FLOOD_CONNECTIONS, per_s=most_per_s) as flood:
            stay_for(FLOOD_S)
        probe.begin("recovery")
        stay_for(RECOVERY_S)
        probe.begin("after")
        stay_for(3)

    say(capacity.told("what one worker can take of lists of chats"))
    say(flood.told(f"{most_per_s:,.0f} a second offered on {FLOOD_CONNECTIONS} connections"))
    judge(probe, "a small load of proxied requests meanwhile")
    assert set(flood.failed) - {"never sent", "never answered"} <= REFUSED
