"""Keep the secrets of webhooks so that signatures can be checked with them, and nobody else reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.tasks.domain.webhook import name_of, new_secret
from app.features.tasks.ports import SecretStore
from app.kernel.ids import TaskId
from app.kernel.sealing import Seal
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class KeepSecret:
    """Errors: SealBroken from every method."""

    secrets: SecretStore
    seal: Seal

    async def put(self, tx: Tx, task_id: TaskId, *, secret: str | None = None, overlap_s: float = 0) -> str:
        """Make a secret the present one, a new one of ours unless it is given; tell it."""
        plain = new_secret() if secret is None else secret
        sealed = self.seal.close(plain.encode(), what=name_of(task_id))
        await self.secrets.put(tx, task_id, sealed, overlap_s=overlap_s)
        return plain

    async def read(self, tx: Tx, task_id: TaskId) -> Sequence[str]:
        """Give all secrets that hold now, the present one first."""
        kept = await self.secrets.live(tx, task_id)
        return [self.seal.open(one.sealed, what=name_of(task_id)).decode() for one in kept]
