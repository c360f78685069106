"""Agents that answer from a script, remember what they were asked, and can be held while they think."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.agents.contract import ALONE, UNMETERED, AgentCard, AgentNotFound, Turn
from app.agents.errands import Errands
from app.agents.turns import Journal, Said, Spending, TurnEvent, Usage

REQUEST = Usage(requests=1)

type Reply = str | BaseException | Callable[[Turn], str]


@dataclass
class ScriptedAgents:
    """Gives one reply per turn, word by word, for one request, then echoes. After `hold()` it waits for `release()`."""

    replies: list[Reply] = field(default_factory=list)
    names: tuple[str, ...] = ("echo", "support")
    asked: list[tuple[str, Turn]] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._may_answer.set()

    @property
    def default_name(self) -> str:
        return self.names[0]

    def hold(self) -> None:
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def cards(self) -> Sequence[AgentCard]:
        return [AgentCard(name, f"the agent {name}", is_healthy=True, health="ok") for name in self.names]

    def card(self, name: str) -> AgentCard:
        for card in self.cards():
            if card.name == name:
                return card
        raise AgentNotFound(f"There is no agent {name!r}.")

    async def answer(
        self,
        name: str,
        turn: Turn,
        *,
        journal: Journal,
        timeout_s: float,
        spending: Spending = UNMETERED,
        errands: Errands = ALONE,
    ) -> Said:
        del errands
        self.card(name)
        self.asked.append((name, turn))
        self.timeouts_s.append(timeout_s)
        self.is_asked.set()
        await spending.reserve(f"{len(self.asked)}", REQUEST)
        await self._may_answer.wait()
        reply = self.replies.pop(0) if self.replies else turn.text
        if isinstance(reply, BaseException):
            raise reply
        text = reply if isinstance(reply, str) else reply(turn)
        for piece in _words(text):
            await journal.tell(TurnEvent("text_delta", {"request": 1, "text": piece}))
        await spending.settle(f"{len(self.asked)}", REQUEST, model="scripted")
        return Said(text, REQUEST, "scripted", [{"said": text}])

    @property
    def last_turn(self) -> Turn:
        return self.asked[-1][1]


def _words(text: str) -> list[str]:
    return [f" {word}" if position else word for position, word in enumerate(text.split(" "))]
