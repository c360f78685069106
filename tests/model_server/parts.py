"""What a model server is told to answer, whatever protocol it is asked in."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Think:
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` as text go out as they are, broken or not."""

    tool: str
    arguments: Mapping[str, object] | str = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)

    @property
    def halves(self) -> tuple[str, str]:
        middle = len(self.text) // 2
        return self.text[:middle], self.text[middle:]


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing more until `ModelServer.release`."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection breaks; or the answer ends as if it were over, without having said so."""

    is_clean: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error in the midst of a stream."""

    message: str = "overloaded"
    type: str = "server_error"


@dataclass(frozen=True, slots=True)
class Refuse:
    """The provider's filter ends the answer here."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A whole answer of any status; without a body it is the protocol's own. The SDK is told not to try again, so that
    no test waits for it.
    """

    status: int
    body: Mapping[str, object] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-should-retry": "false"})


type Part = str | Think | Call | Pause | Hold | Drop | Trouble | Refuse
type Reply = Failure | Sequence[Part]


def words(text: str) -> list[Part]:
    return [f" {word}" if position else word for position, word in enumerate(text.split(" "))]


def said(content: object) -> Iterator[str]:
    """Give the texts in a message's content, as any of the protocols writes them down."""
    match content:
        case str():
            yield content
        case [*blocks]:
            for block in blocks:
                yield from said(block)
        case {"text": str(text)} | {"content": str(text)} | {"output": str(text)}:
            yield text
        case {"parts": inner} | {"content": inner}:
            yield from said(inner)
