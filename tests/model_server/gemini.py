"""Google's Gemini: `models/NAME:streamGenerateContent?alt=sse` and `:generateContent`.

Facts it keeps to
- The model's name stands in the path, and the answer has no events but its data: one `GenerateContentResponse` each,
  behind lines that end with CR LF. There is no mark for the end: the last has a `finishReason`.
- Thoughts are text parts with `thought`; a call comes whole, in one part, and finishes with `STOP` like a text.
- A refused prompt has `promptFeedback.blockReason` and no candidates; a refused answer the `finishReason` `SAFETY`.
- Errors are `{"error": {"code", "message", "status", "details"}}`, in the midst of a stream as one datum. How long
  to wait is said by a `google.rpc.RetryInfo` in the details, not by a header.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.model_server.dialects import Dialect, Taken, event
from tests.model_server.parts import Call, Trouble, said

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}


@dataclass(frozen=True, slots=True)
class GenerateContent:
    def answer(self, body: dict[str, Any], path: str) -> Dialect:
        del body
        return _Answer(path.rpartition("/")[2].partition(":")[0])

    def messages(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        system = "".join(said(body.get("systemInstruction") or ""))
        spoken = [(content.get("role", "user"), "".join(said(content))) for content in body["contents"]]
        return [("system", system), *spoken] if system else spoken

    def failure(self, status: int) -> Mapping[str, object]:
        details = [_RETRY_INFO] if status == 429 else []
        named = _STATUSES.get(status, "UNKNOWN")
        return {"error": {"code": status, "message": f"failed with {status}", "status": named, "details": details}}


@dataclass(slots=True)
class _Answer:
    model: str
    _has_said: bool = field(default=False)

    def begin(self) -> str:
        return ""

    def say(self, text: str) -> str:
        return self._part({"text": text})

    def think(self, text: str) -> str:
        return self._part({"text": text, "thought": True})

    def call(self, call: Call, call_id: str) -> str:
        del call_id  # only some models give one
        try:
            arguments = json.loads(call.text)
        except ValueError:
            return ""  # its server gives no call whose arguments are broken
        return self._part({"functionCall": {"name": call.tool, "args": arguments}})

    def trouble(self, trouble: Trouble) -> str:
        return event({"error": {"code": 503, "message": trouble.message, "status": "UNAVAILABLE"}}, end="\r\n")

    def end(self, usage: Taken, *, is_refused: bool) -> str:
        if is_refused and not self._has_said:
            return self._chunk(promptFeedback={"blockReason": "SAFETY"}, **_usage(usage))
        parts = {"content": {"parts": [{"text": ""}], "role": "model"}}
        reason = "SAFETY" if is_refused else "STOP"
        return self._chunk(candidates=[{**parts, "finishReason": reason, "index": 0}], **_usage(usage))

    def whole(self, text: str, usage: Taken) -> object:
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "modelVersion": self.model, "responseId": "r-1", **_usage(usage)}

    def _part(self, part: Mapping[str, object]) -> str:
        self._has_said = True
        return self._chunk(candidates=[{"content": {"parts": [part], "role": "model"}, "index": 0}])

    def _chunk(self, **fields: object) -> str:
        return event({**fields, "modelVersion": self.model, "responseId": "r-1"}, end="\r\n")


def _usage(usage: Taken) -> dict[str, object]:
    counted = {"promptTokenCount": usage.asked, "candidatesTokenCount": usage.said}
    return {"usageMetadata": {**counted, "totalTokenCount": usage.asked + usage.said}}
