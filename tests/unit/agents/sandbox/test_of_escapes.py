"""Programs that try to get out, or to take more than they may, against each backend the kernel isolates for."""

import asyncio
import os
import signal
import socket
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from app.agents.sandbox.ports import MEGABYTE
from tests.unit.agents.sandbox.rig import Bench, descendants, still_there

ROOT = Path(__file__).parents[4]
HOME = Path.home()
TRIES = """
def tries(what):
    try:
        return repr(what())
    except (OSError, MemoryError) as error:
        return type(error).__name__
"""


async def _settled(is_so: Callable[[], bool]) -> bool:
    for _ in range(300):
        if is_so():
            return True
        await asyncio.sleep(0.01)
    return False


# --- what is not its own


async def test_no_file_of_the_host_is_there(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    places = [str(secret), str(ROOT / "pyproject.toml"), str(tmp_path), str(HOME / ".ssh"), "/etc/shadow"]
    code = f"import os\n{TRIES}\nprint([tries(lambda: os.stat(place).st_size) for place in {places[:-1]!r}])\n"
    code += "print(tries(lambda: open('/etc/shadow').read()))"

    found = await bench.prints(code)

    assert found.splitlines()[0] == str(["FileNotFoundError"] * 4)
    assert found.splitlines()[1] in {"FileNotFoundError", "PermissionError"}


async def test_nothing_of_the_environment_is_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTICO_SECRET", "s3cret")
    code = f"""
import os
{TRIES}
print("PORTICO_SECRET" in os.environ, [tries(lambda: open(f"/proc/{{pid}}/environ").read()) for pid in (1, 2)])
"""

    found = await bench.prints(code)

    assert found.startswith("False")
    assert "s3cret" not in found


async def test_there_is_no_network(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        server.setblocking(False)
        abstract.bind(f"\0portico-{os.getpid()}")
        abstract.listen()
        code = f"""
import socket
{TRIES}
def connects(family, address):
    with socket.socket(family) as one:
        one.settimeout(1)
        one.connect(address)
print(tries(lambda: connects(socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]}))))
print(tries(lambda: connects(socket.AF_INET, ("192.0.2.1", 80))))
print(tries(lambda: connects(socket.AF_UNIX, "\\0portico-{os.getpid()}")))
print(tries(lambda: socket.getaddrinfo("example.org", 80)))
"""

        found = await bench.prints(code)

        assert "None" not in found.split()
        assert len(found.split()) == 4
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_no_process_of_the_host_is_seen_or_reached(bench: Bench) -> None:
    code = f"""
import os
{TRIES}
print(max(int(name) for name in os.listdir("/proc") if name.isdigit()) < 64, tries(lambda: os.kill({os.getpid()}, 0)))
"""

    assert await bench.prints(code) == "True ProcessLookupError"


async def test_its_keeper_is_neither_ended_nor_read(bench: Bench) -> None:
    code = f"""
import os, signal, time
{TRIES}
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM):
    os.kill(1, number)
time.sleep(0.05)
print(tries(lambda: os.listdir("/proc/1/fd")), tries(lambda: open("/proc/1/mem", "r+b")))
"""

    assert await bench.prints(code) == "PermissionError PermissionError"


async def test_no_namespace_is_made_and_nothing_is_mounted(bench: Bench) -> None:
    code = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def refused(call, *arguments):
    return call(*arguments) == -1 and errno.errorcode[ctypes.get_errno()]
flags = (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000)  # user, mount, pid, network, ipc
print({refused(libc.unshare, flag) for flag in flags})
print(refused(libc.mount, b"x", b"/tmp", b"tmpfs", 0, 0), refused(libc.ptrace, 16, 1, 0, 0))
print(refused(libc.syscall, 425, 8, 0), refused(libc.chroot, b"/tmp"))  # io_uring_setup
"""

    found = await bench.prints(code)

    assert found.splitlines() == ["{'EPERM'}", "EPERM EPERM", "EPERM EPERM"]


async def test_it_is_nobody_and_nothing_but_its_folders_is_written(bench: Bench) -> None:
    code = f"""
import os, sys
{TRIES}
print(os.getuid() != 0, sys.stdin.read() == "")
places = ["/new", "/usr/lib/new", "/dev/new", "/proc/sys/kernel/hostname", "/etc/new"]
print({{tries(lambda: open(place, "w")) for place in places}} <= {{"OSError", "PermissionError", "FileNotFoundError"}})
print(tries(lambda: open("new", "w").write("x")), tries(lambda: open("/tmp/new", "w").write("x")))
"""

    assert (await bench.prints(code)).splitlines() == ["True True", "True", "1 1"]


async def test_two_programs_do_not_see_each_other(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Bench(bench.backend, tmp_path / "other")
    write = "open('/tmp/a', 'w').write('x'); open('a', 'w').write('x'); import time; time.sleep(0.3)"
    look = "import os, time; time.sleep(0.2); print(os.listdir('/work'), 'a' in os.listdir('/tmp'))"

    _, seen = await asyncio.gather(bench.run(write), other.prints(look))

    assert seen == "[] False"


# --- more than its share


async def test_an_endless_loop_is_ended(bench: Bench) -> None:
    ran = await bench.run("print('on', flush=True)\nwhile True: pass", wall_s=0.3)

    assert (ran.exit_code, ran.output, ran.ended_by) == (-signal.SIGKILL, "on\n", "the time limit of 0.3 s")
    assert ran.kept_files


async def test_a_fork_bomb_stays_small_and_leaves_nobody(bench: Bench) -> None:
    before = descendants(os.getpid())
    code = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

    ran = await bench.run(code, wall_s=0.3)

    assert ran.ended_by == "the time limit of 0.3 s"
    assert await _settled(lambda: not still_there(descendants(os.getpid()) - before))


async def test_there_are_so_many_processes_and_no_more(bench: Bench) -> None:
    code = """
import os, time
made = 1
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError:
    print(made)
"""

    assert await bench.prints(code) == "8"


async def test_memory_is_refused_to_one_process(bench: Bench) -> None:
    assert await bench.prints(f"{TRIES}\nprint(tries(lambda: bytearray(200 * 2**20)))") == "MemoryError"


async def test_memory_is_counted_over_all_processes(bench: Bench) -> None:
    code = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        much = bytearray(60 * 2**20)
        time.sleep(60)
time.sleep(60)
"""

    ran = await bench.run(code)

    assert ran.ended_by == "the memory limit of 128 MB"


DISK_FLOODS = {
    "one file": "open('big', 'wb').write(bytes(40 * 2**20))",
    "many files": "for n in range(40): open(f'{n}', 'wb').write(bytes(2**20))",
    "files nobody sees": """
held = []
while True:
    held.append(open('x', 'wb', 0))
    os.unlink('x')
    held[-1].write(bytes(2**20))
""",
    "the temporary folder": "for n in range(40): open(f'/tmp/{n}', 'wb').write(bytes(2**20))",
    "shared memory": "for n in range(40): open(f'/dev/shm/{n}', 'wb').write(bytes(2**20))",
    "devices": "open('/dev/big', 'wb').write(bytes(2**20))",
}


@pytest.mark.parametrize("flood", DISK_FLOODS.values(), ids=DISK_FLOODS.keys())
async def test_a_flood_of_bytes_ends_at_the_quota(bench: Bench, flood: str) -> None:
    ran = await bench.run(f"import os\n{flood}")

    assert ran.exit_code == 1
    assert any(word in ran.output for word in ("No space left", "File too large", "Read-only", "Permission denied"))
    assert sum(map(len, bench.left.values())) <= 2 * MEGABYTE


async def test_a_flood_of_files_is_ended(bench: Bench) -> None:
    ran = await bench.run("n = 0\nwhile True:\n    open(f'{n}', 'w').close()\n    n += 1")

    assert ran.ended_by == "the limit of 20 files" or "No space left" in ran.output
    assert len(bench.left) == 20
    assert ran.left_out


async def test_a_flood_of_output_is_cut_and_ended(bench: Bench) -> None:
    ran = await bench.run("while True: print('x' * 1000)")

    assert ran.ended_by == "the output limit: it printed more than 8192 bytes"
    assert ran.is_cut
    assert len(ran.output) == 2048
    assert "".join(bench.shown) == ran.output


async def test_a_little_too_much_output_is_cut_and_the_program_goes_on(bench: Bench) -> None:
    ran = await bench.run("print('x' * 3000)\nopen('done', 'w').close()")

    assert (ran.exit_code, ran.is_cut, len(ran.output), list(bench.left)) == (0, True, 2048, ["done"])


async def test_kernel_memory_that_no_limit_counts_is_not_to_be_had(bench: Bench) -> None:
    if bench.backend.name == "docker":
        pytest.skip("in a container the engine counts it")
    code = f"""
import ctypes, os
{TRIES}
libc = ctypes.CDLL(None, use_errno=True)
print(tries(lambda: os.memfd_create("x")), end=" ")
print(libc.shmget(0, 4096, 0o1600), libc.msgget(0, 0o1600), libc.semget(0, 1, 0o1600))
"""

    assert await bench.prints(code) == "PermissionError -1 -1 -1"


# --- what it leaves


async def test_whom_it_leaves_behind_is_ended_with_it(bench: Bench) -> None:
    before = descendants(os.getpid())
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nprint('bye')"

    assert await bench.prints(code) == "bye"
    assert await _settled(lambda: not still_there(descendants(os.getpid()) - before))


async def test_links_pipes_and_odd_names_are_left_out(bench: Bench) -> None:
    code = """
import os
os.symlink("/etc/passwd", "link")
os.symlink("/", "folder")
os.mkfifo("pipe")
open(b"\\xff", "w").close()
os.makedirs("a/b")
open("a/b/..c", "w").write("kept")
"""

    ran = await bench.run(code)

    assert ran.exit_code == 0
    assert bench.left == {"a/b/..c": b"kept"}
    assert len(ran.left_out) == 4


async def test_files_go_in_and_come_out(bench: Bench) -> None:
    (bench.folder / "data").mkdir()
    (bench.folder / "data" / "in.csv").write_bytes(b"1\n2\n")
    code = "rows = open('data/in.csv').read().split()\nopen('sum.txt', 'w').write(str(sum(map(int, rows))))"

    await bench.prints(code)

    assert bench.left == {"data/in.csv": b"1\n2\n", "sum.txt": b"3"}
    assert sorted(path.name for path in bench.folder.rglob("*")) == ["data", "in.csv"]


async def test_what_it_prints_is_shown_while_it_runs(bench: Bench) -> None:
    ran = await bench.run("import time\nprint('a')\ntime.sleep(0.4)\nprint('ü')\nraise SystemExit(3)")

    assert (ran.exit_code, ran.output) == (3, "a\nü\n")
    assert bench.shown == ["a\n", "ü\n"]


# --- ended from outside


async def test_cancelled_it_is_gone_with_all_its_children(bench: Bench) -> None:
    before = descendants(os.getpid())
    code = "import os\nos.fork()\nprint('on', flush=True)\nwhile True: pass"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.run(code))
        assert await _settled(lambda: bool(bench.shown))
        begun = descendants(os.getpid()) - before

        running.cancel()
        await asyncio.wait([running])

        assert await _settled(lambda: not still_there(begun))
        assert begun or bench.backend.name == "docker"


async def test_killed_its_worker_takes_it_along(bench: Bench) -> None:
    worker = f"""
import asyncio, pathlib, sys
from tests.unit.agents.sandbox.rig import BACKENDS, Bench
async def main():
    bench = Bench(BACKENDS[{bench.backend.name!r}], pathlib.Path(sys.argv[1]))
    async def show(text): print(text, flush=True)
    bench._show = show
    await bench.run("import os\\nprint('on')\\nos.fork()\\nwhile True: pass", wall_s=60)
asyncio.run(main())
"""
    home = bench.folder / "home"
    home.mkdir()
    command = (sys.executable, "-c", textwrap.dedent(worker), str(home))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"on\n"
    begun = descendants(process.pid)

    process.kill()
    await process.wait()

    assert begun
    assert await _settled(lambda: not still_there(begun))
