"""Clients that branch one chat at once, an agent that keeps what it was shown, and what must be so afterwards."""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx
from dishka import Provider, Scope
from sqlalchemy import text

from app.agents.contract import Turn
from app.agents.factory import AgentFactory
from app.features.chats.domain.branch import Departure, Position
from app.infra.db.engine import Database, DatabaseOptions
from tests.conftest import SCHEMA
from tests.http.calls import Json, as_, history

PATIENCE_S = 60
# an answer to a question that was deleted, or whose branch has no room in the line, is none
TAKEN = frozenset({200, 201, 202, 204})
REFUSED = frozenset({404, 409})


@dataclass
class Witness:
    """An agent whose answers differ, and which knows of each what it was shown before."""

    name: str = "witness"
    shown: dict[str, Sequence[str]] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def generate(self, turn: Turn) -> str:
        answer = f"answer {next(self._numbers)} to {turn.text}"
        self.shown[answer] = [message.content for message in turn.history]
        await asyncio.sleep(0)
        return answer

    def provider(self) -> Provider:
        provider = Provider(scope=Scope.APP)
        provider.provide(lambda: AgentFactory(MappingProxyType({self.name: self})), provides=AgentFactory)
        return provider


@dataclass
class Client:
    """One of those who share an owner's chat; notes what it was promised."""

    number: int
    url: str
    owner: str
    chat_id: int
    seed: int
    is_wild: bool
    """whether it deletes and clears, after which nobody knows what a turn was shown"""
    messages: set[int] = field(default_factory=set)
    """that were answered with"""
    asking: set[str] = field(default_factory=set)
    """runs that were begun with a question of their own"""
    asking_again: set[str] = field(default_factory=set)
    """runs that were begun to answer one anew"""
    forks: list[tuple[int, int]] = field(default_factory=list)
    """a message, and the chat that was forked there"""
    odd: list[str] = field(default_factory=list)

    def work(self, acts: int) -> None:
        chance = random.Random(f"{self.seed}/{self.number}")
        verbs = ["exchange"] * 4 + ["queue"] * 3 + ["edit"] * 4 + ["regenerate"] * 4 + ["select"] * 3 + ["fork"]
        verbs += ["delete", "delete", "clear"] if self.is_wild else []
        with httpx.Client(base_url=self.url, timeout=PATIENCE_S, headers=as_(self.owner)) as http:
            for act in range(acts):
                self._do(http, chance, chance.choice(verbs), f"{self.number}-{act}")

    def _do(self, http: httpx.Client, chance: random.Random, verb: str, words: str) -> None:
        options = {"on_busy": "queue"} if verb == "queue" or chance.random() < 0.7 else {}
        options |= {"run_mode": "background"} if chance.random() < 0.4 else {}
        if verb in {"exchange", "queue"}:
            path = f"/api/v1/messages/{self.chat_id}/exchange"
            self._note(http.post(path, json={"content": words, **options}))
            return
        if verb == "clear":
            call = {"name": "clear_chat", "arguments": {"chat_id": self.chat_id}}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
            self._note(http.post("/mcp", json=body, headers={"accept": "application/json, text/event-stream"}))
            return
        found = http.get(f"/api/v1/chats/{self.chat_id}/messages?branches=all&limit=100").json()["items"]
        if not found:
            return
        message = chance.choice(found)["id"]
        path = f"/api/v1/messages/{message}"
        if verb == "delete":
            self._note(http.delete(path))
        elif verb in {"select", "fork"}:
            answer = self._note(http.post(f"{path}/{verb}"))
            if verb == "fork" and answer.status_code == 201:
                self.forks.append((message, answer.json()["id"]))
        else:
            self._note(http.post(f"{path}/{verb}", json={**({"content": words} if verb == "edit" else {}), **options}))

    def _note(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code not in TAKEN | REFUSED:
            self.odd.append(f"{answer.request.url.path}: {answer.status_code} {answer.text[:200]}")
        if "location" in answer.headers and answer.is_success:
            runs = self.asking_again if "regenerate" in answer.request.url.path else self.asking
            runs.add(answer.headers["location"].rpartition("/")[2])
        if answer.status_code == 201 and isinstance(answer.json(), list):
            self.messages |= {message["id"] for message in answer.json()}
        return answer


@dataclass(frozen=True)
class Line:
    """A message as the database has it."""

    id: int
    role: str
    content: str
    branch: int
    question: int | None
    run: str | None
    status: str
    in_prompt: bool
    is_deleted: bool

    @property
    def position(self) -> Position:
        return Position(self.question or self.id, self.id)

    @property
    def is_shown(self) -> bool:
        return self.in_prompt and self.status == "complete" and not self.is_deleted


@dataclass(frozen=True)
class Tree:
    lines: Mapping[int, Line]
    departures: Mapping[int, Departure]
    branches: int

    def path(self, branch: int) -> list[Line]:
        """Everything on a branch's path, deleted or not."""
        departure = self.departures.get(branch)
        above = [] if departure is None else self.path(departure.parent)
        kept = [line for line in above if departure is not None and line.position < departure.until]
        own = sorted((line for line in self.lines.values() if line.branch == branch), key=lambda line: line.position)
        return [*kept, *own]


async def read_tree(dsn: str, chat_id: int) -> Tree:
    database = Database(DatabaseOptions(dsn=dsn, schema=SCHEMA))
    values = {"chat": chat_id}
    async with database.engine.connect() as connection:
        lines = await connection.execute(
            text(
                "SELECT id, role, content, branch, question_id, run_id::text, status, in_prompt, "
                "deleted_at IS NOT NULL FROM messages WHERE chat_id = :chat"
            ),
            values,
        )
        left = await connection.execute(
            text("SELECT number, parent, until_place, until_id FROM chat_branches WHERE chat_id = :chat"), values
        )
        branches = await connection.scalar(text("SELECT branches FROM chats WHERE id = :chat"), values)
        tree = Tree(
            {row[0]: Line(*row) for row in lines},
            {row[0]: Departure(row[1], Position(row[2], row[3])) for row in left},
            int(branches or 0),
        )
    await database.aclose()
    return tree


def rush(
    url: str, owner: str, chat_id: int, *, seed: int, is_wild: bool, acts: int, clients: int = 3
) -> Sequence[Client]:
    """Have the clients work at the same time, and wait until every turn is over."""
    crew = [Client(number, url, owner, chat_id, seed, is_wild) for number in range(clients)]
    threads = [threading.Thread(target=client.work, args=(acts,)) for client in crew]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    with httpx.Client(base_url=url, timeout=PATIENCE_S, headers=as_(owner)) as http:
        for run in set[str]().union(*(client.asking | client.asking_again for client in crew)):
            _wait_for(http, run)
    return crew


def _wait_for(http: httpx.Client, run: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while http.get(f"/api/v1/runs/{run}").json()["status"] in {"queued", "running", "waiting"}:
        assert time.monotonic() < end, f"the run {run} does not end"
        time.sleep(0.02)


def check_paths(tree: Tree) -> None:
    """Every branch leaves one that was there before it, and every path is a linear history."""
    assert set(tree.departures) == set(range(1, tree.branches + 1))
    assert {line.branch for line in tree.lines.values()} <= set(range(tree.branches + 1))
    for branch in range(tree.branches + 1):
        departure = tree.departures.get(branch)
        assert departure is None or departure.parent < branch
        path = tree.path(branch)
        positions = [line.position for line in path]
        assert positions == sorted(set(positions)), f"branch {branch} is no line"
        seen: set[int] = set()
        for line in path:
            assert line.question is None or line.question in seen, f"{line} stands without its question"
            seen.add(line.id)


def check_kept(tree: Tree, crew: Sequence[Client], *, is_exact: bool) -> None:
    """What was answered with is there, and of each run its question and, unless that was deleted, its answer."""
    asked = {line.run for line in tree.lines.values() if line.question is None}
    answered = {line.run for line in tree.lines.values() if line.question is not None}
    for client in crew:
        assert client.odd == []
        assert client.messages <= set(tree.lines)
        assert client.asking <= asked
        assert not is_exact or client.asking | client.asking_again <= answered


def check_shown(tree: Tree, shown: Mapping[str, Sequence[str]], *, is_exact: bool) -> int:
    """Each answer was made of the path before its question; tell how many were compared."""
    answers = [line for line in tree.lines.values() if line.question is not None]
    for answer in answers:
        before = [one for one in tree.path(answer.branch) if one.position.place < (answer.question or 0)]
        told = shown[answer.content]
        if is_exact:
            assert told == [one.content for one in before if one.is_shown], f"of branch {answer.branch}: {answer}"
        wanted = [one for one in before if one.is_shown]
        while wanted and wanted[0].role != "user":  # a history begins with a turn
            wanted.pop(0)
        assert set(told) >= {one.content for one in wanted}, f"{answer} was shown too little"
        places = [one.content for one in before]
        assert told == [content for content in places if content in set(told)], f"{answer} was shown something else"
    return len(answers)


def check_served(http: httpx.Client, owner: str, chat_id: int, tree: Tree) -> None:
    """What the endpoint lists of each branch is its path."""
    for branch in range(tree.branches + 1):
        own = [line for line in tree.path(branch) if line.branch == branch and not line.is_deleted]
        if own:
            chosen = http.post(f"/api/v1/messages/{own[0].id}/select", headers=as_(owner))
            assert chosen.json()["branch"] == branch
            listed = _all_of(http, owner, chat_id)
            alive = sorted(line.id for line in tree.path(branch) if not line.is_deleted)
            assert [message["id"] for message in listed] == alive
            for message in listed:
                assert message["versions"] == [] or message["id"] in message["versions"] or not message["in_prompt"]


def _all_of(http: httpx.Client, owner: str, chat_id: int) -> list[Json]:
    found = history(http, owner, chat_id)
    while len(found) % 50 == 0 and found:
        path = f"/api/v1/chats/{chat_id}/messages?after={found[-1]['id']}"
        more = http.get(path, headers=as_(owner)).json()["items"]
        if not more:
            break
        found += more
    return found


def check_forks(dsn: str, tree: Tree, crew: Sequence[Client]) -> None:
    """A copy is a line of what stood on the path to its message; late answers and deletions may be missing in it."""
    for client in crew:
        for message, fork in client.forks:
            copy = asyncio.run(read_tree(dsn, fork))
            check_paths(copy)
            assert copy.branches == 0
            line = tree.lines[message]
            upto = [one.content for one in tree.path(line.branch) if one.position <= line.position]
            said = [one.content for one in copy.path(0)]
            assert said[-1] == line.content
            assert said == [content for content in upto if content in set(said)]
            assert [one.id for one in copy.path(0)] == sorted(copy.lines)
