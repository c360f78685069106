"""Whether this process was told to stop. Whoever serves hands it to the container, like its place (`worker.py`)."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Draining:
    """Whether this process was told to stop; once true it stays true.

    It is not ready any more then, and an answer ends its connection; requests are still taken, for a while. What would
    go on for as long as a client listens ends soon.
    Concurrency: `begin` and `wait` belong to the event loop's thread.
    """

    _begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    def begin(self) -> None:
        self._begun.set()

    async def wait(self) -> None:
        """Return when it has begun."""
        await self._begun.wait()
