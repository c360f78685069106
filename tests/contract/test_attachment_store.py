"""What the store of attachments promises, asked of the fake and of PostgreSQL alike."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from app.features.attachments.domain.attachment import ROOM, Attachment, NewAttachment, Room
from app.features.attachments.ports import AttachmentStore
from app.features.attachments.repository import PostgresAttachmentStore
from app.infra.db.engine import Database
from app.kernel.ids import AttachmentId, UserId, new_run_id
from app.kernel.paging import ListQuery, Search
from app.kernel.transaction import Begin, Tx
from tests.fakes.attachments import FakeAttachmentStore

ANN, BOB = UserId("ann"), UserId("bob")


@dataclass
class Kept:
    begin: Begin
    store: AttachmentStore

    async def add(
        self, content: bytes, name: str = "a.png", *, owner: UserId = ANN, room: Room = ROOM
    ) -> Attachment | None:
        digest = hashlib.sha256(content).digest()
        draft = NewAttachment(AttachmentId(new_run_id()), owner, name, "image/png", digest, content)
        async with self.begin() as tx:
            return await self.store.add(tx, draft, room=room)

    async def added(self, content: bytes, name: str = "a.png", *, owner: UserId = ANN) -> Attachment:
        added = await self.add(content, name, owner=owner)
        assert added is not None
        return added

    async def read(self, *files: Attachment, owner: UserId = ANN) -> list[bytes]:
        async with self.begin() as tx:
            found = await self.store.read(tx, [one.id for one in files], owner=owner)
        return [found[one.id] for one in files if one.id in found]

    async def remove(self, file: Attachment) -> bool:
        async with self.begin() as tx:
            return await self.store.remove(tx, file.id)


@asynccontextmanager
async def _no_transaction() -> AsyncIterator[Tx]:
    yield object()


@pytest.fixture(params=["fake", "postgres"])
def kept(request: pytest.FixtureRequest) -> Kept:
    if request.param == "fake":
        return Kept(_no_transaction, FakeAttachmentStore())
    database: Database = request.getfixturevalue("database")
    return Kept(database.begin, PostgresAttachmentStore())


async def test_a_file_is_kept_with_its_content(kept: Kept) -> None:
    made = await kept.added(b"\x89PNG\0\xff", "a.png")

    async with kept.begin() as tx:
        assert await kept.store.find(tx, made.id) == made
        assert await kept.store.find(tx, AttachmentId(new_run_id())) is None
    assert (made.owner, made.size_bytes, made.digest_text[:7]) == (ANN, 6, "sha256:")
    assert await kept.read(made) == [b"\x89PNG\0\xff"]


async def test_the_same_again_is_the_one_there_is_and_another_name_is_another(kept: Kept) -> None:
    made = await kept.added(b"one")

    assert await kept.added(b"one") == made
    assert len({made.id, (await kept.added(b"one", "b.png")).id, (await kept.added(b"one", owner=BOB)).id}) == 3


async def test_nobody_finds_or_reads_what_is_somebody_elses(kept: Kept) -> None:
    hers, his = await kept.added(b"one"), await kept.added(b"one", owner=BOB)

    async with kept.begin() as tx:
        assert await kept.store.find_all(tx, [hers.id, his.id], owner=ANN) == {hers.id: hers}
    assert await kept.read(hers, his) == [b"one"]
    assert await kept.read(hers, his, owner=BOB) == [b"one"]


async def test_a_content_goes_with_the_last_that_has_it(kept: Kept) -> None:
    hers, his = await kept.added(b"one"), await kept.added(b"one", owner=BOB)

    assert [await kept.remove(hers), await kept.remove(hers)] == [True, False]
    assert await kept.read(his, owner=BOB) == [b"one"]
    assert await kept.remove(his)
    assert await kept.read(his, owner=BOB) == []
    assert await kept.read(await kept.added(b"one")) == [b"one"]


async def test_there_is_room_for_so_many_and_so_much(kept: Kept) -> None:
    few, little = Room(files=2, size_bytes=100), Room(files=100, size_bytes=5)
    await kept.added(b"one")
    await kept.added(b"2")

    assert await kept.add(b"3", room=few) is None
    assert await kept.add(b"one", room=few) is not None  # it is there already
    assert await kept.add(b"3", room=few, owner=BOB) is not None
    assert await kept.add(b"33", room=little) is None
    assert await kept.add(b"3", room=little) is not None


async def test_they_are_listed_the_newest_first(kept: Kept) -> None:
    files = [await kept.added(bytes([n]), f"file {n}.png") for n in range(3)]
    his = await kept.added(b"9", "his.png", owner=BOB)

    async with kept.begin() as tx:
        page = await kept.store.list(tx, ListQuery(limit=2), owner=ANN)
        everybodys = await kept.store.list(tx, ListQuery(), owner=None)
        search = ListQuery(search=Search("name", "FILE 1", ignore_case=True))
        found = await kept.store.list(tx, search, owner=None)
        by_id = await kept.store.list(tx, ListQuery(), owner=ANN, ids=[files[0].id, his.id])

    assert (page.total, list(page.items)) == (3, [files[2], files[1]])
    assert everybodys.total == 4
    assert list(found.items) == [files[1]]
    assert list(by_id.items) == [files[0]]


async def test_the_same_at_once_is_one_content_whoever_sends_it_and_lets_go(database: Database) -> None:
    """People send the same file, twice each, while others who have it let go of it: none is lost, none is left over."""
    kept = Kept(database.begin, PostgresAttachmentStore())
    people = [UserId(f"person {n}") for n in range(8)]
    contents = [b"same", b"other"]

    async def send_and_let_go(owner: UserId, content: bytes) -> Attachment:
        for _ in range(4):
            made = await kept.added(content, owner=owner)
            assert await kept.read(made, owner=owner) == [content]
            await kept.remove(made)
        first, second = await asyncio.gather(kept.added(content, owner=owner), kept.added(content, owner=owner))
        assert first == second
        return first

    made = await asyncio.gather(*(send_and_let_go(owner, one) for owner in people for one in contents))

    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM attachment_blobs")) == 2
        assert await connection.scalar(text("SELECT count(*) FROM attachments")) == len(made) == 16
    gone = await asyncio.gather(*(kept.remove(one) for one in made for _ in range(2)))
    assert gone.count(True) == 16
    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM attachment_blobs")) == 0
