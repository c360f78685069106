"""The server itself: which protocol a request is in, what it is answered with, and what became of its connection.

Facts it keeps to
- A streamed answer is a chunked body.
- A client that stops listening closes its connection: there is no other sign in HTTP/1.1.

Without a script it says "You said: " and the last thing the user said, word by word.
"""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

from tests.model_server.anthropic import Messages
from tests.model_server.dialects import Dialect, Taken, Tongue
from tests.model_server.gemini import GenerateContent
from tests.model_server.openai_chat import ChatCompletions
from tests.model_server.openai_responses import Responses
from tests.model_server.parts import Call, Drop, Failure, Hold, Part, Pause, Refuse, Reply, Think, Trouble, words

TONGUES: tuple[tuple[str, Tongue], ...] = (
    ("/groq/openai/v1/chat/completions", ChatCompletions("reasoning", is_groq=True)),
    ("/ollama/v1/chat/completions", ChatCompletions("reasoning")),
    ("/chat/completions", ChatCompletions()),
    ("/responses", Responses()),
    ("/v1/messages", Messages()),
    (":streamGenerateContent", GenerateContent()),
    (":generateContent", GenerateContent()),
)
"""By the end of a path; the first that fits."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}  # providers have some that are in no register


@dataclass(slots=True)
class Request:
    """One request as it came, and how it went; times of `time.monotonic`, which processes of a machine share."""

    body: dict[str, Any]  # Any: JSON of a client
    headers: Mapping[str, str]
    arrived_s: float
    path: str = "/v1/chat/completions"
    sent: list[str] = field(default_factory=list)
    ended_s: float | None = None
    is_aborted: bool = False

    @property
    def tongue(self) -> Tongue:
        return next(tongue for end, tongue in TONGUES if self.path.partition("?")[0].endswith(end))

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Who said what, oldest first, in any protocol."""
        return self.tongue.messages(self.body)

    @property
    def last_user_text(self) -> str:
        said = [text for role, text in self.messages if role == "user"]
        return said[-1] if said else ""

    @property
    def is_streamed(self) -> bool:
        return bool(self.body.get("stream")) or ":streamGenerateContent" in self.path


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
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where OpenAI's protocols are spoken."""
        return f"{self.root}/v1"

    @property
    def aborted(self) -> list[Request]:
        """List the requests whose client left before their answer was whole."""
        return [request for request in self.requests if request.is_aborted]

    def script(self, *replies: Reply) -> None:
        """Add answers, one for each request to come."""
        self._script.extend(replies)

    def begin_afresh(self) -> None:
        """Forget what was asked and what was to be answered."""
        self.requests.clear()
        self._script.clear()

    @property
    def is_scripted(self) -> bool:
        """Tell whether there are answers left."""
        return bool(self._script)

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
            self._whole(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})
            return
        path = first.split(" ")[1]
        self._request = Request(json.loads(rest[:length]), headers, time.monotonic(), path)
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
            body = request.tongue.failure(reply.status) if reply.body is None else reply.body
            self._whole(reply.status, body, reply.headers)
        elif request.is_streamed:
            await self._stream(request, reply)
        else:
            await self._complete(request, reply)
        if request.ended_s is None:
            request.ended_s = time.monotonic()

    def _whole(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-type": "application/json", "content-length": str(len(encoded)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._transport.write(f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n{head}\r\n".encode() + encoded)

    async def _stream(self, request: Request, parts: Sequence[Part]) -> None:
        answer = request.tongue.answer(request.body, request.path)
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self._write(answer.begin())
        for number, part in enumerate(parts):
            match part:
                case Drop():
                    self._leave(request, part)
                    return
                case Trouble():
                    self._write(answer.trouble(part))
                    break
                case Refuse():
                    self._write(answer.end(self._taken(request), is_refused=True))
                    break
                case _:
                    await self._say(request, answer, part, number)
        else:
            self._write(answer.end(self._taken(request), is_refused=False))
        self._transport.write(b"0\r\n\r\n")

    async def _say(
        self, request: Request, answer: Dialect, part: str | Think | Call | Pause | Hold, number: int
    ) -> None:
        match part:
            case str():
                request.sent.append(part)
                self._write(answer.say(part))
            case Think(text):
                self._write(answer.think(text))
            case Call():
                self._write(answer.call(part, f"call_{len(self._server.requests)}_{number}"))
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

    def _write(self, text: str) -> None:
        data = text.encode()
        if data:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _taken(self, request: Request) -> Taken:
        asked = sum(len(text.split()) for _, text in request.messages)
        return Taken(asked, len(request.sent), is_told=self._server.gives_usage)

    async def _complete(self, request: Request, parts: Sequence[Part]) -> None:
        for part in parts:
            match part:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Hold():
                    await self._server.held()
                case str():
                    request.sent.append(part)
        answer = request.tongue.answer(request.body, request.path)
        self._whole(200, answer.whole("".join(request.sent), self._taken(request)))
