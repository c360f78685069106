"""Several models as one: which of them is asked is said from outside, request by request (`model_step.py`).

The library's own `FallbackModel` decides by itself, within one request, and only until something was said; here each
try is reserved, settled and told of, so the decision is the step's. It is built on all the same: each member stands
behind one of its own, which prepares messages and settings for that member.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from app.agents.llm.fitting import shorten
from app.agents.llm.standing import Standing

ANSWER_SHARE = 4
"""what of a member's window is left for its answer, where it has no cap: a quarter"""

_CHOSEN: ContextVar["Link | None"] = ContextVar("model", default=None)


@dataclass(frozen=True, slots=True)
class Link:
    """A model of a chain, under the name it has in the settings."""

    name: str
    model: Model
    standing: Standing

    @property
    def calls_tools(self) -> bool:
        return bool(self.model.profile.get("supports_tools", True))

    @property
    def answer_tokens(self) -> int | None:
        return (self.model.settings or {}).get("max_tokens")


class ChainModel(FallbackModel):
    """Ask whichever member is `asked`, and the first where nobody says."""

    def __init__(self, models: Sequence[tuple[str, Model]], standing: Standing) -> None:
        super().__init__(*(model for _, model in models), fallback_on=_never)
        self.links = tuple(Link(name, model, standing) for name, model in models)
        self._alone = {name: FallbackModel(model, fallback_on=_never) for name, model in models}

    @cached_property
    def profile(self) -> ModelProfile:
        return self.models[0].profile

    @property
    def settings(self) -> ModelSettings | None:
        return self.models[0].settings

    @property
    def context_window(self) -> int | None:
        """The first's; what is too long for another is cut when that one is asked."""
        return self.models[0].context_window

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        link = self._link
        fitting = _fitting(link, messages)
        return await self._alone[link.name].request(fitting, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        # Any: the library's own, whatever the turn's dependencies are
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        link = self._link
        alone, fitting = self._alone[link.name], _fitting(link, messages)
        async with alone.request_stream(fitting, model_settings, model_request_parameters, run_context) as streamed:
            yield streamed

    @property
    def _link(self) -> Link:
        chosen = _CHOSEN.get()
        return chosen if chosen in self.links else self.links[0]


def links_of(model: Model, *, with_tools: bool) -> tuple[Link, ...]:
    """List the models behind one, in the order they are to be asked; with tools, only those that can call them."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    if not isinstance(model, ChainModel):
        return (Link(model.model_name, model, Standing([model.model_name])),)
    usable = {link.name: link for link in model.links if link.calls_tools or not with_tools}
    return tuple(usable[name] for name in model.links[0].standing.in_order() if name in usable)


@contextmanager
def asked(link: Link) -> Iterator[None]:
    """Let requests to its chain that are made in here go to this model."""
    token = _CHOSEN.set(link)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def _fitting(link: Link, messages: list[ModelMessage]) -> list[ModelMessage]:
    window = link.model.context_window
    if window is None:
        return messages
    return shorten(messages, limit_tokens=window - (link.answer_tokens or window // ANSWER_SHARE))


def _never(error: Exception) -> bool:
    del error
    return False
