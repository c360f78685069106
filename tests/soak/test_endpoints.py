"""Endpoints killed and frozen under load: what another one could have answered is answered."""

import signal
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.soak.load import a_request, load_on
from tests.soak.stand import Origin, a_gateway, a_young_gateway, port_of, proxying, say, stay_for

WORKERS = 2
CONNECTIONS = 32
PER_S = 1500
GET = a_request("/echo", token=a_token())
POST = a_request("/echo", method="POST", token=a_token(), body="x" * 500)


@pytest.mark.soak
@pytest.mark.parametrize("kills", [1, 5])
def test_a_killed_endpoint_costs_no_request_that_can_be_asked_again(
    home: Path, migrated_dsn: str, origins: tuple[Origin, Origin], kills: int
) -> None:
    one, _ = origins
    with (
        a_young_gateway(home, proxying(*origins), POSTGRES_DSN=migrated_dsn) as gateway,
        load_on(port_of(gateway), GET, connections=CONNECTIONS, per_s=PER_S) as reads,
        load_on(port_of(gateway), POST, connections=CONNECTIONS, per_s=300) as writes,
    ):
        for _ in range(kills):
            stay_for(0.5)
            for load in (reads, writes):
                load.begin("killed")
            one.kill()
            stay_for(1.5)
            one.start_again()

    say(reads.told(f"an endpoint was killed {kills} times; reads"))
    say(writes.told("writes, which must not be sent twice"))
    assert reads.failed == {}
    assert sum(writes.failed.values()) <= kills * CONNECTIONS
    assert set(writes.failed) <= {"502 upstream-broken"}


@pytest.mark.soak
def test_a_frozen_endpoint_holds_up_only_what_it_has_and_those_are_asked_elsewhere(
    home: Path, migrated_dsn: str, origins: tuple[Origin, Origin]
) -> None:
    one, _ = origins
    rows = proxying(*origins, response_timeout_s=2)
    with (
        a_gateway(home, rows, workers=WORKERS, POSTGRES_DSN=migrated_dsn) as gateway,
        load_on(port_of(gateway), GET, connections=4 * CONNECTIONS, per_s=PER_S) as reads,
    ):
        stay_for(3)
        reads.begin("frozen")
        one.process.send_signal(signal.SIGSTOP)
        stay_for(10)
        reads.begin("thawed")
        one.process.send_signal(signal.SIGCONT)
        stay_for(10)
        frozen = len(gateway.logged("endpoint.ejected"))
        readmitted = len(gateway.logged("endpoint.readmitted"))

    say(reads.told(f"an endpoint was frozen for ten seconds; ejected {frozen} times, readmitted {readmitted}"))
    assert reads.failed == {}
    assert readmitted >= WORKERS
