"""How long the first token takes: an exchange that streams, beside the same model called directly, turn by turn.

Facts
- The model answers at once, so what is measured is what Portico adds: the edge, the run's rows, a worker that takes it,
  the prompt, the request to the model, the first event committed and passed on.
- Who calls a model himself does it by a library: the goal is held against the library our agents use, in a process that
  does nothing else. The bare request on a socket beside it shows what the library takes of it.
- All of them alternate, each on a kept-alive connection, so that a busy machine slows all.
- Each turn has a chat of its own; one whose history grows is measured by `exchange`.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from bench.gateway import QUIET, running_gateway
from bench.issuer import Issuer
from bench.programs import free_port, running, wait_until_answers
from bench.system import Caller

TURNS = 200
WARM_UP = 20
GOAL_MS = 15.0
QUESTION = "Say hello to a benchmark."


@dataclass(frozen=True, slots=True)
class Turn:
    """In milliseconds, from sending the request: its first token, and its end."""

    first: float
    whole: float


def run() -> None:
    issuer = Issuer.generate()
    with _model_server() as url, running_gateway(issuer, environ=_environ(url)) as gateway:
        model, caller = _connection(url), Caller.open(gateway.url, issuer.token())
        with _Library.open(url) as library:
            for _ in range(WARM_UP):
                _three(model, library, caller)
            turns = [_three(model, library, caller) for _ in range(TURNS)]
    bare, called, exchanged = zip(*turns, strict=True)
    print(f"a bare request       {_shown(bare)}")
    print(f"by the library       {_shown(called)}")
    print(f"an exchange          {_shown(exchanged)}")
    added = _added(called, exchanged)
    verdict = "met" if added < GOAL_MS else "MISSED"
    print(f"added to the library's first token, at the median: {added:.2f} ms (goal: under {GOAL_MS:g} ms, {verdict})")
    print(f"added to the bare request's: {_added(bare, exchanged):.2f} ms")


def _three(model: HTTPConnection, library: "_Library", caller: Caller) -> tuple[Turn, Turn, Turn]:
    return _direct(model), library.ask(), _exchanged(caller)


def _added(alone: "tuple[Turn, ...]", through: "tuple[Turn, ...]") -> float:
    return statistics.median(one.first - other.first for other, one in zip(alone, through, strict=True))


@dataclass(frozen=True, slots=True)
class _Library:
    """The model as a program of one's own calls it: an agent without tools, made once."""

    runner: asyncio.Runner
    agent: Agent[None, str]

    @classmethod
    @contextmanager
    def open(cls, url: str) -> Iterator["_Library"]:
        model = OpenAIChatModel("stand-in", provider=OpenAIProvider(base_url=url, api_key="none"))
        with asyncio.Runner() as runner:
            yield cls(runner, Agent(model))

    def ask(self) -> Turn:
        return self.runner.run(self._ask())

    async def _ask(self) -> Turn:
        started, first = time.perf_counter(), 0.0
        async with self.agent.run_stream(QUESTION) as answer:
            async for _ in answer.stream_text(delta=True, debounce_by=None):
                first = first or time.perf_counter()
        return Turn((first - started) * 1000, (time.perf_counter() - started) * 1000)


@contextmanager
def _model_server() -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as folder:
        command = [sys.executable, "-m", "tests.model_server", str(port)]
        with running("model server", command, Path(folder) / "model.log") as program:
            wait_until_answers(program, f"http://127.0.0.1:{port}/v1/models")
            yield f"http://127.0.0.1:{port}/v1"


def _environ(url: str) -> dict[str, str]:
    return QUIET | {"DEFAULT_MODEL": "openai-chat:stand-in", "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}


def _connection(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=30)


def _direct(model: HTTPConnection) -> Turn:
    body = {"model": "stand-in", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    return _timed(model, "/v1/chat/completions", {}, body, sign=b'"content": "You')


def _exchanged(caller: Caller) -> Turn:
    chat_id = json.loads(caller.call("POST", "/api/v1/chats/", {}))["id"]
    headers = caller.headers | {"accept": "text/event-stream"}
    path = f"/api/v1/messages/{chat_id}/exchange"
    return _timed(caller.connection, path, headers, {"content": QUESTION}, sign=b"event: text_delta")


def _timed(connection: HTTPConnection, path: str, headers: dict[str, str], body: object, *, sign: bytes) -> Turn:
    """Send a request and read its stream to the end; the line that shows the first token begins or holds `sign`."""
    started = time.perf_counter()
    connection.request("POST", path, json.dumps(body).encode(), headers | {"content-type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {answer.read().decode(errors='replace')}")
    first = 0.0
    for line in iter(answer.readline, b""):
        if not first and sign in line:
            first = time.perf_counter()
    if not first:
        raise RuntimeError(f"{path}: the stream had no token")
    return Turn((first - started) * 1000, (time.perf_counter() - started) * 1000)


def _shown(turns: "tuple[Turn, ...]") -> str:
    first, whole = [turn.first for turn in turns], [turn.whole for turn in turns]
    p95 = statistics.quantiles(first, n=20)[18]
    return (
        f"first token: median {statistics.median(first):6.2f} ms, p95 {p95:6.2f} ms;"
        f" whole answer: median {statistics.median(whole):6.2f} ms"
    )
