"""The stores of webhooks in memory, held by the contract tests of the real ones; no rollback takes anything back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from app.features.tasks.domain.webhook import MAX_LIVE_SECRETS, Delivered, KeptSecret
from app.kernel.ids import TaskId
from app.kernel.transaction import Tx

type Now = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class FakeSecretStore:
    kept: dict[TaskId, list[KeptSecret]] = field(default_factory=dict)
    now: Now = _now

    async def put(self, tx: Tx, task_id: TaskId, sealed: bytes, *, overlap_s: float) -> None:
        until = self.now() + timedelta(seconds=overlap_s)
        former = [
            replace(one, expires_at=until if one.expires_at is None else min(until, one.expires_at))
            for one in await self.live(tx, task_id)
        ]
        self.kept[task_id] = [KeptSecret(sealed), *former][:MAX_LIVE_SECRETS]

    async def live(self, tx: Tx, task_id: TaskId) -> Sequence[KeptSecret]:
        kept = self.kept.get(task_id, [])
        return [one for one in kept if one.expires_at is None or one.expires_at > self.now()]


@dataclass
class FakeDeliveryStore:
    kept: list[tuple[datetime, Delivered]] = field(default_factory=list)
    now: Now = _now

    async def take(self, tx: Tx, new: Delivered) -> Delivered | None:
        of_task = [one for _, one in self.kept if one.task_id == new.task_id]
        same_key = [one for one in of_task if one.key == new.key]
        same_proof = [one for one in of_task if new.proof is not None and one.proof == new.proof]
        earlier = next(iter((*same_key, *same_proof)), None)
        if earlier is None:
            self.kept.append((self.now(), new))
        return earlier

    async def settle(self, tx: Tx, done: Delivered) -> None:
        self.kept = [
            (at, replace(one, run_id=done.run_id, skipped=done.skipped))
            if (one.task_id, one.key) == (done.task_id, done.key)
            else (at, one)
            for at, one in self.kept
        ]

    async def count(self, tx: Tx, task_id: TaskId, *, within_s: float) -> int:
        since = self.now() - timedelta(seconds=within_s)
        return sum(one.task_id == task_id and at > since for at, one in self.kept)

    async def sweep(self, tx: Tx, *, older_than_days: int) -> int:
        before = len(self.kept)
        since = self.now() - timedelta(days=older_than_days)
        self.kept = [(at, one) for at, one in self.kept if at >= since]
        return before - len(self.kept)
