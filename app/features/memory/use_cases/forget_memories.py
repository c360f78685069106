"""Forget what is remembered of a person, one thing or all of it."""

from dataclasses import dataclass

from app.features.memory.domain import MemoryNotFound
from app.features.memory.ports import MemoryStore
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ForgetMemory:
    """Errors: MemoryNotFound, also for what is somebody else's."""

    begin: Begin
    store: MemoryStore

    async def __call__(self, who: Principal, memory_id: int) -> None:
        async with self.begin() as tx:
            if not await self.store.forget(tx, who.user_id, memory_id):
                raise MemoryNotFound


@dataclass(frozen=True, slots=True)
class ForgetEverything:
    begin: Begin
    store: MemoryStore

    async def __call__(self, who: Principal) -> int:
        async with self.begin() as tx:
            return await self.store.forget_all(tx, who.user_id)
