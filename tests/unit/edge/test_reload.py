import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.edge.edge import Edge
from app.edge.file_watch import FileWatch
from app.edge.health import watch_upstreams
from app.edge.keys import PemKeys
from app.edge.pipeline import EdgeOptions
from app.edge.reload import HEALTH_TYPE, Draft, Reload, ReloadAsked, TableRefused, TableReload
from app.edge.routes import RouteRegistry
from app.edge.table import Table
from app.edge.upstream_exchange import Exchange
from app.edge.upstreams import open_upstreams
from app.infra.observability.health import Dependency, HealthRegistry, NotWell
from app.settings import GatewayFile
from tests.builders import ROLES, public_pem
from tests.unit.edge.parts import Checked, a_file
from tests.wire.hostile import GET, answering, eventually, hostile

HERE: dict[str, object] = {"url": "http://127.0.0.1:9", "health": "/ping"}
TLS: dict[str, object] = {"url": "https://127.0.0.1:9", "health": "/ping"}


def rows(*paths: str, **upstreams: dict[str, object]) -> GatewayFile:
    written: list[dict[str, object]] = [{"path": path, "upstream": next(iter(upstreams))} for path in paths]
    return a_file(*written, upstreams=upstreams)


@dataclass(slots=True)
class Reloaded:
    """An edge whose next table is what a test puts into `next`."""

    folder: Path
    first: GatewayFile
    next: GatewayFile | TableRefused = field(init=False)
    edge: Edge = field(init=False)
    reload: TableReload = field(init=False)
    health: HealthRegistry = field(default_factory=HealthRegistry)
    told: list[Reload] = field(default_factory=list)

    def __post_init__(self) -> None:
        checked = Checked()
        table = Table(
            RouteRegistry.compile(self.first.routes, self.first.upstreams), open_upstreams(self.first.upstreams)
        )
        self.edge = Edge(table, PemKeys.read(public_pem()), checked.verifier, checked.clock, EdgeOptions())
        file = self.folder / "gateway.toml"
        file.touch()
        self.reload = TableReload(
            self.edge, FileWatch(file, b""), self._read, self.health, ReloadAsked(), self.told.append
        )
        self.health.add(HEALTH_TYPE, file.name, self.reload.describe)
        watch_upstreams(self.health, lambda: self.edge.upstreams)

    def _read(self, content: bytes | None) -> Draft:
        assert content == b""
        if isinstance(self.next, TableRefused):
            raise self.next
        return Draft(RouteRegistry.compile(self.next.routes, self.next.upstreams), self.next.upstreams, ROLES)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.reload.run())
            yield
            task.cancel()

    async def take(self, rows: GatewayFile) -> None:
        before, self.next = self.edge.table, rows
        self.reload.asked.set()
        await eventually(lambda: self.edge.table is not before)

    def watched(self) -> Sequence[Dependency]:
        return [one for one in self.health.dependencies if one.type == "http"]


async def test_health_follows_the_table_and_forgets_nothing_of_who_stays(tmp_path: Path) -> None:
    reloaded = Reloaded(tmp_path, rows("/a", stays=HERE, goes=HERE))
    (stays, _) = reloaded.watched()

    async with reloaded.running():
        await reloaded.take(rows("/a", stays=HERE, comes=TLS))
        after = reloaded.watched()

    assert [one.name for one in after] == ["stays", "comes"]
    assert after[0] is stays


async def test_each_table_has_a_generation_of_its_own(tmp_path: Path) -> None:
    reloaded = Reloaded(tmp_path, rows("/a", here=HERE))

    async with reloaded.running():
        for expected in (2, 3, 4):
            await reloaded.take(rows("/b", here=HERE))
            assert reloaded.edge.table.generation == expected


async def test_what_still_runs_at_a_drained_upstream_is_cut_when_the_gateway_ends(tmp_path: Path) -> None:
    async with hostile(answering()) as there:
        reloaded = Reloaded(tmp_path, rows("/a", here={"url": f"http://127.0.0.1:{there.port}"}))
        pool = reloaded.edge.upstreams["here"].endpoints[0].pool
        exchange = Exchange(await pool.acquire())
        exchange.begin(b"GET", GET)

        async with reloaded.running():
            await reloaded.take(rows("/a", here=HERE))
            meanwhile = pool.counts.in_use

        assert (meanwhile, pool.counts.open) == (1, 0)


async def test_a_refusal_is_told_until_a_valid_table_comes(tmp_path: Path) -> None:
    reloaded = Reloaded(tmp_path, rows("/a", here=HERE))
    reloaded.next = TableRefused(["routes[1] (/a): this and that"])

    async with reloaded.running():
        before = await reloaded.reload.describe()
        reloaded.reload.asked.set()
        await eventually(lambda: "this and that" in reloaded.health.dependencies[0].details)
        with pytest.raises(NotWell, match="this and that"):
            await reloaded.reload.describe()
        await reloaded.take(rows("/b", "/c", here=HERE))
        after = await reloaded.reload.describe()

    assert (before, after) == ("1 routes, generation 1", "2 routes, generation 2")
