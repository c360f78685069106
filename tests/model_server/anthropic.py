"""Anthropic's Messages.

Facts it keeps to
- Events are named: `message_start` with the usage of what was asked, then blocks one after the other, each with
  `content_block_start`, deltas and `content_block_stop`, then `message_delta` with the stop reason and the usage of
  what was said, and `message_stop`. `ping`s may come in between.
- Deltas are `text_delta`, `thinking_delta` followed by one `signature_delta`, and `input_json_delta` of a `tool_use`.
- A refused answer has the stop reason `refusal`.
- Errors are `{"type": "error", "error": {"type", "message"}}`, in the midst of a stream under the event `error`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.model_server.dialects import Dialect, Taken, event
from tests.model_server.parts import Call, Trouble, said

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Messages:
    def answer(self, body: dict[str, Any], path: str) -> Dialect:
        del path
        return _Answer(body["model"], sum(len(text.split()) for _, text in self.messages(body)))

    def messages(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        system = "".join(said(body.get("system") or ""))
        spoken = [(message["role"], "".join(said(message["content"]))) for message in body["messages"]]
        return [("system", system), *spoken] if system else spoken

    def failure(self, status: int) -> Mapping[str, object]:
        error = {"type": _TYPES.get(status, "api_error"), "message": f"failed with {status}"}
        return {"type": "error", "error": error, "request_id": "req_1"}


@dataclass(slots=True)
class _Answer:
    model: str
    asked: int
    _index: int = 0
    _open: str = ""
    _has_calls: bool = field(default=False)

    def begin(self) -> str:
        message = self._message([], None, {"input_tokens": self.asked, "output_tokens": 1})
        return _named("message_start", message=message) + _named("ping")

    def say(self, text: str) -> str:
        return self._in_block("text", {"text": ""}) + self._delta("text_delta", text=text)

    def think(self, text: str) -> str:
        block = {"thinking": "", "signature": ""}
        return self._in_block("thinking", block) + self._delta("thinking_delta", thinking=text)

    def call(self, call: Call, call_id: str) -> str:
        self._has_calls = True
        block = {"id": call_id, "name": call.tool, "input": {}}
        start = self._close() + self._in_block("tool_use", block)
        return start + "".join(self._delta("input_json_delta", partial_json=half) for half in call.halves)

    def trouble(self, trouble: Trouble) -> str:
        type_ = "overloaded_error" if "overloaded" in trouble.message else "api_error"
        return _named("error", error={"type": type_, "message": trouble.message})

    def end(self, usage: Taken, *, is_refused: bool) -> str:
        reason = "refusal" if is_refused else "tool_use" if self._has_calls else "end_turn"
        delta = {"stop_reason": reason, "stop_sequence": None}
        told = {"output_tokens": usage.said}
        return self._close() + _named("message_delta", delta=delta, usage=told) + _named("message_stop")

    def whole(self, text: str, usage: Taken) -> object:
        taken = {"input_tokens": usage.asked, "output_tokens": usage.said}
        return self._message([{"type": "text", "text": text}], "end_turn", taken)

    def _message(self, content: list[object], reason: str | None, usage: Mapping[str, int]) -> dict[str, object]:
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model}
        return {**head, "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}

    def _in_block(self, type_: str, block: Mapping[str, object]) -> str:
        if self._open == type_:
            return ""
        before, self._open = self._close(), type_
        return before + _named("content_block_start", index=self._index, content_block={"type": type_, **block})

    def _close(self) -> str:
        if not self._open:
            return ""
        signed = self._delta("signature_delta", signature="c2lnbmVk") if self._open == "thinking" else ""
        closed = signed + _named("content_block_stop", index=self._index)
        self._open, self._index = "", self._index + 1
        return closed

    def _delta(self, type_: str, **fields: str) -> str:
        return _named("content_block_delta", index=self._index, delta={"type": type_, **fields})


def _named(name: str, **fields: object) -> str:
    return event({"type": name, **fields}, name=name)
