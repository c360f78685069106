"""OpenAI's Chat Completions as bytes: what a client may ask, what it is answered, whole or in pieces. Pure.

Facts (OpenAI API reference, "Chat"; and what its clients do)
- A stream is server-sent events of `data:` alone; the first piece holds the role, the last a `finish_reason`, and
  behind it comes `[DONE]`. With `stream_options.include_usage` a piece without choices tells the usage, before that.
- `{"error": {...}}` as a piece makes the official clients raise; behind it nothing is read.
- The official clients send a request again, twice, on 408, 409, 429 and 5xx, unless `x-should-retry: false` says that
  it would come to the same.
- Thinking is no part of OpenAI's own answers; others tell it as `reasoning_content`, which clients show.
- Fields that say how a model is to sample, or what to keep, are taken and mean nothing here: an agent has a model of
  its own. What would change the form of the answer is refused, so that nobody waits for what never comes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from app.infra.wire import sse
from app.infra.wire.problems import ProblemAnswer, status_of
from app.kernel.errors import Fault, FieldError, Kind

MAX_MESSAGES = 2_000
DONE = sse.event("[DONE]")
_encoder = msgspec.json.Encoder()

type Text = Annotated[str, Meta(max_length=1_000_000)]


class Part(Struct, frozen=True):
    type: str
    text: Text | None = None


class Message(Struct, frozen=True):
    """`developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Sequence[Part] | None = None
    tool_calls: Sequence[Mapping[str, object]] | None = None


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class ResponseFormat(Struct, frozen=True):
    type: str


class ChatRequest(Struct, frozen=True):
    model: Annotated[str, Meta(min_length=1, max_length=255)]
    messages: Annotated[Sequence[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: Sequence[Mapping[str, object]] | None = None
    tool_choice: str | Mapping[str, object] | None = None
    functions: Sequence[Mapping[str, object]] | None = None
    response_format: ResponseFormat | None = None
    stop: str | Sequence[str] | None = None
    logprobs: bool | None = None
    modalities: Sequence[str] | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def problems(self) -> Iterator[FieldError]:
        """Tell what is asked for that is not done here, by the name of its field."""
        has_tools = bool(self.tools or self.functions)
        if has_tools and self.tool_choice != "none":
            words = "is not taken: the agents here have tools of their own; leave it out"
            yield FieldError("tools" if self.tools else "functions", words)
        if self.n not in (None, 1):
            yield FieldError("n", "must be 1: an agent answers once")
        if self.response_format is not None and self.response_format.type != "text":
            yield FieldError("response_format", "must be of the type text; ask for the form in words")
        if self.stop:
            yield FieldError("stop", "is not taken: cut the answer where it is read")
        if self.logprobs:
            yield FieldError("logprobs", "are not known here")
        if self.modalities and list(self.modalities) != ["text"]:
            yield FieldError("modalities", "must be text alone")
        for number, message in enumerate(self.messages):
            yield from _message_problems(f"messages[{number}]", message)
        last = self.messages[-1]
        if last.role != "user" or not words_of(last).strip():
            yield FieldError(f"messages[{len(self.messages) - 1}]", "must be the user's, and say something")


def _message_problems(name: str, message: Message) -> Iterator[FieldError]:
    if message.role in {"tool", "function"} or message.tool_calls:
        yield FieldError(name, "is about calls of tools, which are not taken: an agent makes its own")
    if not isinstance(message.content, str | None):
        for part in message.content:
            if part.type != "text" or part.text is None:
                yield FieldError(f"{name}.content", f"has a part of the type {part.type[:40]}; parts are text here")
                return


def words_of(message: Message) -> str:
    """Join what a message says; of nothing it is ""."""
    if isinstance(message.content, str):
        return message.content
    return "\n\n".join(part.text or "" for part in message.content or ())


@dataclass(frozen=True, slots=True)
class Spent:
    input_tokens: int = 0
    output_tokens: int = 0

    def as_json(self) -> dict[str, int]:
        both = self.input_tokens + self.output_tokens
        return {"prompt_tokens": self.input_tokens, "completion_tokens": self.output_tokens, "total_tokens": both}


@dataclass(frozen=True, slots=True)
class Head:
    """What every answer to one request says; `created` is in seconds since the epoch."""

    id: str
    created: int
    model: str


def completion(head: Head, text: str, spent: Spent) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    told = _told(head, "chat.completion")
    return _encoder.encode({**told, "choices": [choice], "usage": spent.as_json()})


def piece(head: Head, delta: Mapping[str, str], *, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _event({**_told(head, "chat.completion.chunk"), "choices": [choice]})


def usage_piece(head: Head, spent: Spent) -> bytes:
    return _event({**_told(head, "chat.completion.chunk"), "choices": [], "usage": spent.as_json()})


def error_piece(message: str, *, code: str) -> bytes:
    return _event({"error": {"message": message, "type": "server_error", "param": None, "code": code}})


def models(names: Sequence[str]) -> bytes:
    return _encoder.encode({"object": "list", "data": [_model(name) for name in names]})


def model(name: str) -> bytes:
    return _encoder.encode(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "portico"}


def _told(head: Head, kind: str) -> dict[str, object]:
    return {"id": head.id, "object": kind, "created": head.created, "model": head.model}


def _event(value: Mapping[str, object]) -> bytes:
    return sse.event(_encoder.encode(value).decode())


# ---- refusals

_CODES: Mapping[str, str] = {
    "agent-not-found": "model_not_found",
    "budget-exhausted": "insufficient_quota",
    "turn-too-long": "context_length_exceeded",
    "rate-limited": "rate_limit_exceeded",
}
_HELPED_BY_TIME = frozenset({Kind.UNAVAILABLE, Kind.RATE_LIMITED})


def refusal_of(fault: Fault) -> ProblemAnswer:
    """Turn a fault into the error its clients know, with the status it has anywhere."""
    status = status_of(fault)
    code = "invalid_api_key" if fault.kind is Kind.UNAUTHENTICATED else _CODES.get(fault.type, fault.reason)
    error = {
        "message": _words(fault),
        "type": _type(status, code),
        "param": fault.errors[0].field or None if fault.errors else None,
        "code": code,
    }
    headers = {"content-type": "application/json", **fault.headers}
    if fault.kind is Kind.UNAUTHENTICATED:
        headers.setdefault("www-authenticate", "Bearer")
    if fault.kind not in _HELPED_BY_TIME or code == "insufficient_quota":
        headers["x-should-retry"] = "false"
    return ProblemAnswer(status, headers, _encoder.encode({"error": error}))


def _type(status: int, code: str) -> str:
    if code == "insufficient_quota":
        return code
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def _words(fault: Fault) -> str:
    flaws = "; ".join(f"{one.field} {one.message}".strip() for one in fault.errors)
    return f"{fault.detail or fault.title} {flaws}".strip()
