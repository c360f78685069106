"""The database is killed under load, and its disk fills up: proxied requests do not need it."""

import os
import signal
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.e2e.program import becomes_true
from tests.soak.disk import a_small_disk, fill
from tests.soak.load import a_request, load_on
from tests.soak.stand import HEALTH, LOCAL, Origin, a_gateway, port_of, route, say, stay_for, upstream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
WORKERS = 2
PER_S = 1000
ECHO = a_request("/echo", token=a_token())
CHATS = a_request("/api/v1/chats/", token=a_token())
NEW_CHAT = a_request("/api/v1/chats/", method="POST", token=a_token(), body='{"agent": "echo"}')


def with_chats(origin: Origin) -> str:
    limited = route("/echo", "origin", rate_limit="1000000/minute")
    return upstream("origin", origin) + limited + HEALTH + LOCAL


def postmaster_of(home: Path) -> int:
    (found,) = home.rglob("postmaster.pid")
    return int(found.read_text().split()[0])


def test_a_killed_database_costs_only_those_who_need_it_and_they_are_told_so(home: Path, origin: Origin) -> None:
    with (
        a_gateway(home, with_chats(origin), workers=WORKERS) as gateway,
        load_on(port_of(gateway), ECHO, connections=64, per_s=PER_S) as proxied,
        load_on(port_of(gateway), CHATS, per_s=50) as local,
    ):
        stay_for(2)
        for load in (proxied, local):
            load.begin("killed")
        before = postmaster_of(home)
        os.kill(before, signal.SIGKILL)
        assert becomes_true(
            lambda: bool(list(home.rglob("postmaster.pid"))) and postmaster_of(home) != before, within_s=60
        )
        assert becomes_true(gateway.is_ready, within_s=60)
        stay_for(2)
        for load in (proxied, local):
            load.begin("after")
        stay_for(3)

    say(proxied.told("the database was killed; proxied requests of a limited route"))
    say(local.told("lists of chats"))
    assert proxied.failed == {}
    assert set(local.failed) <= {"503 storage-unavailable"}
    assert local.phases["after"].failed == 0


def test_the_databases_disk_fills_up_and_only_those_who_write_are_refused(home: Path, origin: Origin) -> None:
    with (
        a_small_disk(home / "small", 400) as small,
        a_gateway(home, with_chats(origin), DATA_DIR=str(small / "data")) as gateway,
        load_on(port_of(gateway), ECHO, connections=64, per_s=PER_S) as proxied,
    ):
        with load_on(port_of(gateway), NEW_CHAT, connections=4, per_s=20) as before:
            stay_for(2)
        proxied.begin("full")
        filler = fill(small)
        with load_on(port_of(gateway), NEW_CHAT, connections=4, per_s=20) as full:
            stay_for(8)
        filler.unlink()
        assert becomes_true(gateway.is_ready, within_s=60)
        proxied.begin("room again")
        stay_for(5)
        with load_on(port_of(gateway), NEW_CHAT, connections=4, per_s=20) as after:
            stay_for(3)

    say(proxied.told("the database's disk was full; proxied requests"))
    say(before.told("chats that are begun, before"))
    say(full.told("chats that are begun, while it is full"))
    say(after.told("chats that are begun, after"))
    assert proxied.failed == {}
    assert before.failed == after.failed == {}
    assert set(full.failed) <= {"503 storage-unavailable"}
