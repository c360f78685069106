"""OpenAI's chat completions, as OpenAI itself and those who took it over speak them.

Facts it keeps to
- A streamed answer is a `text/event-stream` of `chat.completion.chunk`s: the role, then deltas, then one with a
  `finish_reason`, then, if `stream_options.include_usage` asks for it, one with `usage` and no choices, and `[DONE]`.
- A tool call comes in pieces: first its id, name and no arguments, then the arguments as text.
- Thoughts are `reasoning_content` (llama.cpp, DeepSeek, Fireworks), or `reasoning` (Groq, Ollama).
- Groq gives the usage in `x_groq` of the last chunk, asked or not, and its paths begin with `/openai`.
- A refused answer has `content_filter` as its `finish_reason`.
- Errors are `{"error": {"message", "type", "code"}}`, also in the midst of a stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.model_server.dialects import Dialect, Taken, event
from tests.model_server.parts import Call, Trouble, said

_TYPES = {401: "invalid_request_error", 404: "invalid_request_error", 429: "requests", 500: "server_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def openai_failure(status: int) -> Mapping[str, object]:
    type_ = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": f"failed with {status}", "type": type_, "param": None, "code": _CODES.get(status)}}


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    thoughts_in: str = "reasoning_content"
    is_groq: bool = False

    def answer(self, body: dict[str, Any], path: str) -> Dialect:
        del path
        options = body.get("stream_options") or {}
        return _Answer(self, body["model"], wants_usage=bool(options.get("include_usage")))

    def messages(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        return [(message["role"], "".join(said(message.get("content")))) for message in body["messages"]]

    def failure(self, status: int) -> Mapping[str, object]:
        return openai_failure(status)


@dataclass(slots=True)
class _Answer:
    protocol: ChatCompletions
    model: str
    wants_usage: bool
    _calls: int = field(default=0)

    def begin(self) -> str:
        return self._delta({"role": "assistant", "content": ""})

    def say(self, text: str) -> str:
        return self._delta({"content": text})

    def think(self, text: str) -> str:
        return self._delta({self.protocol.thoughts_in: text})

    def call(self, call: Call, call_id: str) -> str:
        index, self._calls = self._calls, self._calls + 1
        function = {"name": call.tool, "arguments": ""}
        head = {"index": index, "id": call_id, "type": "function", "function": function}
        pieces = [{"index": index, "function": {"arguments": half}} for half in call.halves]
        return "".join(self._delta({"tool_calls": [piece]}) for piece in (head, *pieces))

    def trouble(self, trouble: Trouble) -> str:
        return event({"error": {"message": trouble.message, "type": trouble.type}}) + "data: [DONE]\n\n"

    def end(self, usage: Taken, *, is_refused: bool) -> str:
        reason = "content_filter" if is_refused else "tool_calls" if self._calls else "stop"
        taken = {"usage": _usage(usage)}
        is_told = usage.is_told and (self.wants_usage or self.protocol.is_groq)
        last = {"x_groq": {"id": "req_1", **taken}} if self.protocol.is_groq and is_told else {}
        after = self._chunk({"choices": [], **taken}) if is_told and not self.protocol.is_groq else ""
        return f"{self._delta({}, reason=reason, **last)}{after}data: [DONE]\n\n"

    def whole(self, text: str, usage: Taken) -> object:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        answer = {"id": "c-1", "object": "chat.completion", "created": 1, "model": self.model}
        return {**answer, "choices": [choice], "usage": _usage(usage)}

    def _delta(self, delta: object, *, reason: str | None = None, **more: object) -> str:
        return self._chunk({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more})

    def _chunk(self, fields: Mapping[str, object]) -> str:
        return event({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": self.model, **fields})


def _usage(usage: Taken) -> dict[str, int]:
    asked, said_ = usage.asked, usage.said
    return {"prompt_tokens": asked, "completion_tokens": said_, "total_tokens": asked + said_}
