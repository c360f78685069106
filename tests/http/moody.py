"""An agent that does what its message says: fails, times out, or thinks until the test lets it go."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType

from dishka import Provider, Scope

from app.agents.contract import AgentFailed, AgentTimedOut, ModelNotConfigured, ModelUnavailable, Turn
from app.agents.factory import AgentFactory
from app.agents.front_door import FrontDoorUnavailable

PATIENCE_S = 20
SECRET = "postgresql://admin:hunter2@db/prod"

_FAILURES: dict[str, Callable[[], Exception]] = {
    "break": lambda: RuntimeError(f"could not connect to {SECRET}"),
    "refuse": lambda: AgentFailed("The agent refused.", evidence={"provider_said": SECRET}),
    "dawdle": lambda: AgentTimedOut("The agent did not answer within 60 seconds."),
    "vanish": lambda: ModelUnavailable("The language model cannot be reached.", headers={"retry-after": "7"}),
    "forget": lambda: ModelNotConfigured("Set DEFAULT_MODEL."),
    "lose the way": lambda: FrontDoorUnavailable(evidence={"cause": SECRET}),
}


@dataclass
class Moody:
    """The gateway runs in a thread of its own, so what holds a turn is a thread's event, waited for off its loop."""

    name: str = "moody"
    is_asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    async def generate(self, turn: Turn) -> str:
        if turn.text in _FAILURES:
            failure = _FAILURES[turn.text]
            raise failure()
        if turn.text == "say nothing":
            return "  "
        if turn.text == "think":
            self.is_asked.set()
            await asyncio.to_thread(self.may_answer.wait, PATIENCE_S)
        earlier = " ".join(message.content for message in turn.history if message.role == "user")
        return f"{turn.text}, after: {earlier or 'nothing'}"

    def provider(self) -> Provider:
        """Make this the only agent there is."""
        provider = Provider(scope=Scope.APP)
        provider.provide(lambda: AgentFactory(MappingProxyType({self.name: self})), provides=AgentFactory)
        return provider
