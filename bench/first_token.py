"""How long the first token takes: an exchange that streams, beside the same model called directly, turn by turn.

Facts
- The model answers at once, so what is measured is what Portico adds: the edge, the run's rows, a worker that takes it,
  the prompt, the request to the model, the first event committed and passed on.
- Direct and gateway calls alternate, each on a kept-alive connection, so that a busy machine slows both.
- Each turn has a chat of its own; one whose history grows is measured by `exchange`.
"""

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
        for _ in range(WARM_UP):
            _direct(model)
            _exchanged(caller)
        pairs = [(_direct(model), _exchanged(caller)) for _ in range(TURNS)]
    direct, exchanged = zip(*pairs, strict=True)
    print(f"the model itself  {_shown(direct)}")
    print(f"an exchange       {_shown(exchanged)}")
    added = statistics.median(through.first - alone.first for alone, through in pairs)
    verdict = "met" if added < GOAL_MS else "MISSED"
    print(f"added before the first token, at the median: {added:.2f} ms (goal: under {GOAL_MS:g} ms, {verdict})")


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
