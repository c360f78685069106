"""What all workers of one gateway measured, whichever of them is asked.

Every worker tells what it counted over a Unix socket in the folder that only they can enter; who is asked asks all the
others at once. One that is just being replaced, or is busy for too long, is missing from the sum, and that is said.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.infra.observability.health import NotWell
from app.infra.observability.metrics import Family, MetricSources, gauge, merged
from app.kernel.worker import WorkerPlace

ANSWER_TIMEOUT_S = 0.5
LIMIT_BYTES = 64 * 1024**2

_decoder = msgspec.msgpack.Decoder(list[Family])


@dataclass(frozen=True, slots=True)
class Siblings:
    """Concurrency: one per worker, of its event loop; `serve` runs in the background."""

    place: WorkerPlace
    sources: MetricSources = field(default_factory=MetricSources)

    async def serve(self) -> None:
        """Answer the others until cancelled; without siblings there is nobody to answer."""
        if self.place.folder is None:
            return
        # a worker that was killed has left its socket: asyncio removes it and takes its place
        server = await asyncio.start_unix_server(self._answer, _socket_of(self.place.folder, self.place.index))
        async with server:
            await server.serve_forever()

    async def read(self) -> list[Family]:
        """Read this worker's and the others' metrics as one. Cost: at most half a second of waiting."""
        others = await self._ask_all()
        answering = 1 + len(others)
        return [
            gauge("portico_workers", "Processes there should be.", self.place.total),
            gauge("portico_workers_answering", "Processes these numbers are the sum of.", answering),
            *merged([*self.sources.read(), *(family for families in others for family in families)]),
        ]

    async def check(self) -> str:
        """Tell how many workers answer. Errors: NotWell when some do not."""
        answering = 1 + len(await self._ask_all())
        words = f"worker {self.place.index}; {answering} of {self.place.total} answer"
        if answering < self.place.total:
            raise NotWell(words)
        return words

    async def _ask_all(self) -> Sequence[list[Family]]:
        folder = self.place.folder
        if folder is None:
            return ()
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(_ask(_socket_of(folder, index)))
                for index in range(self.place.total)
                if index != self.place.index
            ]
        return [families for task in asked if (families := task.result()) is not None]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader  # whoever connects wants the one thing there is
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                writer.write(msgspec.msgpack.encode(self.sources.read()))
                await writer.drain()
                writer.write_eof()
        except (TimeoutError, OSError):
            writer.transport.abort()
        finally:
            writer.close()


async def _ask(socket: Path) -> list[Family] | None:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket, limit=LIMIT_BYTES)
            try:
                return _decoder.decode(await reader.read())
            finally:
                writer.close()
    except (TimeoutError, OSError, msgspec.MsgspecError):
        return None


def _socket_of(folder: Path, index: int) -> Path:
    return folder / f"metrics-{index}.sock"
