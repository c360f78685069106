"""Backups: what was there is there again, row by row; an archive that is not what it says changes nothing."""

import asyncio
import json
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text

from app.features.backups.domain.backup import BackupBusy, BackupNotFound, BackupOfOthers, BackupUnusable, Manifest
from app.features.backups.repository.archive import MANIFEST
from app.features.backups.repository.store import LOCK, PostgresBackups
from app.features.backups.tables import KEPT
from app.infra.db.engine import Database
from app.kernel.clock import SystemClock

RUN = UUID("01890000-0000-7000-8000-000000000001")
LIVE = UUID("01890000-0000-7000-8000-000000000002")
TASK = UUID("01890000-0000-7000-8000-000000000003")
OTHER_TASK = UUID("01890000-0000-7000-8000-000000000004")
# what JSON can say, and jsonb cannot; numbers that change when they are read; text of every kind
ODD = r"""{"big": 1e308,   "small": 0.1, "nul": "\u0000", "half": "\ud800", "text": "Zoë\n\\N \"quoted\" 🐙"}"""
FILL = r"""
INSERT INTO chats (user_id, title, agent, metadata) VALUES ('ann', E'Zoë''s "talk"\n', 'echo', :odd);
INSERT INTO chats (user_id, metadata, deleted_at) VALUES ('bob', '{}', now());
UPDATE chats SET branch = 1, branches = 2 WHERE id = 1;
INSERT INTO chat_branches (chat_id, number, parent, until_place, until_id) VALUES (1, 1, 0, 1, 2), (1, 2, 0, 1, 2);
INSERT INTO tasks (id, owner, task_type, prompt, authority, context_data, issued_at)
VALUES (:task, 'ann', 'triggered', E'two\nlines', '{}', :odd, 1700000000.1234567),
(:other, 'bob', 'research', 'p', '{}', '{}', null);
INSERT INTO task_dependencies (task_id, needs, state) VALUES (:other, :task, 'completed');
INSERT INTO webhook_secrets (task_id, sealed) VALUES (:task, '\x736563726574');
INSERT INTO runs (id, kind, owner, trigger, chat_id, input, state, is_ready, max_attempts, result, usage, cost,
finished_at) VALUES (:run, 'turn', 'ann', 'exchange', 1, :odd, 'completed', false, 3, :odd, '{"requests": 1}',
0.000000001, now());
INSERT INTO runs (id, kind, owner, trigger, chat_id, input, state, is_ready, max_attempts)
VALUES (:live, 'turn', 'ann', 'exchange', 1, '{}', 'queued', true, 3);
INSERT INTO run_events (run_id, seq, chat_id, type, data) VALUES (:run, 1, 1, 'run_completed', :odd),
(:live, 1, 1, 'run_queued', '{}');
INSERT INTO messages (chat_id, role, content, status, run_id) VALUES (1, 'user', '', 'complete', :run);
INSERT INTO messages (chat_id, role, content, status, run_id, question_id, in_prompt, branch)
SELECT 1, 'assistant', 'answer ' || n, 'complete', :run, 1, n % 2 = 0, n % 3 FROM generate_series(1, 450) AS n;
INSERT INTO messages (chat_id, role, content, status, run_id) VALUES (1, 'user', 'wait', 'pending', :live);
INSERT INTO attachment_blobs (digest, size_bytes, content)
SELECT sha256(it), length(it), it FROM (SELECT convert_to(repeat('\x00é' || n, 100000), 'UTF8') AS it
FROM generate_series(1, 5) AS n) AS made;
INSERT INTO attachments (id, owner, digest, name, media_type, size_bytes)
SELECT gen_random_uuid(), 'ann', digest, E'K\u00e4se "1".txt', 'text/plain', size_bytes FROM attachment_blobs;
UPDATE messages SET attachments = '[{"id": "x",   "name": "K\u00e4se"}]' WHERE id = 1;
INSERT INTO memories (owner, digest, text, tags, search)
VALUES ('ann', sha256('cats'), 'likes, "cats"', '{"a b","c,d"}', to_tsvector('english', 'likes cats'));
INSERT INTO agent_notes (owner, thread, name, revision, document) VALUES ('ann', 'chat:1', 'todo', 3, :odd)
"""


async def fill(database: Database) -> None:
    values = {"odd": ODD, "task": TASK, "other": OTHER_TASK, "run": RUN, "live": LIVE}
    async with database.engine.begin() as connection:
        for statement in FILL.split(";\n"):
            wanted = {name: value for name, value in values.items() if f":{name}" in statement}
            await connection.execute(text(statement), wanted)


async def wipe(database: Database) -> None:
    async with database.engine.begin() as connection:
        names = ", ".join(kept.table.name for kept in KEPT)
        await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


async def rows(database: Database) -> dict[str, list[str]]:
    """Every row there is, as PostgreSQL writes it, but for what is under way."""
    found = {}
    async with database.engine.connect() as connection:
        for name in (kept.table.name for kept in KEPT):
            lines = await connection.scalars(text(f"SELECT it::text FROM {name} AS it ORDER BY 1"))
            found[name] = [line for line in lines if str(LIVE) not in line]
    return found


@pytest.fixture
async def backups(database: Database) -> AsyncIterator[PostgresBackups]:
    yield PostgresBackups(database.begin, SystemClock())
    await wipe(database)  # what is under way would be worked on in the tests behind these


async def test_backed_up_wiped_and_restored_every_row_is_as_it_was(
    database: Database, backups: PostgresBackups, tmp_path: Path
) -> None:
    await fill(database)
    before = await rows(database)

    manifest = await backups.save(tmp_path / "all.zip", agents=["echo", "assistant"])
    await wipe(database)
    brought = await backups.bring_back(tmp_path / "all.zip")

    assert await rows(database) == before
    assert {name: len(found) for name, found in before.items()} == {
        "chats": 2, "chat_branches": 2, "tasks": 2, "task_dependencies": 1, "runs": 1, "run_events": 1,
        "messages": 451, "attachment_blobs": 5, "attachments": 5, "memories": 1, "agent_notes": 1,
    }  # fmt: skip
    assert {name: one.restored for name, one in brought.items()} == {
        name: one.rows for name, one in manifest.tables.items()
    }
    assert manifest.agents == ("assistant", "echo")
    assert await _added_chat(database) == 3  # ids are counted on behind those that came back


async def test_what_is_there_is_not_doubled_and_what_changed_since_stays(
    database: Database, backups: PostgresBackups, tmp_path: Path
) -> None:
    await fill(database)
    await backups.save(tmp_path / "all.zip", agents=[])
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE chats SET title = 'newer' WHERE id = 1"))
        await connection.execute(text("DELETE FROM messages WHERE id > 440"))
        await connection.execute(text("DELETE FROM tasks"))

    brought = await backups.bring_back(tmp_path / "all.zip")

    assert (brought["chats"].newer, brought["chats"].same) == (1, 1)
    assert (brought["messages"].restored, brought["messages"].same) == (11, 440)
    assert brought["tasks"].restored == 2
    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT title FROM chats WHERE id = 1")) == "newer"


async def test_what_came_anew_since_under_another_id_is_left_as_it_is(
    database: Database, backups: PostgresBackups, tmp_path: Path
) -> None:
    await fill(database)
    await backups.save(tmp_path / "all.zip", agents=[])
    async with database.engine.begin() as connection:
        again = "DELETE FROM memories RETURNING owner, digest, 'again', tags, search"
        columns = "owner, digest, text, tags, search"
        await connection.execute(text(f"WITH gone AS ({again}) INSERT INTO memories ({columns}) SELECT * FROM gone"))
        await connection.execute(text("DELETE FROM attachments"))
        await connection.execute(text("DELETE FROM attachment_blobs"))

    brought = await backups.bring_back(tmp_path / "all.zip")

    assert (brought["memories"].newer, brought["memories"].restored) == (1, 0)
    assert (brought["attachment_blobs"].restored, brought["attachments"].restored) == (5, 5)
    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT string_agg(text, ',') FROM memories")) == "again"


async def test_an_archive_of_another_database_changes_nothing(
    database: Database, backups: PostgresBackups, tmp_path: Path
) -> None:
    await fill(database)
    await backups.save(tmp_path / "all.zip", agents=[])
    await wipe(database)
    async with database.engine.begin() as connection:
        await connection.execute(text("INSERT INTO chats (user_id, metadata) VALUES ('carol', '{}')"))

    with pytest.raises(BackupOfOthers, match="chats 1 is something else here"):
        await backups.bring_back(tmp_path / "all.zip")

    assert {name: len(found) for name, found in (await rows(database)).items() if found} == {"chats": 1}


def _rewritten(file: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    broken = file.with_name("broken.zip")
    with zipfile.ZipFile(broken, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return broken


def _say(**fields: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), **fields}).encode()

    return change


def _lose_a_row(members: dict[str, bytes]) -> None:
    members["messages.jsonl"] = members["messages.jsonl"].partition(b"\n")[2]


def _change_a_row(members: dict[str, bytes]) -> None:
    members["chats.jsonl"] = members["chats.jsonl"].replace(b"ann", b"eve")


def _lose_a_table(members: dict[str, bytes]) -> None:
    del members["runs.jsonl"]


def _lose_the_manifest(members: dict[str, bytes]) -> None:
    del members[MANIFEST]


def _name_another_table(members: dict[str, bytes]) -> None:
    manifest = msgspec.json.decode(members[MANIFEST], type=Manifest)
    _say(tables=msgspec.to_builtins({"webhook_secrets": manifest.tables["task_dependencies"]}))(members)
    members["webhook_secrets.jsonl"] = members["task_dependencies.jsonl"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_say(format=2), "format 2; this version reads 1"),
        (_say(tables={"chats": {"rows": 0, "columns": ["id", "colour"], "sha256": "0"}}), "not what was written"),
        (_lose_a_row, "messages is not what was written"),
        (_change_a_row, "chats is not what was written"),
        (_lose_a_table, "runs cannot be read"),
        (_lose_the_manifest, "no manifest"),
        (_name_another_table, "webhook_secrets is no table of this version"),
    ],
    ids=["format", "columns", "row lost", "row changed", "table lost", "no manifest", "table"],
)
async def test_an_archive_that_is_not_what_it_says_is_refused(
    database: Database,
    backups: PostgresBackups,
    tmp_path: Path,
    change: Callable[[dict[str, bytes]], None],
    words: str,
) -> None:
    await fill(database)
    await backups.save(tmp_path / "all.zip", agents=[])
    await wipe(database)

    with pytest.raises(BackupUnusable, match=words):
        await backups.bring_back(_rewritten(tmp_path / "all.zip", change))

    assert not any((await rows(database)).values())


async def test_what_is_no_archive_is_refused(backups: PostgresBackups, tmp_path: Path) -> None:
    (tmp_path / "words.zip").write_text("words")

    with pytest.raises(BackupUnusable, match=r"words.zip is no archive"):
        await backups.bring_back(tmp_path / "words.zip")
    with pytest.raises(BackupNotFound):
        await backups.bring_back(tmp_path / "nothing.zip")


async def test_one_backup_is_made_at_a_time_and_one_that_fails_leaves_no_file(
    database: Database, backups: PostgresBackups, tmp_path: Path
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})

        with pytest.raises(BackupBusy):
            await backups.save(tmp_path / "all.zip", agents=[])

    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_no_secret_is_in_an_archive(database: Database, backups: PostgresBackups, tmp_path: Path) -> None:
    await fill(database)

    await backups.save(tmp_path / "all.zip", agents=[])

    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert not any(b"736563726574" in archive.read(name) for name in archive.namelist())
    assert (tmp_path / "all.zip").stat().st_mode & 0o077 == 0


async def _added_chat(database: Database) -> int:
    async with database.engine.begin() as connection:
        added = "INSERT INTO chats (user_id, metadata) VALUES ('dan', '{}') RETURNING id"
        return int(await connection.scalar(text(added)) or 0)
