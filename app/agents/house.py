"""What is at hand for the tools of any agent: colleagues, skills, notes, and what is remembered of a person.

The words and ports of them: skills are read by `skills/`, notes and memories are kept by `features/memory`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.kernel.ids import UserId
from app.kernel.values import Json

NOTE_LIMIT_BYTES = 16 * 1024
MEMORY_LIMIT_CHARS = 2_000
MEMORIES_LIMIT = 1_000
"""of one person"""
TAGS_LIMIT = 10
TAG_LIMIT_CHARS = 64
DEPTH_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Skill:
    """A way of doing something, written down in Markdown: `text` is what an agent reads that is to go by it.

    As an errand it is done by `agent` (None: whoever hands it on), with `model` in place of that one's own, and with
    `tools` alone where there are any; `parts` are further texts that are read one by one. `where` is its file.
    """

    name: str
    description: str
    text: str
    agent: str | None = None
    model: str | None = None
    tools: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A small document of JSON; `revision` counts its changes, 0 where there is none yet."""

    revision: int = 0
    document: Json = None


class NoteStale(Exception):
    """Somebody else wrote the note since it was read; `note` is what it says now."""

    def __init__(self, note: Note) -> None:
        super().__init__(f"the note is at revision {note.revision}")
        self.note = note


class Notes(Protocol):
    """What agents write down for later turns of the same thread. Errors: StorageUnavailable."""

    async def read(self, owner: UserId, thread: str, name: str) -> Note: ...

    async def write(self, owner: UserId, thread: str, name: str, document: Json, *, over: int | None) -> Note:
        """Put a document in the place of revision `over`; None: of whatever there is.

        The same document over the same revision again is written already. Errors: NoteStale, JsonTooLarge.
        """
        ...


@dataclass(frozen=True, slots=True)
class Memory:
    """Something that is remembered of a person beyond a chat."""

    id: int
    text: str
    tags: Sequence[str]
    created_at: datetime


class MemoryFull(Exception):
    """So much is remembered of a person that something has to be forgotten first."""


class Memories(Protocol):
    """What is remembered of each person, who may read and delete all of it. Errors: StorageUnavailable."""

    async def remember(self, owner: UserId, text: str, tags: Sequence[str]) -> Memory:
        """Remember a text, once: what is remembered already gets the tags that are new. Errors: MemoryFull."""
        ...

    async def recall(self, owner: UserId, query: str, *, limit: int) -> Sequence[Memory]:
        """Give those that share words with the query, the best first; without one, the newest."""
        ...

    async def forget(self, owner: UserId, memory_id: int) -> bool:
        """Tell whether there was such a one."""
        ...


class _NoNotes:
    async def read(self, owner: UserId, thread: str, name: str) -> Note:
        del owner, thread, name
        return Note()

    async def write(self, owner: UserId, thread: str, name: str, document: Json, *, over: int | None) -> Note:
        del owner, thread, name, over
        return Note(0, document)


class _NoMemories:
    async def remember(self, owner: UserId, text: str, tags: Sequence[str]) -> Memory:
        del owner, text, tags
        raise MemoryFull

    async def recall(self, owner: UserId, query: str, *, limit: int) -> Sequence[Memory]:
        del owner, query, limit
        return ()

    async def forget(self, owner: UserId, memory_id: int) -> bool:
        del owner, memory_id
        return False


@dataclass(frozen=True, slots=True)
class House:
    """`agents` are descriptions by name. `depth_limit` is how many runs may be begun below one another."""

    agents: Mapping[str, str] = field(default_factory=dict)
    skills: Mapping[str, Skill] = field(default_factory=dict)
    notes: Notes = field(default_factory=_NoNotes)
    memories: Memories = field(default_factory=_NoMemories)
    depth_limit: int = DEPTH_LIMIT
