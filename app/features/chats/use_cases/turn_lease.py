"""The lease of a chat's turn, as a use case holds it: taken in one transaction, renewed while others work."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn
from uuid import UUID

from app.features.chats.domain.message import TurnLost
from app.features.chats.ports import TurnStore
from app.kernel.errors import Unavailable
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class TurnLease:
    """`length` is how long a chat stays blocked after a crash; two renewals may fail before the lease is in danger."""

    begin: Begin
    turns: TurnStore
    length: timedelta = timedelta(seconds=30)
    renew_every_s: float = 8

    async def take(self, tx: Tx, chat_id: ChatId, turn_id: UUID) -> bool:
        return await self.turns.take(tx, chat_id, turn_id, lease=self.length)

    async def end(self, tx: Tx, chat_id: ChatId, turn_id: UUID) -> bool:
        return await self.turns.end(tx, chat_id, turn_id)

    async def keep_during[T](self, chat_id: ChatId, turn_id: UUID, work: Awaitable[T]) -> T:
        """Wait for `work` while renewing the lease; cancel it as soon as the turn is lost.

        Errors: TurnLost; whatever `work` raises, as it is.
        """
        try:
            async with asyncio.TaskGroup() as group:
                renewal = group.create_task(self._keep(chat_id, turn_id))
                try:
                    return await work
                finally:
                    renewal.cancel()
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
        # outside the handler: the group would become the context of one of its own members
        raise first

    async def _keep(self, chat_id: ChatId, turn_id: UUID) -> NoReturn:
        while True:
            await asyncio.sleep(self.renew_every_s)
            # a database that is away for a moment costs one renewal; the fence in the last transaction decides
            with suppress(Unavailable):
                await self._renew(chat_id, turn_id)

    async def _renew(self, chat_id: ChatId, turn_id: UUID) -> None:
        async with self.begin() as tx:
            is_ours = await self.turns.renew(tx, chat_id, turn_id, lease=self.length)
        if not is_ours:
            raise TurnLost
