"""Search one's own chats for words."""

from dataclasses import dataclass

from app.features.chats.domain.search import FoundChat, query_problems
from app.features.chats.ports import ChatSearch
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.paging import Page
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class SearchChats:
    """Find in one's own chats, never in anybody else's, whoever asks. Errors: ValidationFailed."""

    begin: Begin
    search: ChatSearch

    async def __call__(self, who: Principal, words: str, *, limit: int, offset: int) -> Page[FoundChat]:
        refuse_invalid(query_problems(words))
        async with self.begin() as tx:
            return await self.search.search(tx, words, owner=who.user_id, limit=limit, offset=offset)
