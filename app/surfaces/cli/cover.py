"""The sockets of a worker's siblings: it accepts from those whose own worker does not, until that one does again."""

import socket
from collections.abc import Callable, Iterable, Mapping

from app.surfaces.cli.acceptor import Acceptor


class Cover:
    """Concurrency: one loop. What is wanted is said at any time, and brought about by the next `bring_about`."""

    def __init__(self, siblings: Mapping[int, socket.socket]) -> None:
        self._siblings = dict(siblings)
        self._wanted: frozenset[int] = frozenset()
        self._covering: dict[int, tuple[Acceptor, socket.socket]] = {}

    @property
    def listening(self) -> list[socket.socket]:
        return [one for _, one in self._covering.values()]

    def want(self, indexes: Iterable[int]) -> None:
        self._wanted = frozenset(indexes) & self._siblings.keys()

    def bring_about(self, enter: Callable[[socket.socket, object], None]) -> None:
        for index in self._covering.keys() - self._wanted:
            self._leave(index)
        for index in self._wanted - self._covering.keys():
            one = self._siblings[index].dup()
            self._covering[index] = Acceptor(one, enter), one

    def close(self) -> None:
        """Let go of all of them, so that only their own workers keep them open."""
        self._wanted = frozenset()
        for index in list(self._covering):
            self._leave(index)
        while self._siblings:
            self._siblings.popitem()[1].close()

    def _leave(self, index: int) -> None:
        acceptor, one = self._covering.pop(index)
        acceptor.close()
        one.close()
