"""Calls that wait for a person: held back, put together, made once as approved, refused as denied."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from app.agents.approvals.desk import Asker, NewRequest, Status, digest_of, wait_key
from app.agents.approvals.guard import AskFirst, Unattended
from app.agents.contract import Offer, Risk, ToolContext, Turn, tool
from app.agents.rules import Rule, ask, deny
from app.agents.runner import AgentRunner
from app.agents.tools.interceptors import Interceptors
from app.agents.turns import Said
from app.features.approvals.domain import Approval, Ruling
from app.features.approvals.gate import PostedApprovals
from app.features.approvals.ports import Wanted
from app.kernel.ids import ApprovalId, ChatId, RunId, UserId, new_run_id
from app.kernel.transaction import Tx
from tests.builders import acting_principal
from tests.fakes.approvals import FakeApprovalStore
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import Died, FakeJournal, Waiting
from tests.fakes.ledger import no_transaction
from tests.model_server import Call, ModelServer, Part, Request
from tests.unit.agents.desk import a_desk, a_turn, an_agent, models_of
from tests.unit.agents.served import model_of


@dataclass
class Notes:
    told: list[Sequence[str]] = field(default_factory=list)

    async def approval_wanted(self, tx: Tx, asker: Asker, wanted: Sequence[Wanted]) -> None:
        self.told.append([one.request.tool for one in wanted])


@dataclass
class Stand:
    """An agent that may delete and read; who approves is the test. `done` is what was deleted, by its key."""

    server: ModelServer
    rules: tuple[Rule, ...] = ()
    of_agent: tuple[Rule, ...] = ()
    unattended: Unattended = Unattended.PARK
    life: timedelta = timedelta(hours=1)
    store: FakeApprovalStore = field(default_factory=FakeApprovalStore)
    notes: Notes = field(default_factory=Notes)
    calls: list[int] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    run_id: RunId = field(default_factory=new_run_id)

    @property
    def tools(self) -> list[Offer]:
        @tool(risk=Risk.DESTROYS)
        async def delete(ctx: ToolContext, number: int) -> str:
            """Delete a number."""
            self.calls.append(number)
            self.done.setdefault(ctx.idempotency_key, number)
            return f"deleted {number}"

        @tool(risk=Risk.READS)
        async def read(ctx: ToolContext) -> str:
            """Read."""
            return "nothing"

        return [delete, read]

    @property
    def turn(self) -> Turn:
        return a_turn("Delete it", caller=acting_principal(self.run_id, user_id="ann", agent="helper"))

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[AgentRunner]:
        desk = PostedApprovals(no_transaction, self.store, self.notes, self.life)
        guards = Interceptors(guards=(AskFirst(desk, self.rules, self.unattended),))
        agent = an_agent(tools=self.tools, approvals=self.of_agent)
        async with a_desk(
            agent, models=models_of(lambda _: model_of(self.server)), front_door=FakeFrontDoor(), interceptors=guards
        ) as desk_of_agents:
            yield desk_of_agents

    async def answer(self, journal: FakeJournal, *, turn: Turn | None = None) -> Said:
        async with self.desk() as desk:
            try:
                return await desk.answer("helper", turn or self.turn, journal=journal, timeout_s=30)
            except (Waiting, Died) as left:  # raised again when the desk is closed
                stopped = left
        raise stopped

    async def parked(self, journal: FakeJournal) -> str:
        """Work until the turn waits; give what it waits for."""
        with pytest.raises(Waiting) as waiting:
            await self.answer(journal)
        return waiting.value.key

    async def decide(self, journal: FakeJournal, approval: Approval, ruling: Ruling) -> None:
        async with no_transaction() as tx:
            assert await self.store.decide(tx, approval.id, ruling, by=UserId("ann"))
        journal.answers[wait_key(approval.id)] = ruling.is_approved

    async def always(self, chat_id: ChatId, tool: str) -> None:
        """Approve a tool in a chat, as somebody did in an earlier run."""
        asker = Asker(new_run_id(), chat_id, UserId("ann"), "helper")
        async with no_transaction() as tx:
            (asked,) = await self.store.add(
                tx, asker, [NewRequest("judged#1.0", "call", tool, Risk.DESTROYS, {}, "")], life=self.life
            )
            found = await self.store.find(tx, ApprovalId(asked.id or new_run_id()))
            assert found is not None
            await self.store.allow(tx, found, by=UserId("ann"))
        self.store.kept.clear()

    def asked(self) -> list[Approval]:
        return sorted(self.store.all, key=lambda one: one.id)


def deleting(*numbers: int) -> Callable[[Request], list[Part]]:
    """Delete numbers in one response, then tell what came of it."""

    def answer(request: Request) -> list[Part]:
        results = [message["content"] for message in request.body["messages"] if message["role"] == "tool"]
        return [f"Done: {'; '.join(results)}"] if results else [Call("delete", {"number": one}) for one in numbers]

    return answer


async def test_a_call_waits_and_is_made_once_when_it_was_approved(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()

    key = await stand.parked(journal)
    (asked,) = stand.asked()
    assert (key, stand.calls) == (wait_key(asked.id), [])
    await stand.decide(journal, asked, Ruling(is_approved=True))
    said = await stand.answer(journal.resumed())

    assert said.text == "Done: deleted 7"
    assert stand.calls == [7]
    assert len(server.requests) == 2
    assert [type_ for type_ in journal.types if type_.startswith("tool")] == [
        "tool_approval_request",
        "tool_approval_decided",
        "tool_call_start",
        "tool_call_complete",
    ]
    assert (asked.run_id, asked.owner, asked.agent, asked.tool) == (stand.run_id, "ann", "helper", "delete")
    assert (asked.arguments, asked.digest) == ({"number": 7}, digest_of("delete", {"number": 7}))
    assert journal.of("tool_approval_request")[0].data["arguments"] == {"number": 7}
    assert journal.of("tool_approval_decided")[0].data["status"] == "approved"


async def test_nobody_is_asked_about_what_only_reads(server: ModelServer) -> None:
    server.script([Call("read")], ["Nothing."])
    stand, journal = Stand(server), FakeJournal()

    said = await stand.answer(journal)

    assert (said.text, stand.asked()) == ("Nothing.", [])


async def test_a_denial_is_told_to_the_model_with_its_reason(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()

    await stand.parked(journal)
    await stand.decide(journal, stand.asked()[0], Ruling(is_approved=False, reason="we need it"))
    said = await stand.answer(journal.resumed())

    assert "was not approved: we need it" in said.text
    assert stand.calls == []
    assert [event.data["is_error"] for event in journal.of("tool_call_complete")] == [True]


async def test_nobody_decides_in_time(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server, life=timedelta(0)), FakeJournal()

    said = await stand.answer(journal)

    assert "Nobody approved this in time" in said.text
    assert (stand.calls, stand.asked()[0].status) == ([], Status.EXPIRED)
    assert journal.of("tool_approval_decided")[0].data["status"] == "expired"


async def test_calls_of_one_response_wait_together_and_are_decided_in_any_order(server: ModelServer) -> None:
    server.answer_with = deleting(1, 2, 3)
    stand, journal = Stand(server), FakeJournal()

    await stand.parked(journal)
    first, second, third = stand.asked()
    await stand.decide(journal, third, Ruling(is_approved=True))
    await stand.decide(journal, second, Ruling(is_approved=False))
    still = await stand.parked(journal := journal.resumed())
    await stand.decide(journal, first, Ruling(is_approved=True))
    said = await stand.answer(journal.resumed())

    assert still == wait_key(first.id)
    assert stand.calls == [1, 3]
    assert said.text.startswith("Done: deleted 1; ")
    assert "This was not approved" in said.text
    assert len(stand.asked()) == 3


async def test_the_call_is_made_with_the_arguments_it_was_approved_with(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()

    await stand.parked(journal)
    await stand.decide(journal, stand.asked()[0], Ruling(is_approved=True, arguments={"number": 8}))
    said = await stand.answer(journal.resumed())

    assert (said.text, stand.calls) == ("Done: deleted 8", [8])
    assert journal.of("tool_call_start")[0].data["arguments"] == {"number": 8}


async def test_edited_arguments_that_do_not_fit_the_tool_are_refused(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()

    await stand.parked(journal)
    await stand.decide(journal, stand.asked()[0], Ruling(is_approved=True, arguments={"number": "all"}))
    said = await stand.answer(journal.resumed())

    assert "do not fit the tool" in said.text
    assert stand.calls == []


async def test_an_approval_holds_for_the_call_that_was_shown_and_for_no_other(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()

    await stand.parked(journal)
    (asked,) = stand.asked()
    await stand.decide(journal, asked, Ruling(is_approved=True))
    kept = next(key for key, one in stand.store.kept.items() if one.id == asked.id)
    stand.store.kept[kept] = replace(stand.store.kept[kept], digest=digest_of("delete", {"number": 8}))
    said = await stand.answer(journal.resumed())

    assert "not the call that was approved" in said.text
    assert stand.calls == []


async def test_always_in_this_chat_asks_no_more(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()
    await stand.always(ChatId(1), "delete")

    said = await stand.answer(journal)

    assert (said.text, stand.asked()) == ("Done: deleted 7", [])


async def test_what_a_rule_denies_is_never_put_to_anybody(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server, rules=(deny("delete", because="Not on Saturdays."),)), FakeJournal()

    said = await stand.answer(journal)

    assert "Not on Saturdays." in said.text
    assert stand.asked() == []


async def test_an_agents_own_rules_hold_behind_the_operators(server: ModelServer) -> None:
    server.script([Call("read")], ["Nothing."])
    stand, journal = Stand(server, of_agent=(ask("read"),)), FakeJournal()

    await stand.parked(journal)

    assert [one.tool for one in stand.asked()] == ["read"]


async def test_what_was_judged_stays_whatever_the_rules_say_later(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()

    await stand.parked(journal)
    await stand.decide(journal, stand.asked()[0], Ruling(is_approved=True))
    stand.rules = (deny("delete"),)
    said = await stand.answer(journal.resumed())

    assert said.text == "Done: deleted 7"


async def test_arguments_that_do_not_fit_are_never_put_to_anybody(server: ModelServer) -> None:
    server.script([Call("delete", {"number": "seven"})], ["I cannot."])
    stand, journal = Stand(server), FakeJournal()

    said = await stand.answer(journal)

    assert (said.text, stand.asked()) == ("I cannot.", [])


@pytest.mark.parametrize(
    ("unattended", "is_asked", "told"),
    [(Unattended.DENY, False, []), (Unattended.PARK, True, []), (Unattended.NOTIFY, True, [["delete"]])],
)
async def test_where_nobody_follows_the_policy_says_what_becomes_of_a_call(
    server: ModelServer,
    unattended: Unattended,
    is_asked: bool,  # noqa: FBT001 - a table's column
    told: list[list[str]],
) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server, unattended=unattended), FakeJournal()
    turn = replace(stand.turn, is_attended=False)

    if is_asked:
        with pytest.raises(Waiting):
            await stand.answer(journal, turn=turn)
    else:
        assert "nobody is there" in (await stand.answer(journal, turn=turn)).text

    assert (len(stand.asked()), stand.notes.told) == (int(is_asked), told)
    assert stand.calls == []


async def test_outside_of_a_run_nothing_can_be_approved(server: ModelServer) -> None:
    server.answer_with = deleting(7)
    stand, journal = Stand(server), FakeJournal()

    said = await stand.answer(journal, turn=a_turn("Delete it"))

    assert "nobody is there" in said.text
    assert stand.calls == []


async def test_a_turn_that_dies_at_any_border_asks_once_and_calls_once(server: ModelServer) -> None:
    server.answer_with = deleting(1, 2)
    whole = await _through(Stand(server), dies_at=0)
    assert whole.borders > 20

    for dies_at in range(1, whole.borders + 1):
        stand = Stand(server)
        await _through(stand, dies_at=dies_at)

        assert [one.status for one in stand.asked()] == [Status.APPROVED, Status.APPROVED], dies_at
        assert list(stand.done.values()) == [1, 2], dies_at
        assert len(stand.calls) <= 3, dies_at


async def _through(stand: Stand, *, dies_at: int) -> FakeJournal:
    """Work on a turn to its end, approving whatever it waits for; it dies once."""
    journal = FakeJournal(dies_at=dies_at)
    for _ in range(10):
        try:
            said = await stand.answer(journal)
        except Waiting:
            for one in stand.asked():
                if one.status is Status.PENDING:
                    await stand.decide(journal, one, Ruling(is_approved=True))
            borders = journal.borders
            journal = journal.resumed(dies_at=dies_at)
            journal.borders = borders
        except Died:
            journal = journal.resumed()
        else:
            assert said.text == "Done: deleted 1; deleted 2"
            return journal
    raise AssertionError("it did not end")


def test_a_digest_is_of_the_call_and_not_of_how_it_is_written() -> None:
    assert digest_of("t", {"a": 1, "b": [1, {"c": None}]}) == digest_of("t", {"b": [1, {"c": None}], "a": 1})
    assert digest_of("t", {"a": 1}) != digest_of("t", {"a": "1"})
    assert digest_of("t", {"a": 1}) != digest_of("u", {"a": 1})
