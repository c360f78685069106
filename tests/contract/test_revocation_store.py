"""What the store of revocations promises, asked of the fake and of PostgreSQL alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from app.edge.revocations import RevocationStore
from app.infra.db.revocations import PostgresRevocationStore
from app.kernel.paging import ListQuery, Page
from app.kernel.revocation import ALWAYS, Mark, NewRevocation, Revocation
from app.kernel.transaction import Begin
from tests.fakes.revocations import FakeRevocationStore

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
OUT_OF_RANGE = (0, -1, 2**63, 10**30)


def a_draft(
    name: str = "ann",
    mark: Mark = Mark.SUBJECT,
    *,
    before: datetime = NOW,
    expires_at: datetime = NOW + HOUR,
    created_by: str = "root",
) -> NewRevocation:
    return NewRevocation(mark, name, before, expires_at, created_by)


@dataclass(frozen=True)
class Kept:
    begin: Begin
    store: RevocationStore

    async def add(self, draft: NewRevocation, *, limit: int = 100) -> Revocation | None:
        async with self.begin() as tx:
            return await self.store.add(tx, draft, limit=limit)

    async def added(self, draft: NewRevocation) -> Revocation:
        made = await self.add(draft)
        assert made is not None
        return made

    async def lift(self, revocation_id: int) -> Revocation | None:
        async with self.begin() as tx:
            return await self.store.lift(tx, revocation_id)

    async def list(self, query: ListQuery | None = None, names: Mapping[Mark, str] | None = None) -> Page[Revocation]:
        async with self.begin() as tx:
            return await self.store.list(tx, query or ListQuery(), names=names or {})


@pytest.fixture(params=["fake", "postgres"])
def kept(request: pytest.FixtureRequest) -> Kept:
    if request.param == "fake":
        fake = FakeRevocationStore()
        return Kept(fake.begin, fake)
    return Kept(request.getfixturevalue("database").begin, PostgresRevocationStore())


async def test_an_added_one_is_listed_as_it_was_added(kept: Kept) -> None:
    made = await kept.added(a_draft("ann", before=NOW))

    assert (made.mark, made.name, made.before, made.expires_at) == (Mark.SUBJECT, "ann", NOW, NOW + HOUR)
    assert (made.created_by, made.is_lifted) == ("root", False)
    assert (await kept.list()).items == [made]


async def test_numbers_grow_with_every_change(kept: Kept) -> None:
    first = await kept.added(a_draft("ann"))
    second = await kept.added(a_draft("ben"))
    again = await kept.added(a_draft("ann"))
    lifted = await kept.lift(second.id)

    assert lifted is not None
    assert [one.number for one in (first, second, again, lifted)] == [1, 2, 3, 4]


async def test_one_for_the_same_name_is_widened_and_never_narrowed(kept: Kept) -> None:
    first = await kept.added(a_draft(before=NOW, expires_at=NOW + 2 * HOUR))

    narrower = await kept.added(a_draft(before=NOW - HOUR, expires_at=NOW + HOUR))
    wider = await kept.added(a_draft(before=NOW + HOUR, expires_at=NOW + 3 * HOUR, created_by="boss"))

    assert {one.id for one in (narrower, wider)} == {first.id}
    assert (narrower.before, narrower.expires_at) == (NOW, NOW + 2 * HOUR)
    assert (wider.before, wider.expires_at, wider.created_by) == (NOW + HOUR, NOW + 3 * HOUR, "boss")
    assert wider.created_at == first.created_at
    assert (await kept.list()).total == 1


async def test_a_sub_and_a_jti_of_one_name_are_two(kept: Kept) -> None:
    user = await kept.added(a_draft("7", Mark.SUBJECT))
    token = await kept.added(a_draft("7", Mark.JWT_ID, before=ALWAYS))

    assert (await kept.list()).items == [token, user]
    assert (await kept.list(names={Mark.SUBJECT: "7"})).items == [user]
    assert (await kept.list(names={Mark.JWT_ID: "7"})).items == [token]
    assert token.before == ALWAYS


async def test_a_lifted_one_is_gone_once(kept: Kept) -> None:
    made = await kept.added(a_draft())

    lifted, twice = await kept.lift(made.id), await kept.lift(made.id)

    assert lifted is not None
    assert lifted.is_lifted
    assert twice is None
    assert (await kept.list()).items == []


async def test_one_that_was_lifted_begins_anew(kept: Kept) -> None:
    made = await kept.added(a_draft(before=NOW, expires_at=NOW + 2 * HOUR))
    await kept.lift(made.id)

    again = await kept.added(a_draft(before=NOW - HOUR, expires_at=NOW + HOUR))

    assert (again.before, again.expires_at, again.is_lifted) == (NOW - HOUR, NOW + HOUR, False)
    assert (await kept.list()).items == [again]


@pytest.mark.parametrize("number", OUT_OF_RANGE)
async def test_an_id_that_cannot_exist_is_not_lifted(kept: Kept, number: int) -> None:
    assert await kept.lift(number) is None


async def test_at_the_bound_none_is_added_and_none_forgotten(kept: Kept) -> None:
    await kept.added(a_draft("ann"))
    await kept.added(a_draft("ben"))

    refused = await kept.add(a_draft("eve"), limit=2)
    widened = await kept.add(a_draft("ann", before=NOW + HOUR), limit=2)

    assert refused is None
    assert widened is not None
    assert {one.name for one in (await kept.list()).items} == {"ann", "ben"}


async def test_what_has_expired_makes_room(kept: Kept) -> None:
    expired = await kept.added(a_draft("ann", expires_at=NOW - HOUR))

    made = await kept.add(a_draft("ben"), limit=1)

    assert made is not None
    assert (await kept.list()).items == [made]
    assert await kept.lift(expired.id) is None


async def test_pages_are_the_newest_first(kept: Kept) -> None:
    for name in "abcde":
        await kept.added(a_draft(name))

    page = await kept.list(ListQuery(limit=2, offset=2))

    assert [one.name for one in page.items] == ["c", "b"]
    assert page.total == 5
