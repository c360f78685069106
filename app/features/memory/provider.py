"""What the slice adds to the container. It asks others for `Begin`."""

from dishka import Provider, Scope, provide, provide_all

from app.agents.house import Memories, Notes
from app.features.memory.gate import KeptMemories, KeptNotes
from app.features.memory.ports import MemoryStore, NoteStore
from app.features.memory.repository import PostgresMemoryStore, PostgresNoteStore
from app.features.memory.use_cases.forget_memories import ForgetEverything, ForgetMemory
from app.features.memory.use_cases.list_memories import ListMemories


class MemoryStores(Provider):
    """Stores by port, so that a provider given after this one replaces them."""

    scope = Scope.APP

    memories = provide(PostgresMemoryStore, provides=MemoryStore)
    notes = provide(PostgresNoteStore, provides=NoteStore)


class MemoryProvider(Provider):
    """What is done for requests."""

    scope = Scope.APP

    use_cases = provide_all(ListMemories, ForgetMemory, ForgetEverything)


class MemoryAtWork(Provider):
    """What tools ask for, where runs are worked on."""

    scope = Scope.APP

    memories = provide(KeptMemories, provides=Memories)
    notes = provide(KeptNotes, provides=Notes)
