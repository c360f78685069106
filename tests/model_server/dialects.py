"""What a protocol is to the server: how a request is read, and what is written for each part of an answer."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from tests.model_server.parts import Call, Trouble


class Dialect(Protocol):
    """One answer. What its methods give is written to the stream as it is; an empty text is nothing at all."""

    def begin(self) -> str: ...

    def say(self, text: str) -> str: ...

    def think(self, text: str) -> str: ...

    def call(self, call: Call, call_id: str) -> str: ...

    def trouble(self, trouble: Trouble) -> str: ...

    def end(self, usage: "Taken", *, is_refused: bool) -> str: ...

    def whole(self, text: str, usage: "Taken") -> object: ...


class Taken:
    """What an answer took, in words, so that a test can count it, too."""

    def __init__(self, asked: int, said: int, *, is_told: bool = True) -> None:
        self.asked = asked
        self.said = said
        self.is_told = is_told


class Tongue(Protocol):
    """A protocol as the server finds it by the path of a request."""

    # Any: JSON of a client, here and below
    def answer(self, body: dict[str, Any], path: str) -> Dialect: ...

    def messages(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        """Give who said what, oldest first, the instructions among them."""
        ...

    def failure(self, status: int) -> Mapping[str, object]: ...


def event(data: object, *, name: str = "", end: str = "\n") -> str:
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {json.dumps(data)}{end}{end}"
