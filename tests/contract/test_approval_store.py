"""What the store of approvals promises, asked of the fake and of PostgreSQL alike."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from app.agents.approvals.desk import Asked, Asker, NewRequest, Status, digest_of
from app.agents.rules import Risk
from app.features.approvals.domain import Approval, ApprovalFilter, Ruling, StandingFilter
from app.features.approvals.ports import ApprovalStore
from app.features.approvals.repository import PostgresApprovalStore
from app.infra.db.engine import Database
from app.kernel.ids import ApprovalId, ChatId, RunId, UserId, new_run_id
from app.kernel.paging import ListQuery, Search
from app.kernel.transaction import Begin
from tests.fakes.approvals import FakeApprovalStore
from tests.fakes.ledger import no_transaction

HOUR, OVER = timedelta(hours=1), timedelta(0)
ALL = ApprovalFilter()
YES, NO = Ruling(is_approved=True), Ruling(is_approved=False, reason="no")
ANN = UserId("ann")


def a_request(tool: str = "delete", key: str = "judged#1.0", **arguments: object) -> NewRequest:
    return NewRequest(key, "call-1", tool, Risk.DESTROYS, arguments or {"number": 7}, "It destroys.")  # type: ignore[arg-type] # JSON


def an_asker(owner: str = "ann", *, chat: int | None = 1, run: RunId | None = None) -> Asker:
    return Asker(run or new_run_id(), None if chat is None else ChatId(chat), UserId(owner), "helper")


@dataclass
class Desk:
    store: ApprovalStore
    begin: Begin

    async def ask(self, asker: Asker, *requests: NewRequest, life: timedelta = HOUR) -> Sequence[Asked]:
        async with self.begin() as tx:
            return await self.store.add(tx, asker, requests or [a_request()], life=life)

    async def asked(self, asker: Asker, request: NewRequest | None = None, *, life: timedelta = HOUR) -> ApprovalId:
        (one,) = await self.ask(asker, request or a_request(), life=life)
        assert one.id is not None
        return one.id

    async def find(self, approval_id: ApprovalId) -> Approval:
        async with self.begin() as tx:
            found = await self.store.find(tx, approval_id)
        assert found is not None
        return found

    async def decide(self, approval_id: ApprovalId, ruling: Ruling = YES, *, by: str = "ann") -> Approval | None:
        async with self.begin() as tx:
            return await self.store.decide(tx, approval_id, ruling, by=UserId(by))

    async def take(self, approval_id: ApprovalId) -> Approval | None:
        async with self.begin() as tx:
            return await self.store.take(tx, approval_id)

    async def list(self, only: ApprovalFilter = ALL, query: ListQuery | None = None) -> list[ApprovalId]:
        async with self.begin() as tx:
            page = await self.store.list(tx, query or ListQuery(), only=only)
        assert page.total >= len(page.items)
        return [one.id for one in page.items]


@pytest.fixture(params=["fake", "postgres"])
def desk(request: pytest.FixtureRequest) -> Desk:
    if request.param == "fake":
        return Desk(FakeApprovalStore(), no_transaction)
    database: Database = request.getfixturevalue("database")
    return Desk(PostgresApprovalStore(), database.begin)


async def test_a_request_is_kept_with_all_it_says(desk: Desk) -> None:
    asker = an_asker()

    found = await desk.find(await desk.asked(asker, a_request(number=7, names=["ä", None])))

    assert (found.run_id, found.chat_id, found.owner, found.agent) == (asker.run_id, 1, "ann", "helper")
    assert (found.tool, found.tool_call_id, found.risk) == ("delete", "call-1", Risk.DESTROYS)
    assert found.arguments == {"number": 7, "names": ["ä", None]}
    assert found.digest == digest_of("delete", found.arguments)
    assert (found.question, found.status) == ("It destroys.", Status.PENDING)
    assert (found.decided_by, found.decided_at, found.reason, found.scope, found.edited) == (None,) * 5
    assert found.expires_at - found.created_at == pytest.approx(HOUR, abs=timedelta(seconds=5))


async def test_what_is_asked_again_is_the_same_request(desk: Desk) -> None:
    asker = an_asker()
    first = await desk.ask(asker, a_request(key="a"), a_request(key="b"))

    again = await desk.ask(asker, a_request(key="a"), a_request(key="b"))
    elsewhere = await desk.asked(an_asker(), a_request(key="a"))

    assert [one.id for one in again] == [one.id for one in first]
    assert len({*(one.id for one in first), elsewhere}) == 3


@pytest.mark.parametrize("ruling", [YES, NO], ids=["approved", "denied"])
async def test_a_request_is_decided_once(desk: Desk, ruling: Ruling) -> None:
    asked = await desk.asked(an_asker())

    decided = await desk.decide(asked, ruling, by="root")
    second = await desk.decide(asked, NO if ruling is YES else YES)

    assert decided == await desk.find(asked)
    assert decided is not None
    assert decided.status is (Status.APPROVED if ruling is YES else Status.DENIED)
    assert (decided.decided_by, decided.reason, decided.scope) == (
        "root",
        ruling.reason,
        "once" if ruling is YES else None,
    )
    assert decided.decided_at is not None
    assert second is None


async def test_of_many_at_once_one_decides(desk: Desk) -> None:
    asked = await desk.asked(an_asker())

    decided = await asyncio.gather(*(desk.decide(asked, by=f"user-{number}") for number in range(10)))

    (winner,) = [one for one in decided if one is not None]
    assert (await desk.find(asked)).decided_by == winner.decided_by


async def test_edited_arguments_stand_beside_those_that_were_asked_about(desk: Desk) -> None:
    asked = await desk.asked(an_asker())

    await desk.decide(asked, Ruling(is_approved=True, arguments={"number": 8}))

    found = await desk.find(asked)
    assert (found.arguments, found.edited) == ({"number": 7}, {"number": 8})
    assert found.digest == digest_of("delete", {"number": 7})


async def test_what_nobody_decided_in_time_is_expired_and_stays_so(desk: Desk) -> None:
    asked = await desk.asked(an_asker(), life=OVER)

    before = await desk.find(asked)
    late = await desk.decide(asked)
    taken = await desk.take(asked)

    assert (before.status, before.decided_by, late) == (Status.EXPIRED, None, None)
    assert taken is not None
    assert (taken.status, taken.decided_by) == (Status.EXPIRED, None)
    assert taken.decided_at is not None


async def test_the_run_that_asked_takes_what_was_decided_or_closes_it(desk: Desk) -> None:
    decided, open_one = await desk.asked(an_asker()), await desk.asked(an_asker())
    await desk.decide(decided)

    taken, closed = await desk.take(decided), await desk.take(open_one)

    assert (taken and taken.status, closed and closed.status) == (Status.APPROVED, Status.EXPIRED)
    assert await desk.decide(open_one) is None
    assert await desk.take(ApprovalId(new_run_id())) is None


async def test_a_run_that_is_over_leaves_nothing_pending(desk: Desk) -> None:
    asker = an_asker()
    first, second = (one.id for one in await desk.ask(asker, a_request(key="a"), a_request(key="b")))
    other = await desk.asked(an_asker())
    assert first is not None
    assert second is not None
    await desk.decide(first)

    async with desk.begin() as tx:
        closed = await desk.store.close(tx, asker.run_id, reason="over")

    assert [(one.id, one.status, one.reason) for one in closed] == [(second, Status.EXPIRED, "over")]
    assert (await desk.find(first)).status is Status.APPROVED
    assert (await desk.find(other)).status is Status.PENDING


async def test_a_tool_that_is_always_approved_is_asked_about_no_more_in_that_chat(desk: Desk) -> None:
    asked = await desk.find(await desk.asked(an_asker(chat=1)))
    async with desk.begin() as tx:
        await desk.store.allow(tx, asked, by=ANN)
        await desk.store.allow(tx, asked, by=ANN)

    granted, other_tool = await desk.ask(an_asker(chat=1), a_request(), a_request("create", key="c"))
    other_agent = Asker(new_run_id(), ChatId(1), ANN, "somebody else")
    still_asked = [await desk.ask(one) for one in (an_asker(chat=2), an_asker(chat=None), other_agent)]

    assert granted.id is None
    assert other_tool.id is not None
    assert all(one[0].id is not None for one in still_asked)


async def test_lists(desk: Desk) -> None:
    run = new_run_id()
    first = await desk.asked(an_asker("ann", chat=1, run=run))
    second = await desk.asked(an_asker("ben", chat=2), a_request("create"))
    third = await desk.asked(an_asker("ann", chat=2), life=OVER)
    await desk.decide(second)

    assert await desk.list() == [third, second, first]
    assert await desk.list(query=ListQuery(sort_order="asc", limit=1, offset=1)) == [second]
    assert await desk.list(ApprovalFilter(owner=ANN)) == [third, first]
    assert await desk.list(ApprovalFilter(chat_id=ChatId(2))) == [third, second]
    assert await desk.list(ApprovalFilter(run_id=run)) == [first]
    assert await desk.list(ApprovalFilter(tool="create")) == [second]
    assert await desk.list(ApprovalFilter(ids=(first, third))) == [third, first]
    statuses = (Status.PENDING, Status.APPROVED, Status.DENIED, Status.EXPIRED)
    assert [await desk.list(ApprovalFilter(status=one)) for one in statuses] == [[first], [second], [], [third]]
    assert await desk.list(query=ListQuery(search=Search("tool", "CRE", ignore_case=True))) == [second]
    assert await desk.list(query=ListQuery(created_after=datetime.now(UTC) + HOUR)) == []
    assert len(await desk.list(query=ListQuery(created_before=datetime.now(UTC) + HOUR))) == 3


async def always(desk: Desk, owner: str, tool: str, *, chat: int) -> ApprovalId:
    """Have a tool approved for a whole chat."""
    approval_id = await desk.asked(an_asker(owner, chat=chat), a_request(tool))
    decided = await desk.decide(approval_id, YES, by=owner)
    assert decided is not None
    async with desk.begin() as tx:
        await desk.store.allow(tx, decided, by=UserId(owner))
    return approval_id


async def test_what_is_approved_for_a_chat_is_listed_and_taken_back(desk: Desk) -> None:
    owner, chat = f"owner-{new_run_id()}", 2**40 + new_run_id().int % 2**20
    shred, send = await always(desk, owner, "shred", chat=chat), await always(desk, owner, "send", chat=chat)
    of_owner, query = StandingFilter(owner=UserId(owner)), ListQuery(order_by="tool", sort_order="asc")

    async with desk.begin() as tx:
        page = await desk.store.standing(tx, query, only=of_owner)
        elsewhere = await desk.store.standing(tx, query, only=StandingFilter(UserId(owner), ChatId(chat + 1)))
        searched = await desk.store.standing(tx, ListQuery(search=Search("tool", "HRE", True)), only=of_owner)
        approval = await desk.store.find(tx, shred)
        assert approval is not None
        taken = [await desk.store.take_back(tx, approval), await desk.store.take_back(tx, approval)]
        left = await desk.store.standing(tx, query, only=of_owner)
    asked = await desk.ask(
        an_asker(owner, chat=chat), a_request("shred", "judged#2.0"), a_request("send", "judged#2.1")
    )

    assert [(one.tool, one.approval_id, one.given_by, one.chat_id) for one in page.items] == [
        ("send", send, owner, chat),
        ("shred", shred, owner, chat),
    ]
    assert (page.total, elsewhere.total, [one.approval_id for one in searched.items]) == (2, 0, [shred])
    assert (taken, [one.tool for one in left.items]) == ([True, False], ["send"])
    assert [one.id is None for one in asked] == [False, True]


async def test_what_was_decided_long_ago_is_forgotten_but_for_what_stands_or_waits(desk: Desk) -> None:
    owner = f"owner-{new_run_id()}"
    decided = await desk.asked(an_asker(owner))
    await desk.decide(decided, NO)
    expired = await desk.asked(an_asker(owner), life=OVER)
    pending = await desk.asked(an_asker(owner))
    stands = await always(desk, owner, "shred", chat=2**41 + new_run_id().int % 2**20)
    mine = ApprovalFilter(owner=UserId(owner))

    async with desk.begin() as tx:
        young = await desk.store.count_old(tx, age=HOUR)
        old = await desk.store.count_old(tx, age=OVER)
        gone = await desk.store.forget(tx, age=OVER)
    left = await desk.list(mine)

    assert old >= 2 > young
    assert gone == old
    assert set(left) == {pending, stands}
    assert not {decided, expired} & set(left)
