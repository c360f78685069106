"""Where the log goes is full: requests are served, and the log goes on when there is room."""

import os
import signal
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.e2e.program import Program
from tests.soak.disk import a_small_disk, fill
from tests.soak.load import a_request, load_on
from tests.soak.stand import Origin, a_gateway, a_young_gateway, port_of, proxying, say, stay_for

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
WORKERS = 2
PER_S = 1000
ECHO = a_request("/echo", token=a_token())


def test_a_log_that_cannot_be_written_stops_nobody(home: Path, migrated_dsn: str, origin: Origin) -> None:
    to_a_full_device = ("/bin/sh", "-c", 'exec "$0" "$@" 2>/dev/full')
    with (
        a_young_gateway(
            home, proxying(origin), before=to_a_full_device, workers=WORKERS, POSTGRES_DSN=migrated_dsn
        ) as gateway,
        load_on(port_of(gateway), ECHO, connections=64, per_s=PER_S) as load,
    ):
        stay_for(5)
        os.kill(gateway.workers()[0], signal.SIGHUP)
        stay_for(1)
        load.end()
        code = gateway.stop()

    say(load.told("the log went to a full device"))
    assert code == 0
    assert load.failed == {}


def test_a_log_that_nobody_reads_stops_nobody(home: Path, migrated_dsn: str, origin: Origin) -> None:
    os.mkfifo(home / "log")
    unread = os.open(home / "log", os.O_RDWR)
    to_a_pipe = ("/bin/sh", "-c", f'exec "$0" "$@" 2>{home / "log"}')
    with (
        a_young_gateway(home, proxying(origin), before=to_a_pipe, POSTGRES_DSN=migrated_dsn) as gateway,
        load_on(port_of(gateway), ECHO, connections=64, per_s=PER_S) as load,
    ):
        stay_for(2)
        for _ in range(60):
            os.kill(gateway.workers()[0], signal.SIGHUP)
            stay_for(0.1)
        load.end()
        os.close(unread)

    say(load.told("nobody read the log"))
    assert load.failed == {}


def test_a_disk_that_fills_up_stops_nobody_and_the_log_goes_on_when_there_is_room(
    home: Path, migrated_dsn: str, origin: Origin
) -> None:
    with (
        a_small_disk(home / "small", 16) as small,
        a_gateway(small, proxying(origin), workers=WORKERS, POSTGRES_DSN=migrated_dsn) as gateway,
        load_on(port_of(gateway), ECHO, connections=64, per_s=PER_S) as load,
    ):
        stay_for(2)
        load.begin("full")
        filler = fill(small)
        stay_for(4)
        load.begin("room again")
        lines = lines_of(gateway)
        filler.unlink()
        stay_for(2)
        more = lines_of(gateway)

    say(load.told(f"the disk was full; {more - lines} lines were written once there was room"))
    assert load.failed == {}
    assert more > lines


def lines_of(gateway: Program) -> int:
    return gateway.complained().count("\n")
