"""A model server that speaks OpenAI's chat completions, streamed and whole, as it is told to: for everything that talks
to a model over HTTP. Runs in a thread of its own, or as a program: `python -m tests.model_server PORT`.

Facts it keeps to
- A streamed answer is a chunked `text/event-stream` of `chat.completion.chunk`s: the role, then deltas, then one with
  a `finish_reason`, then, if `stream_options.include_usage` asks for it, one with `usage` and no choices, and `[DONE]`.
- A tool call comes in pieces: first its id, name and no arguments, then the arguments as text.
- Thoughts are `reasoning_content`, as llama.cpp, DeepSeek and others send them.
- A client that stops listening closes its connection: there is no other sign in HTTP/1.1.

Without a script it says "You said: " and the last thing the user said, word by word.
"""

import asyncio
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Think:
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` as text go out as they are, broken or not."""

    tool: str
    arguments: Mapping[str, object] | str = field(default_factory=dict)


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
class Failure:
    """A whole answer of any status, as it is. The SDK is told not to try again, so that no test waits for it."""

    status: int
    body: Mapping[str, object] | bytes = field(default_factory=lambda: {"error": {"message": "no"}})
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-should-retry": "false"})


type Part = str | Think | Call | Pause | Hold | Drop | Trouble
type Reply = Failure | Sequence[Part]


@dataclass(slots=True)
class Request:
    """One request as it came, and how it went; times of `time.monotonic`, which processes of a machine share."""

    body: dict[str, Any]  # Any: JSON of a client
    headers: Mapping[str, str]
    arrived_s: float
    sent: list[str] = field(default_factory=list)
    ended_s: float | None = None
    is_aborted: bool = False

    @property
    def last_user_text(self) -> str:
        said = [message["content"] for message in self.body["messages"] if message["role"] == "user"]
        return str(said[-1]) if said else ""


class ModelServer:
    """Concurrency: scripted, released and read from any thread."""

    def __init__(self, *, gives_usage: bool = True) -> None:
        self.requests: list[Request] = []
        self.gives_usage = gives_usage
        self.port = 0
        self.answer_with: Callable[[Request], Reply] = echo
        self.connections: set[asyncio.Transport] = set()
        self._script: deque[Reply] = deque()
        self._loop = asyncio.new_event_loop()
        self._may_go_on = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def aborted(self) -> list[Request]:
        """List the requests whose client left before their answer was whole."""
        return [request for request in self.requests if request.is_aborted]

    def script(self, *replies: Reply) -> None:
        """Add answers, one for each request to come."""
        self._script.extend(replies)

    def release(self) -> None:
        """Let every `Hold`, those to come among them, go on."""
        self._loop.call_soon_threadsafe(self._may_go_on.set)

    def hold_again(self) -> None:
        """Let every `Hold` to come wait for the next release."""
        self._loop.call_soon_threadsafe(self._may_go_on.clear)

    def awaits(self, condition: Callable[[], bool], *, within_s: float = 10) -> bool:
        """Wait, in a thread that may block, until it is so; False when it never was."""
        end = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def next_reply(self, request: Request) -> Reply:
        return self._script.popleft() if self._script else self.answer_with(request)

    async def held(self) -> None:
        await self._may_go_on.wait()

    def run(self, port: int = 0, is_up: threading.Event | None = None) -> None:
        """Serve until `stop`."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(port, is_up))
        finally:
            self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self, port: int, is_up: threading.Event | None) -> None:
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        if is_up:
            is_up.set()
        await self._stopped.wait()
        server.close()
        for transport in list(self.connections):
            transport.abort()


@contextmanager
def running_model_server(*, gives_usage: bool = True) -> Iterator[ModelServer]:
    server = ModelServer(gives_usage=gives_usage)
    is_up = threading.Event()
    thread = threading.Thread(target=server.run, kwargs={"is_up": is_up}, name="model server", daemon=True)
    thread.start()
    assert is_up.wait(10)
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)


def echo(request: Request) -> Reply:
    return words(f"You said: {request.last_user_text}")


def words(text: str) -> list[Part]:
    return [f" {word}" if position else word for position, word in enumerate(text.split(" "))]


class _Connection(asyncio.Protocol):
    """One request after the other; requests are well-formed, for they come from SDKs."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._buffer = b""
        self._request: Request | None = None
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        if first.startswith("GET "):
            self._whole(HTTPStatus.OK, {"object": "list", "data": [{"id": "m", "object": "model"}]})
            return
        self._request = Request(json.loads(rest[:length]), headers, time.monotonic())
        self._server.requests.append(self._request)
        self._answering = asyncio.get_running_loop().create_task(self._answer(self._request))

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self._transport)
        if self._answering and not self._answering.done():
            self._answering.cancel()
            if self._request and self._request.ended_s is None:
                self._request.is_aborted = True
                self._request.ended_s = time.monotonic()

    async def _answer(self, request: Request) -> None:
        reply = self._server.next_reply(request)
        if isinstance(reply, Failure):
            self._whole(HTTPStatus(reply.status), reply.body, reply.headers)
        elif request.body.get("stream"):
            await self._stream(request, reply)
        else:
            await self._complete(request, reply)
        if request.ended_s is None:
            request.ended_s = time.monotonic()

    def _whole(self, status: HTTPStatus, body: object, headers: Mapping[str, str] | None = None) -> None:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-type": "application/json", "content-length": str(len(encoded)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + encoded)

    async def _stream(self, request: Request, parts: Sequence[Part]) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self._event(request, _delta({"role": "assistant", "content": ""}))
        calls = count()
        for part in parts:
            if isinstance(part, Drop):
                self._leave(request, part)
                return
            if isinstance(part, Trouble):
                self._send({"error": {"message": part.message, "type": part.type}})
                break
            await self._say(request, part, calls)
        else:
            self._finish(request, has_calls=next(calls) > 0)
        self._write(b"data: [DONE]\n\n")
        self._transport.write(b"0\r\n\r\n")

    async def _say(self, request: Request, part: str | Think | Call | Pause | Hold, calls: Iterator[int]) -> None:
        match part:
            case str():
                request.sent.append(part)
                self._event(request, _delta({"content": part}))
            case Think(text):
                self._event(request, _delta({"reasoning_content": text}))
            case Call(tool, arguments):
                index = next(calls)
                function: dict[str, str] = {"name": tool, "arguments": ""}
                call_id = f"call_{len(self._server.requests)}_{index}"
                self._event(
                    request,
                    _delta({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}),
                )
                text = arguments if isinstance(arguments, str) else json.dumps(arguments)
                for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
                    self._event(request, _delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Hold():
                await self._server.held()

    def _leave(self, request: Request, drop: Drop) -> None:
        request.ended_s = time.monotonic()
        if drop.is_clean:
            self._transport.write(b"0\r\n\r\n")
        else:
            self._transport.close()  # what was written goes out, the end of the body never comes

    def _finish(self, request: Request, *, has_calls: bool) -> None:
        self._event(request, _delta({}, finish_reason="tool_calls" if has_calls else "stop"))
        if self._server.gives_usage and (request.body.get("stream_options") or {}).get("include_usage"):
            self._event(request, {"choices": [], "usage": _usage(request)})

    def _event(self, request: Request, fields: Mapping[str, object]) -> None:
        model = request.body["model"]
        self._send({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": model, **fields})

    def _send(self, data: object) -> None:
        self._write(f"data: {json.dumps(data)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def _complete(self, request: Request, parts: Sequence[Part]) -> None:
        for part in parts:
            match part:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Hold():
                    await self._server.held()
                case str():
                    request.sent.append(part)
        message = {"role": "assistant", "content": "".join(request.sent)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = {"id": "c-1", "object": "chat.completion", "created": 1, "model": request.body["model"]}
        self._whole(HTTPStatus.OK, {**answer, "choices": [choice], "usage": _usage(request)})


def _delta(delta: object, *, finish_reason: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _usage(request: Request) -> dict[str, int]:
    """Count words, so that a test can, too."""
    asked = sum(len(str(message.get("content") or "").split()) for message in request.body["messages"])
    said = len(request.sent)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


if __name__ == "__main__":
    ModelServer().run(int(sys.argv[1]))
