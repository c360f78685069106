"""What a turn keeps of a model: steps as JSON that every database stores, messages of bounded size.

Rule: what is kept is what is gone on with, in the process that did it as in one that comes after: values are made
storable before anybody sees them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic_ai.durable_exec import JSON_CODEC, DurabilityCodec
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    TextPart,
    UserPromptPart,
)
from pydantic_core import to_json

from app.agents.contract import TurnUnreadable
from app.agents.llm.fitting import has_question
from app.agents.turns import Usage
from app.agents.work import sayable, storable
from app.kernel.values import Json

FORMAT = 1
"""Of kept steps; a program that writes them differently counts on."""

MESSAGES_LIMIT_BYTES = 128 * 1024
_CUTS_CHARS = (16 * 1024, 2 * 1024, 200)

_RESPONSE: TypeAdapter[ModelResponse] = TypeAdapter(ModelResponse)


class StrictCodec(DurabilityCodec):
    """The library's JSON, storable; what cannot be read any more ends the turn instead of looking like a bad answer."""

    # Any: whatever the library keeps
    def dump(self, tp: Any, value: Any) -> Any:
        return storable(JSON_CODEC.dump(tp, value))

    def load(self, tp: Any, payload: Any) -> Any:
        try:
            return JSON_CODEC.load(tp, payload)
        except (ValidationError, ValueError, TypeError, LookupError) as error:
            raise unreadable(error) from error


def unreadable(cause: object) -> TurnUnreadable:
    return TurnUnreadable(
        "The turn was begun by another version of the program; what that one wrote down cannot be gone on with.",
        evidence={"cause": str(cause)[:300]},
    )


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """What a model request came to; `payload` is None where the provider found the prompt too long.

    `model` is the one that was asked last, "" where an earlier version of the program wrote this.
    """

    payload: Json
    usage: Usage
    model: str = ""


def write_response(response: KeptResponse, *, conversation: str) -> Json:
    usage = response.usage
    taken = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "requests": usage.requests,
        "cost": None if usage.cost is None else str(usage.cost),
    }
    return {
        "format": FORMAT,
        "conversation": conversation,
        "response": response.payload,
        "usage": taken,
        "model": response.model,
    }


def read_response(kept: Json, *, conversation: str) -> KeptResponse:
    """Errors: TurnUnreadable, also where the conversation before it has come out differently this time."""
    try:
        read = msgspec.convert(kept, _Written)
    except msgspec.ValidationError as error:
        raise unreadable(error) from error
    if read.format != FORMAT:
        raise unreadable(f"format {read.format}")
    if read.conversation != conversation:
        raise unreadable("another conversation before the request")
    taken = read.usage
    usage = Usage(taken.input_tokens, taken.output_tokens, requests=taken.requests, cost=taken.cost)
    return KeptResponse(read.response, usage, read.model)


class _WrittenUsage(msgspec.Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    requests: int
    cost: Decimal | None


class _Written(msgspec.Struct, frozen=True):
    format: int
    conversation: str
    response: Any
    usage: _WrittenUsage
    model: str = ""


def load_response(payload: Json) -> ModelResponse:
    try:
        return _RESPONSE.validate_python(payload)
    except ValidationError as error:
        raise unreadable(error) from error


def digest(messages: Sequence[ModelMessage]) -> str:
    """Digest what was said and done since the turn's question, without what differs each time: times, ids of runs."""
    since = max((at for at, message in enumerate(messages) if has_question(message)), default=0)
    told = [[_facts(part) for part in message.parts] for message in messages[since:]]
    return hashlib.sha256(to_json(told, fallback=repr)).hexdigest()[:32]


def _facts(part: object) -> list[object]:
    """What is the same each time: the id of a call is kept with it; where there was no call, it is drawn anew.

    A file of the question stands for itself by its id: its content never changes.
    """
    facts = [getattr(part, name, None) for name in ("part_kind", "content", "args", "tool_name")]
    if isinstance(part, UserPromptPart) and not isinstance(part.content, str):
        facts[1] = [piece.identifier if isinstance(piece, BinaryContent) else piece for piece in part.content]
    return [*facts, getattr(part, "tool_call_id", None) if facts[-1] else None]


def answer_of(response: ModelResponse) -> str:
    """Give what a response adds to the answer, as its deltas did."""
    return sayable("".join(part.content for part in response.parts if isinstance(part, TextPart)))


def bounded(messages: Iterable[ModelMessage]) -> Json:
    """Give the messages as JSON within MESSAGES_LIMIT_BYTES: long texts are cut, and none given if that does not do."""
    written: Json = storable(ModelMessagesTypeAdapter.dump_python(list(messages), mode="json"))
    for limit in _CUTS_CHARS:
        if len(to_json(written)) <= MESSAGES_LIMIT_BYTES:
            return written
        written = _cut(written, limit)
    return written if len(to_json(written)) <= MESSAGES_LIMIT_BYTES else []


def _cut(value: Json, limit: int) -> Json:
    match value:
        case str():
            return value if len(value) <= limit else value[:limit] + "…"
        case Mapping():
            return {key: _cut(item, limit) for key, item in value.items()}
        case list():
            return [_cut(item, limit) for item in value]
        case _:
            return value
