"""Streams, WebSockets and requests together, for a long time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.e2e.program import ROOT
from tests.soak.load import a_request, load_on
from tests.soak.stand import Held, Origin, a_gateway, port_of, proxying, say, stay_for

SECONDS = int(os.environ.get("PORTICO_SOAK_SECONDS", "600"))
pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 300)]
STREAMS = 1000
SOCKETS = 500
PER_S = 2000
P99_LIMIT_MS = 50


def test_streams_websockets_and_requests_do_not_hold_each_other_up(
    home: Path, migrated_dsn: str, origin: Origin
) -> None:
    token = a_token()
    with a_gateway(home, proxying(origin, max_connections=4000), POSTGRES_DSN=migrated_dsn) as gateway:
        port = port_of(gateway)
        command = [sys.executable, "-m", "tests.soak.crowd", str(port), token, str(STREAMS), str(SOCKETS)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "running\n"
            before = Held.by(gateway.workers())
            with load_on(port, a_request("/echo", token=token), connections=64, per_s=PER_S) as load:
                stay_for(SECONDS)
                load.end()
            after = Held.by(gateway.workers())
            counted = json.loads(crowd.communicate(timeout=60)[0])

    say(load.told(f"{STREAMS} streams and {SOCKETS} WebSockets beside {PER_S} requests a second for {SECONDS} s"))
    say(f"{counted}; {(after.rss_bytes - before.rss_bytes) / 1e6:.1f} MB more at the end")
    assert load.failed == {}
    assert load.phases["start"].p99_ms < P99_LIMIT_MS
    assert (counted["opened 200"], counted["opened 101"]) == (STREAMS, SOCKETS)
    assert counted["events"] > STREAMS * SECONDS * 0.8
    assert counted["echoes"] > SOCKETS * SECONDS * 0.8
    assert [what for what in counted if "lost" in what] == []
