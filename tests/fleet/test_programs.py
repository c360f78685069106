import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from portico_fleet.auth.flags import parse

from tests.fleet.programs import as_user, running

_LIMIT_S = 15
_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, *sys.argv[2:]], pass_fds=[int(sys.argv[1])])
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_program_says_what_it_takes() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "portico_fleet.auth", "--help"], capture_output=True, text=True, check=True
    )

    for flag in ("--host", "--port", "--fd", "--data-dir", "--exit-with-parent", "--admin-email", "--rotate-key"):
        assert flag in shown.stdout


def test_the_environment_speaks_where_no_flag_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOST": "0.0.0.0",
        "PORT": "9001",
        "DATA_DIR": "/srv/fleet",
        "ACCESS_TOKEN_TTL_S": "60",
    }.items():
        monkeypatch.setenv(name, value)

    told = parse(["--port", "9002"])

    assert (told.common.host, told.common.port, told.common.data_dir) == ("0.0.0.0", 9002, Path("/srv/fleet"))
    assert (told.access_ttl_s, told.refresh_ttl_s, told.admin_email) == (60, 30 * 24 * 3600, "")


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        pytest.param(["--admin-email", "a@example.org"], {}, "go together", id="half an admin"),
        pytest.param(["--admin-email", "a@b.c", "--admin-password", "1234567"], {}, "8 characters", id="a short one"),
        pytest.param(["--port", "http"], {}, "--port", id="no port"),
        pytest.param([], {"PORT": "http"}, "--port", id="no port in the environment"),
        pytest.param([], {"ACCESS_TOKEN_TTL_S": "0"}, "at least a second", id="no time to live"),
    ],
)
def test_bad_usage_is_told_at_once(
    flags: list[str],
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        parse(flags)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "portico_fleet.analytics", "--port", port, "--data-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr


def test_an_interrupt_ends_a_program_cleanly_and_frees_its_files(tmp_path: Path) -> None:
    with running("analytics", tmp_path, headers=as_user("7")) as program:
        description = program.client.get("/openapi.json").json()

        code = program.stop(signal.SIGINT)

    assert code == 0
    assert not list(tmp_path.glob("*-wal"))
    assert {operation["operationId"] for path in description["paths"].values() for operation in path.values()} == {
        "ping",
        "capture_snapshot",
        "list_snapshots",
        "count_snapshots",
    }


def test_a_program_ends_with_its_parent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = str(listener.fileno()), listener.getsockname()[1]
        program = ["-m", "portico_fleet.analytics", "--fd", fd, "--data-dir", str(tmp_path), "--exit-with-parent"]
        parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT, fd, *program],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    with parent:
        assert httpx.get(f"http://127.0.0.1:{port}/api/health/ping", timeout=30).status_code == 204

        parent.kill()

    assert _refuses_by(time.monotonic() + _LIMIT_S, port)


def _refuses_by(deadline_s: float, port: int) -> bool:
    while time.monotonic() < deadline_s:
        try:
            httpx.get(f"http://127.0.0.1:{port}/api/health/ping", timeout=5)
        except httpx.TransportError:
            return True
        time.sleep(0.1)
    return False
