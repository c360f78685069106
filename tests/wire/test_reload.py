"""A changed `gateway.toml` under a running gateway: taken between two requests, or refused and told, never half."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from structlog.testing import capture_logs

from app.edge.edge import Edge
from app.main import create_app
from app.settings import read_settings
from tests.builders import a_token, public_pem
from tests.fakes.access_log import HeardAccessLog
from tests.wire.caller import Answered, calling, get
from tests.wire.front import SERVERS, Inside, serving
from tests.wire.hostile import Script, Visit, eventually, hostile

SETTINGS = """
[settings]
mode = "TEST"
jwt_public_key = '''{pem}'''
postgres_dsn = "{dsn}"
data_dir = "{folder}"
default_model = "scripted"
front_door_url = "http://127.0.0.1:1"
log_level = 20
"""
HEALTH = """
[[routes]]
prefix = "/api/health"
local = true
access = "PUBLIC"
"""
STAFF = b"Authorization: Bearer " + a_token(role="manager").encode()


def echo(name: str) -> Script:
    """Answer every request with the upstream's name and the path it was asked for."""

    async def script(visit: Visit) -> None:
        while True:
            path = (await visit.request()).split()[1]
            body = name.encode() + b" " + path
            await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return script


def row(path: str, *, to: str = "one", access: str = "PUBLIC", sent: str | None = None) -> str:
    rewrite = f'rewrite = [{{ match = "{path}", to = "{sent}" }}]\n' if sent else ""
    return f'[[routes]]\npath = "{path}"\nupstream = "{to}"\naccess = "{access}"\n{rewrite}'


def upstreams(**ports: int) -> str:
    return "".join(f'[upstreams.{name}]\nurl = "http://127.0.0.1:{port}"\n' for name, port in ports.items())


def rename_into_place(file: Path, text: str) -> None:
    """As editors and deployment tools do."""
    fresh = file.with_name("fresh.toml")
    fresh.write_text(text, "utf-8")
    fresh.replace(file)


def write_in_place(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


def swap_the_link(file: Path, text: str) -> None:
    """As Kubernetes does with what it mounts."""
    folder = file.with_name(f"version-{time.monotonic_ns()}")
    folder.mkdir()
    (folder / "gateway.toml").write_text(text, "utf-8")
    link = file.with_name("..data")
    fresh = file.with_name("..next")
    fresh.symlink_to(folder.name)
    fresh.replace(link)
    if not file.is_symlink():
        fresh.symlink_to("..data/gateway.toml")
        fresh.replace(file)


async def until[T](ask: Callable[[], Awaitable[T]], is_right: Callable[[T], bool]) -> T:
    """Ask until the answer is the right one."""
    async with asyncio.timeout(10):
        while True:
            if is_right(answer := await ask()):
                return answer
            await asyncio.sleep(0.005)


@dataclass(slots=True)
class Gate:
    """One running gateway and its file."""

    port: int
    file: Path
    settings: str
    edge: Edge
    app: Litestar
    loop: asyncio.AbstractEventLoop
    lines: list[MutableMapping[str, Any]] = field(default_factory=list)  # Any: structlog's own untyped kind

    def text(self, *parts: str) -> str:
        return self.settings + HEALTH + "".join(parts)

    def write(self, *parts: str, replace: Callable[[Path, str], None] = rename_into_place) -> None:
        replace(self.file, self.text(*parts))

    async def write_and_wait(self, *parts: str) -> None:
        """Write rows and wait until they are served."""
        before = self.edge.table.generation
        self.write(*parts)
        await eventually(lambda: self.edge.table.generation > before)

    async def ask(self, path: str, *fields: bytes) -> Answered:
        async with calling(self.port) as caller:
            await caller.send(get(path.encode(), *fields))
            return await caller.answer()

    async def comes_to(self, path: str, status: int) -> Answered:
        """Ask until the answer has a status."""
        return await until(lambda: self.ask(path), lambda answer: answer.status == status)

    async def report(self) -> dict[str, Any]:  # Any: JSON has any shape
        """What `service_health` says about the table."""

        deps = json.loads((await self.ask("/api/health/service_health", STAFF)).body)["deps"]
        found: dict[str, Any] = next(one for one in deps if one["type"] == "route-table")
        return found

    def logged(self, event: str) -> list[MutableMapping[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture(scope="module", params=["portico"])
def gate_for_all(
    request: pytest.FixtureRequest, migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("reload")
    file = folder / "gateway.toml"
    settings = SETTINGS.format(pem=public_pem(), dsn=migrated_dsn, folder=folder)
    file.write_text(settings + HEALTH, "utf-8")
    inside = Inside()
    app = create_app(read_settings(file), HeardAccessLog(), inside)
    with serving(app, SERVERS[request.param]) as port:
        assert inside.edge is not None
        assert inside.loop is not None
        yield Gate(port, file, settings, inside.edge, app, inside.loop)


@pytest.fixture
async def gate(gate_for_all: Gate) -> AsyncIterator[Gate]:
    """The gateway with nothing but its own rows, heard from now on."""
    gate = gate_for_all
    gate.write()
    await eventually(lambda: len(gate.edge.table.registry.routes) == 1)
    await eventually(lambda: not gate.edge.table.upstreams)
    with capture_logs() as lines:
        gate.lines = lines
        yield gate


@pytest.mark.parametrize("replace", [rename_into_place, write_in_place, swap_the_link])
async def test_a_change_is_live_however_the_file_is_replaced(gate: Gate, replace: Callable[[Path, str], None]) -> None:
    async with hostile(echo("one")) as one:
        before = (await gate.ask("/new")).status
        written_s = time.monotonic()

        gate.write(upstreams(one=one.port), row("/new"), replace=replace)
        answer = await gate.comes_to("/new", 200)

        print(f"live {(time.monotonic() - written_s) * 1000:.0f} ms after the write")  # noqa: T201 - read with -s
        assert before == 404
        assert answer.body == b"one /new"
        assert gate.logged("table.reloaded")[-1]["routes"] == 2


async def test_of_many_rows_only_those_that_changed_are_made_anew(gate: Gate) -> None:
    """Of 5,000 rows that is a tenth of the work: what a change costs must not hang on the size of the table."""
    async with hostile(echo("one")) as one:
        rows = [row(f"/many/{number}") for number in range(300)]
        await gate.write_and_wait(upstreams(one=one.port), *rows)
        before = gate.edge.table.registry.routes

        rows[7] = row("/many/7", sent="/changed")
        await gate.write_and_wait(upstreams(one=one.port), *rows, row("/more"))
        after = gate.edge.table.registry.routes

        fresh = [now.label for now, then in zip(after, before, strict=False) if now is not then]
        assert [label for label in fresh if label.startswith("/many")] == ["/many/7"]
        assert (await gate.ask("/many/7")).body == b"one /changed"
        assert (await gate.ask("/many/8")).body == b"one /many/8"
        assert (await gate.ask("/more")).body == b"one /more"


async def test_rows_that_did_not_change_follow_their_upstream(gate: Gate) -> None:
    async with hostile(echo("one")) as one:
        await gate.write_and_wait(upstreams(one=one.port), row("/x"))

        based = upstreams(one=one.port).replace('"\n', '/base"\n')
        await gate.write_and_wait(based, row("/x"))

        assert (await gate.ask("/x")).body == b"one /base/x"


async def test_an_invalid_table_is_refused_with_the_reason_and_the_old_one_stays(gate: Gate) -> None:
    async with hostile(echo("one")) as one:
        await gate.write_and_wait(upstreams(one=one.port), row("/kept"))
        generation = gate.edge.table.generation

        gate.write(upstreams(one=one.port), row("/kept", to="gone"), row("relative"))
        await eventually(lambda: bool(gate.logged("table.refused")))
        problems = " ".join(gate.logged("table.refused")[0]["problems"])
        told = await until(gate.report, lambda told: told["status"] == "error")

        assert "'gone' is unknown" in problems
        assert "no path a client could send" in problems
        assert "'gone' is unknown" in told["details"]
        assert (await gate.ask("/kept")).body == b"one /kept"
        assert gate.edge.table.generation == generation

        await gate.write_and_wait(upstreams(one=one.port), row("/mended"))
        await until(gate.report, lambda told: told["status"] == "ok")


async def test_a_file_that_was_cut_or_emptied_or_is_gone_changes_nothing(gate: Gate) -> None:
    async with hostile(echo("one")) as one:
        await gate.write_and_wait(upstreams(one=one.port), row("/kept"))
        whole = gate.text(upstreams(one=one.port), row("/kept"))

        for number, part in enumerate((whole[:-9], "", gate.settings, None), 1):
            gate.file.unlink() if part is None else rename_into_place(gate.file, part)
            await eventually(lambda expected=number: len(gate.logged("table.refused")) == expected)  # type: ignore[misc]

            assert (await gate.ask("/kept")).status == 200

        reasons = [" ".join(line["problems"]) for line in gate.logged("table.refused")]
        assert [words in reason for words, reason in zip(("TOML", "", "there are none", "read"), reasons, strict=True)]


async def test_rows_and_groups_are_taken_and_settings_are_named_as_waiting_for_a_restart(gate: Gate) -> None:
    async with hostile(echo("one")) as one:
        wizard = b"Authorization: Bearer " + a_token(role="wizard").encode()
        parts = upstreams(one=one.port), row("/common", access="COMMON")
        await gate.write_and_wait(*parts)
        before = await gate.ask("/common", wizard)

        more = '[groups]\nCOMMON = ["wizard"]\n', "[mcp_servers.new]\ncommand = 'new'\n"
        changed = gate.text(*parts, *more).replace("log_level = 20", "log_level = 30")
        rename_into_place(gate.file, changed)
        await eventually(lambda: len(gate.logged("table.reloaded")) == 2)
        after = await gate.ask("/common", wizard)

        assert (before.status, after.status) == (403, 200)
        assert gate.logged("table.settings_need_restart")[0]["settings"] == ["log_level", "mcp_servers"]


async def test_an_unchanged_upstream_keeps_its_connections(gate: Gate) -> None:
    async with hostile(echo("one")) as one, hostile(echo("two")) as two:
        await gate.write_and_wait(upstreams(one=one.port, two=two.port), row("/x"))
        await gate.ask("/x")

        await gate.write_and_wait(upstreams(one=one.port), row("/y"))
        await gate.ask("/y")

        assert len([visit for visit in one.visits if visit.received]) == 1
        assert gate.logged("table.reloaded")[-1]["upstreams_leaving"] == ["two"]


async def test_a_request_finishes_at_an_upstream_that_left_the_table_meanwhile(gate: Gate) -> None:
    may_answer = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await may_answer.wait()
        await visit.send(b"half")
        await visit.until_left()

    async with hostile(slow) as old, hostile(echo("two")) as new, calling(gate.port) as caller:
        await gate.write_and_wait(upstreams(one=old.port), row("/x"))
        await caller.send(get(b"/x"))
        head = await caller.head()

        await gate.write_and_wait(upstreams(one=new.port), row("/x"))
        meanwhile = await gate.ask("/x")
        may_answer.set()
        body = await caller.reader.readexactly(8)

        assert (head.status, body, meanwhile.body) == (200, b"halfhalf", b"two /x")
        await eventually(old.visits[0].reader.at_eof)


async def test_who_asks_has_the_file_read_again(gate: Gate) -> None:
    before = gate.edge.table.generation

    gate.loop.call_soon_threadsafe(gate.app.state["reload_table"])

    await eventually(lambda: gate.edge.table.generation > before)
    assert gate.logged("table.reloaded")


@pytest.mark.parametrize("changes", [50, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.timeout(600)
async def test_no_request_fails_while_the_table_changes_under_load(gate: Gate, changes: int) -> None:
    """Each change moves the rows to the other upstream: one is opened, the other one drained, every time."""
    async with hostile(echo("a")) as a, hostile(echo("b")) as b:
        ports = (a.port, b.port)
        await gate.write_and_wait(upstreams(one=ports[0]), row("/load", sent="/v0"))
        answers: list[bytes] = []
        lags_s: list[float] = []
        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(_load(gate.port, answers)) for _ in range(4)]
            for number in range(1, changes + 1):
                wanted, written_s = f" /v{number}".encode(), time.monotonic()
                gate.write(upstreams(one=ports[number % 2]), row("/load", sent=f"/v{number}"))
                await eventually(lambda wanted=wanted: any(answer.endswith(wanted) for answer in answers[-1:]))  # type: ignore[misc]
                lags_s.append(time.monotonic() - written_s)
            for caller in callers:
                caller.cancel()

    lags_s.sort()
    print(  # noqa: T201 - figures to read with -s
        f"{changes} changes, {len(answers)} requests, none failed; live after "
        f"{lags_s[changes // 2] * 1000:.0f} ms (median), {lags_s[-1] * 1000:.0f} ms (longest)"
    )
    names = {(int(answer.partition(b"/v")[2]) % 2, answer[:1]) for answer in answers}
    assert names == {(0, b"a"), (1, b"b")}  # no request took a row of one table and the upstream of another
    assert not gate.logged("table.refused")


async def _load(port: int, answers: list[bytes]) -> None:
    """Ask without a pause, on one connection; whatever is not a whole 200 ends the test."""
    async with calling(port) as caller:
        while True:
            await caller.send(get(b"/load"))
            answer = await caller.answer()
            assert (answer.status, answer.is_whole) == (200, True)
            answers.append(answer.body)
