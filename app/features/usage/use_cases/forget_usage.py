"""Forget what was spent long ago."""

from dataclasses import dataclass
from datetime import timedelta

from app.features.usage.ports import UsageStore
from app.kernel.clock import Clock


@dataclass(frozen=True, slots=True)
class ForgetUsage:
    """Remove what was spent on days longer ago than `keep`."""

    usage: UsageStore
    clock: Clock
    keep: timedelta

    async def __call__(self) -> None:
        await self.usage.forget(before=(self.clock.now() - self.keep).date())
