"""OpenAI's Responses.

Facts it keeps to
- Events are named and numbered: `response.created`, `response.in_progress`, then items one after the other, and
  `response.completed` with the whole response and its usage. There is no `[DONE]`.
- An item is `response.output_item.added`, its deltas, and `response.output_item.done`. A message's text stands in
  content parts, a call's arguments come as text, and of thoughts there is a summary in parts.
- A refused answer is `response.incomplete` for the reason `content_filter`.
- An error in the midst is the event `error`, or `response.failed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.model_server.dialects import Dialect, Taken, event
from tests.model_server.openai_chat import openai_failure
from tests.model_server.parts import Call, Trouble, said


@dataclass(frozen=True, slots=True)
class Responses:
    def answer(self, body: dict[str, Any], path: str) -> Dialect:
        del path
        return _Answer(body["model"])

    def messages(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        system = body.get("instructions") or ""
        items = [{"role": "user", "content": body["input"]}] if isinstance(body["input"], str) else body["input"]
        spoken = [(item.get("role", "tool"), "".join(said(item))) for item in items]
        return [("system", system), *spoken] if system else spoken

    def failure(self, status: int) -> Mapping[str, object]:
        return openai_failure(status)


@dataclass(slots=True)
class _Answer:
    model: str
    _sequence: int = 0
    _output: list[dict[str, Any]] = field(default_factory=list)
    _open: dict[str, Any] | None = None

    def begin(self) -> str:
        created = self._response("in_progress")
        return self._event("response.created", response=created) + self._event("response.in_progress", response=created)

    def say(self, text: str) -> str:
        before = ""
        if self._kind != "message":
            item = {"type": "message", "role": "assistant", "content": []}
            before = self._add(item)
            before += self._in_part("response.content_part.added", part=_text(""))
            self._item["content"] = [_text("")]
        self._item["content"][0]["text"] += text
        return before + self._in_part("response.output_text.delta", delta=text, logprobs=[])

    def think(self, text: str) -> str:
        before = ""
        if self._kind != "reasoning":
            before = self._add({"type": "reasoning", "summary": []})
            self._item["summary"] = [{"type": "summary_text", "text": ""}]
            before += self._in_summary("response.reasoning_summary_part.added", part=self._item["summary"][0])
        self._item["summary"][0]["text"] += text
        return before + self._in_summary("response.reasoning_summary_text.delta", delta=text)

    def call(self, call: Call, call_id: str) -> str:
        item = {"type": "function_call", "call_id": call_id, "name": call.tool}
        added = self._add({**item, "arguments": ""})
        name = "response.function_call_arguments"
        pieces = "".join(self._in_item(f"{name}.delta", delta=half) for half in call.halves)
        self._item["arguments"] = call.text
        return added + pieces + self._in_item(f"{name}.done", arguments=call.text, name=call.tool)

    def trouble(self, trouble: Trouble) -> str:
        return self._event("error", code=trouble.type, message=trouble.message, param=None)

    def end(self, usage: Taken, *, is_refused: bool) -> str:
        closed = self._close()
        if is_refused:
            why = {"incomplete_details": {"reason": "content_filter"}}
            return closed + self._event("response.incomplete", response=self._response("incomplete", usage, **why))
        return closed + self._event("response.completed", response=self._response("completed", usage))

    def whole(self, text: str, usage: Taken) -> object:
        self.say(text)
        self._close()
        return self._response("completed", usage)

    @property
    def _index(self) -> int:
        return len(self._output)

    @property
    def _item(self) -> dict[str, Any]:
        assert self._open is not None
        return self._open

    @property
    def _kind(self) -> str:
        return str(self._open["type"]) if self._open else ""

    def _add(self, item: dict[str, Any]) -> str:
        closed = self._close()
        self._open = {"id": f"item_{self._index}", **item, "status": "in_progress"}
        return closed + self._event("response.output_item.added", output_index=self._index, item=self._open)

    def _close(self) -> str:
        if self._open is None:
            return ""
        before = ""
        if self._kind == "message":
            part = self._item["content"][0]
            before = self._in_part("response.output_text.done", text=part["text"], logprobs=[])
            before += self._in_part("response.content_part.done", part=part)
        if self._kind == "reasoning":
            part = self._item["summary"][0]
            before = self._in_summary("response.reasoning_summary_text.done", text=part["text"])
            before += self._in_summary("response.reasoning_summary_part.done", part=part)
        item, self._open = {**self._item, "status": "completed"}, None
        done = self._event("response.output_item.done", output_index=self._index, item=item)
        self._output.append(item)
        return before + done

    def _in_item(self, event_name: str, /, **fields: object) -> str:
        return self._event(event_name, item_id=self._item["id"], output_index=self._index, **fields)

    def _in_part(self, name: str, /, **fields: object) -> str:
        return self._in_item(name, content_index=0, **fields)

    def _in_summary(self, name: str, /, **fields: object) -> str:
        return self._in_item(name, summary_index=0, **fields)

    def _event(self, type_: str, /, **fields: object) -> str:
        number, self._sequence = self._sequence, self._sequence + 1
        return event({"type": type_, "sequence_number": number, **fields}, name=type_)

    def _response(self, status: str, usage: Taken | None = None, **more: object) -> dict[str, object]:
        head = {"id": "resp_1", "object": "response", "created_at": 1, "model": self.model, "status": status}
        rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None}
        return {**head, **rest, "output": self._output, "usage": _usage(usage), "incomplete_details": None, **more}


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Taken | None) -> dict[str, object] | None:
    if usage is None:
        return None
    details = {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    asked, told = usage.asked, usage.said
    return {"input_tokens": asked, "output_tokens": told, "total_tokens": asked + told, **details}
