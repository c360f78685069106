"""List runs."""

from dataclasses import dataclass

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.infra.durable.ports import RunState
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ListRuns:
    """List one's own runs, the newest first; for an admin somebody else's, too, but never everybody's at once.

    Errors: Forbidden, when somebody else's are asked for.
    """

    begin: Begin
    runs: RunStore

    async def __call__(
        self, who: Principal, query: ListQuery, *, owner: UserId | None = None, status: RunState | None = None
    ) -> Page[Run]:
        if owner not in (None, who.user_id) and not who.is_admin:
            raise Forbidden("Only an admin may see somebody else's runs.")
        async with self.begin() as tx:
            return await self.runs.list_of_owner(tx, query, owner=owner or who.user_id, status=status)
