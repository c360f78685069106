"""What the supervisor of `portico serve` promises: real processes and signals, over workers that start at once."""

import os
import pty
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import httpx
import pytest

from tests.e2e.program import ROOT, Program, a_home, bare_environment, becomes_true, free_port, inheriting, running

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
ORPHANS_GONE_WITHIN_S = 2


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as home:
        yield home


def supervising(
    home: Path, mood: str = "well", *, workers: int = 1, before: tuple[str, ...] = (), **env: str
) -> AbstractContextManager[Program]:
    """Start a supervisor; `before` is a program that runs it."""
    port = free_port()
    command = (*before, sys.executable, STAND_IN, "supervise", str(port), str(workers), mood, str(home))
    url = f"http://127.0.0.1:{port}"
    return running(home, *command, url=url, PYTHONPATH=str(ROOT), TMPDIR=str(home), **env)


def answered(program: Program) -> tuple[int, int]:
    """Ask once; tell the index and the process id of the worker that answered."""
    index, pid = httpx.get(program.url, timeout=10).text.split()
    return int(index), int(pid)


def started(program: Program) -> list[str]:
    return sorted(path.name for path in program.home.glob("started-*"))


def is_up(program: Program, workers: int = 1, *, after: int = 0) -> Callable[[], bool]:
    """Ask whether all workers run, `after` so many that do not any more."""
    return lambda: len(started(program)) == workers + after and len(program.workers()) == workers


def exists(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return bool(shown.stdout) and "Z" not in shown.stdout
    return False


def test_a_killed_worker_is_started_again_in_its_place_while_the_others_serve(home: Path) -> None:
    with supervising(home, workers=2) as gateway:
        gateway.awaits(is_up(gateway, 2))
        index, pid = answered(gateway)

        os.kill(pid, signal.SIGKILL)
        answers = [answered(gateway) for _ in range(20)]
        gateway.awaits(is_up(gateway, 2, after=1))

        assert len(answers) == 20
        assert pid not in {answer[1] for answer in answers}
        assert [name.split("-")[1] for name in started(gateway)].count(str(index)) == 2
        assert gateway.logged("worker.ended", worker=index, pid=pid, code=-9)
        assert gateway.stop() == 0


TO_NOBODY = """
import os, socket, stat, sys
place, *command = sys.argv[1:]
if stat.S_ISSOCK(os.stat(place).st_mode):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    fd = connection.detach()
else:
    fd = os.open(place, os.O_WRONLY)
os.set_blocking(fd, False)
try:
    while os.write(fd, b"." * 4096): pass
except BlockingIOError:
    os.set_blocking(fd, True)
os.dup2(fd, 2)
os.execv(command[0], command)
"""


@pytest.fixture(params=["pipe", "socket"])
def to_nobody(request: pytest.FixtureRequest, home: Path) -> Iterator[tuple[str, ...]]:
    """A program that runs another one with a stderr that nobody reads, and that is full."""
    place = home / "log"
    if request.param == "pipe":
        os.mkfifo(place)
        held = os.open(place, os.O_RDWR)
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(place))
        listening.listen()
        held = listening.detach()
    yield (sys.executable, "-c", TO_NOBODY, str(place))
    os.close(held)


def test_a_log_that_nobody_reads_holds_up_neither_a_new_worker_nor_the_end(
    home: Path, to_nobody: tuple[str, ...]
) -> None:
    with supervising(home, workers=2, before=to_nobody) as gateway:
        gateway.awaits(is_up(gateway, 2))

        for number in range(3):
            os.kill(answered(gateway)[1], signal.SIGKILL)
            gateway.awaits(is_up(gateway, 2, after=1 + number))

        assert gateway.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the workers accept from one socket")
def test_connections_are_spread_over_the_workers(home: Path) -> None:
    with supervising(home, workers=2) as gateway:
        gateway.awaits(is_up(gateway, 2))

        told = Counter(answered(gateway)[0] for _ in range(60))

    assert min(told[0], told[1]) >= 10  # by chance it is less once in ten million times


def test_a_second_instance_is_told_that_the_port_is_taken(home: Path) -> None:
    with supervising(home, workers=2) as gateway:
        gateway.awaits(is_up(gateway, 2))
        port = gateway.url.rpartition(":")[2]

        second = subprocess.run(
            [sys.executable, STAND_IN, "supervise", port, "2", "well", str(home)],
            env=bare_environment(home, PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
            check=False,
        )

    assert second.returncode == 1
    assert f"127.0.0.1:{port} is in use by another program" in second.stderr


def test_siblings_accept_for_a_worker_that_does_not_come_back(home: Path) -> None:
    with supervising(home, "lame", workers=2) as gateway:
        gateway.awaits(is_up(gateway, 2))
        index, pid = answered(gateway)

        os.kill(pid, signal.SIGKILL)
        told = Counter(answered(gateway)[0] for _ in range(40))

    assert told == {1 - index: 40}


def test_when_the_supervisor_is_killed_no_worker_is_left(home: Path) -> None:
    with supervising(home, workers=2) as gateway:
        gateway.awaits(is_up(gateway, 2))
        workers = gateway.workers()

        gateway.process.kill()

        assert becomes_true(lambda: not any(exists(pid) for pid in workers), within_s=ORPHANS_GONE_WITHIN_S)


def test_a_first_worker_that_cannot_start_ends_it_with_its_code_and_is_tried_once(home: Path) -> None:
    with supervising(home, "refuses", workers=2) as gateway:
        assert gateway.process.wait(10) == 2

    assert len(started(gateway)) == 1


def test_workers_that_cannot_start_any_more_end_it_with_a_word_of_why(home: Path) -> None:
    with supervising(home, "once") as gateway:
        gateway.awaits(is_up(gateway))
        os.kill(answered(gateway)[1], signal.SIGKILL)

        assert gateway.process.wait(10) == 1

    assert "the workers cannot start any more (5 attempts)" in gateway.complained()
    assert len(started(gateway)) == 1 + 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_before_anybody_serves_it_is_interrupted(home: Path, number: signal.Signals) -> None:
    with supervising(home, "hangs") as gateway:
        gateway.awaits(is_up(gateway))
        workers = gateway.workers()

        assert gateway.stop(number) == 130
        assert not any(exists(pid) for pid in workers)


def test_a_second_signal_ends_those_who_would_finish_first(home: Path) -> None:
    with supervising(home, "stubborn", workers=2) as gateway:
        gateway.awaits(is_up(gateway, 2))
        answered(gateway)
        gateway.process.terminate()
        gateway.awaits(lambda: bool(gateway.logged("supervisor.draining")))
        still_runs = gateway.process.poll() is None

        code = gateway.stop()

    assert still_runs
    assert code == 0


@pytest.mark.soak
def test_whoever_is_deaf_to_the_second_signal_is_killed(home: Path) -> None:
    with supervising(home, "deaf") as gateway:
        gateway.awaits(is_up(gateway))
        answered(gateway)
        gateway.process.terminate()
        gateway.awaits(lambda: bool(gateway.logged("supervisor.draining")))

        code = gateway.stop()

    assert gateway.logged("worker.killed")
    assert code == 1


def test_the_workers_share_a_folder_that_nobody_else_may_enter_and_that_goes_with_them(home: Path) -> None:
    with supervising(home, workers=2) as gateway:
        gateway.awaits(is_up(gateway, 2))

        (folder,) = {Path(path.read_text()) for path in home.glob("started-*")}
        mode = stat.S_IMODE(folder.stat().st_mode)
        gateway.stop()

    assert mode == 0o700
    assert not folder.exists()


def test_systemd_is_told_of_each_state_and_a_hangup_reloads(home: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(home / "notify"))
        systemd.settimeout(10)
        with supervising(home, workers=2, NOTIFY_SOCKET=str(home / "notify")) as gateway:
            states = [systemd.recv(200)]

            gateway.awaits(is_up(gateway, 2))
            gateway.process.send_signal(signal.SIGHUP)
            states += [systemd.recv(200).split(b"\n")[0] for _ in range(2)]
            answered(gateway)
            gateway.process.terminate()
            states.append(systemd.recv(200))

    assert states == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]


HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def a_service(home: Path, kept: socket.socket) -> AbstractContextManager[Program]:
    """As systemd starts one: the socket is descriptor 3, and the process is told that it is meant."""
    fd = kept.fileno()
    command = (sys.executable, "-c", HAND_OVER, str(fd), STAND_IN, "supervise", "0", "1", "well", str(home))
    url = f"http://127.0.0.1:{kept.getsockname()[1]}"
    return inheriting([fd], home, *command, url=url, env={"PYTHONPATH": str(ROOT), "TMPDIR": str(home)})


def test_who_comes_while_nobody_serves_on_the_socket_of_systemd_is_answered_by_the_next(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept:
        with a_service(home / "old", kept) as old:
            first = answered(old)
            old.stop()

        with socket.create_connection(kept.getsockname()) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            with a_service(home / "new", kept) as new:
                waiting.settimeout(10)
                late = waiting.recv(1000)
                new.stop()

    assert first[0] == 0
    assert late.startswith(b"HTTP/1.1 200 OK")


def test_it_stops_when_its_terminal_is_closed(home: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, STAND_IN, "supervise", str(free_port()), "1", "well", str(home)]
    process = subprocess.Popen(
        command,
        env=bare_environment(home, PYTHONPATH=str(ROOT), TMPDIR=str(home)),
        preexec_fn=lambda: os.login_tty(slave),  # noqa: PLW1509 - it makes the terminal this process's own
    )
    os.close(slave)
    assert becomes_true(lambda: bool(list(home.glob("started-*"))), within_s=10)

    os.close(master)

    assert process.wait(10) in {0, 130}  # 130 when the worker did not serve yet


AS_FIRST_PROCESS = """
import os, time
from app.surfaces.cli.processes import reap_strangers
assert os.getpid() == 1
ours = os.fork() or time.sleep(30)
if not (parent := os.fork()):
    os.fork() or os._exit(0)  # the grandchild is left to us
    os._exit(0)
os.waitpid(parent, 0)
end = time.monotonic() + 5
while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < end:
    time.sleep(0.01)
reap_strangers({ours})
print(os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT))
os.kill(ours, 9)
"""


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="it takes root to be process 1")
def test_the_first_process_of_a_container_buries_what_is_left_to_it() -> None:
    told = subprocess.run(
        ["unshare", "--pid", "--fork", sys.executable, "-c", AS_FIRST_PROCESS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in told.stderr:
        pytest.skip(told.stderr.strip())

    assert (told.stdout, told.stderr) == ("None\n", "")


def test_the_supervisor_loads_nothing_heavy() -> None:
    heavy = {"litestar", "uvicorn", "pydantic", "structlog", "sqlalchemy", "asyncio"}
    asked = f"import sys, app.surfaces.cli.serve_command as _; print(sorted({heavy} & set(sys.modules)))"

    told = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)

    assert told.stdout == "[]\n"
