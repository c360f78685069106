"""The filters of the two lists, over HTTP: what each lets through, and what each refuses by its name."""

from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
import pytest

from tests.http.calls import Json, as_, fields_of, open_chat, somebody, write

TITLES = ("100% sure", "100 sure", "snake_case", "snakeXcase", "Back\\slash", "ÄPFEL")


@dataclass(frozen=True, slots=True)
class Shelf:
    """Somebody's chats, one for each title and in their order, with a message that says the same."""

    owner: str
    chats: list[Json]
    messages: list[Json]

    def titles(self, caller: httpx.Client, **filters: object) -> list[str]:
        answer = caller.get(f"/api/v1/chats/?{urlencode(filters)}", headers=as_(self.owner))
        assert answer.status_code == 200, answer.text
        return [chat["title"] for chat in answer.json()["items"]]

    def contents(self, caller: httpx.Client, **filters: object) -> list[str]:
        """What a manager finds among everybody's messages, of these."""
        ours = ",".join(str(message["id"]) for message in self.messages)
        query = urlencode({"ids": ours, **filters})
        answer = caller.get(f"/api/v1/messages/?{query}", headers=as_("boss", "manager"))
        assert answer.status_code == 200, answer.text
        return [message["content"] for message in answer.json()["items"]]


@pytest.fixture(scope="module")
def shelf(gateway_url: str) -> Shelf:
    owner = somebody()
    with httpx.Client(base_url=gateway_url) as caller:
        chats = [open_chat(caller, owner, title=title) for title in TITLES]
        messages = [write(caller, owner, chat["id"], str(chat["title"])) for chat in chats]
        chats = [caller.get(f"/api/v1/chats/{chat['id']}", headers=as_(owner)).json() for chat in chats]
    return Shelf(owner, chats, messages)


def test_the_newest_comes_first(caller: httpx.Client, shelf: Shelf) -> None:
    assert shelf.titles(caller) == list(reversed(TITLES))
    assert shelf.contents(caller) == list(reversed(TITLES))


@pytest.mark.parametrize("field", ["id", "created_at", "updated_at"])
def test_order_is_chosen(caller: httpx.Client, shelf: Shelf, field: str) -> None:
    assert shelf.titles(caller, orderBy=field, sortOrder="asc") == list(TITLES)
    assert shelf.contents(caller, orderBy=field, sortOrder="asc") == list(TITLES)
    assert shelf.titles(caller, orderBy=field, sortOrder="desc") == list(reversed(TITLES))


def test_pages_follow_each_other_without_gap_or_overlap(caller: httpx.Client, shelf: Shelf) -> None:
    pages = [shelf.titles(caller, currentPage=page, pageSize=4, sortOrder="asc") for page in (1, 2, 3)]

    assert pages == [list(TITLES[:4]), list(TITLES[4:]), []]


def test_a_page_says_where_it_stands(caller: httpx.Client, shelf: Shelf) -> None:
    page = caller.get("/api/v1/chats/?currentPage=3&pageSize=4", headers=as_(shelf.owner)).json()

    assert page == {"items": [], "total": 6, "limit": 4, "offset": 8}


def test_ids_are_given_with_commas_or_one_by_one(caller: httpx.Client, shelf: Shelf) -> None:
    first, second = shelf.chats[0]["id"], shelf.chats[1]["id"]

    assert shelf.titles(caller, ids=f"{first},{second}", sortOrder="asc") == list(TITLES[:2])
    answer = caller.get(f"/api/v1/chats/?ids={first}&ids={second}", headers=as_(shelf.owner))
    assert answer.json()["total"] == 2


def test_ids_of_somebody_else_are_not_there(caller: httpx.Client, shelf: Shelf) -> None:
    foreign = open_chat(caller, somebody())["id"]

    assert shelf.titles(caller, ids=foreign) == []


@pytest.mark.parametrize("name", ["created", "updated"])
def test_times_are_exclusive_bounds(caller: httpx.Client, shelf: Shelf, name: str) -> None:
    third = shelf.chats[2][f"{name}_at"]

    assert shelf.titles(caller, **{f"{name}Before": third}, sortOrder="asc") == list(TITLES[:2])
    assert shelf.titles(caller, **{f"{name}After": third}, sortOrder="asc") == list(TITLES[3:])
    said = shelf.messages[2][f"{name}_at"]
    assert shelf.contents(caller, **{f"{name}Before": said}, sortOrder="asc") == list(TITLES[:2])
    assert shelf.contents(caller, **{f"{name}After": said}, sortOrder="asc") == list(TITLES[3:])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%", ["100% sure"]),
        ("_", ["snake_case"]),
        ("\\", ["Back\\slash"]),
        ("SURE", ["100% sure", "100 sure"]),
        ("äpfel", ["ÄPFEL"]),
        ("nowhere", []),
    ],
)
def test_search_takes_wildcards_as_they_are(caller: httpx.Client, shelf: Shelf, text: str, found: list[str]) -> None:
    assert shelf.titles(caller, searchField="title", searchString=text, sortOrder="asc") == found
    assert shelf.contents(caller, searchField="content", searchString=text, sortOrder="asc") == found


def test_search_may_mind_the_case(caller: httpx.Client, shelf: Shelf) -> None:
    asked = {"searchField": "title", "searchString": "SURE"}

    assert shelf.titles(caller, **asked, searchIgnoreCase="false") == []
    assert shelf.titles(caller, **asked, searchIgnoreCase="true") == ["100 sure", "100% sure"]


@pytest.mark.parametrize("field", ["role", "status"])
def test_messages_are_found_by_role_and_status(caller: httpx.Client, shelf: Shelf, field: str) -> None:
    value = {"role": "user", "status": "complete"}[field]

    assert len(shelf.contents(caller, searchField=field, searchString=value)) == len(TITLES)
    assert shelf.contents(caller, searchField=field, searchString="system") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=0", "pageSize"),
        ("pageSize=101", "pageSize"),
        ("pageSize=%2B5", "pageSize"),
        ("pageSize=1&pageSize=2", "pageSize"),
        ("currentPage=0", "currentPage"),
        ("currentPage=1000001", "currentPage"),
        ("currentPage=1e3", "currentPage"),
        ("ids=1,x", "ids"),
        ("ids=", "ids"),
        (f"ids={2**63}", "ids"),
        ("ids=" + "1," * 500 + "1", "ids"),
        ("createdBefore=yesterday", "createdBefore"),
        ("createdAfter=", "createdAfter"),
        ("updatedBefore=2026-13-01", "updatedBefore"),
        ("updatedAfter=2026-01-01T00:00:00%2B25:00", "updatedAfter"),
        ("createdBefore=0001-01-01T00:00:00%2B14:00", "createdBefore"),
        ("createdAfter=9999-12-31T23:59:59-14:00", "createdAfter"),
        ("searchField=title", "searchString"),
        ("searchString=x", "searchField"),
        ("searchField=user_id&searchString=x", "searchField"),
        ("searchField=agent&searchString=%00", "searchString"),
        ("searchField=agent&searchString=" + "x" * 257, "searchString"),
        ("searchIgnoreCase=maybe", "searchIgnoreCase"),
        ("orderBy=turn_id", "orderBy"),
        ("orderBy=id;drop", "orderBy"),
        ("sortOrder=up", "sortOrder"),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/chats/", "/api/v1/messages/"])
def test_a_filter_that_makes_no_sense_is_refused(caller: httpx.Client, path: str, query: str, field: str) -> None:
    for_this_list = query.replace("agent", "role") if "messages" in path else query

    answer = caller.get(f"{path}?{for_this_list}", headers=as_("boss", "manager"))

    assert answer.status_code == 400
    assert answer.json()["type"] == "validation-failed"
    assert field in fields_of(answer)


def test_every_filter_that_makes_no_sense_is_named(caller: httpx.Client) -> None:
    answer = caller.get("/api/v1/chats/?pageSize=0&sortOrder=up&ids=x", headers=as_(somebody()))

    assert set(fields_of(answer)) == {"pageSize", "sortOrder", "ids"}


@pytest.mark.parametrize("text", ["x", "1.5", "9" * 5000])
def test_messages_of_a_chat_that_is_no_number_are_refused(caller: httpx.Client, text: str) -> None:
    answer = caller.get(f"/api/v1/messages/?chat_id={text}", headers=as_("boss", "manager"))

    assert answer.status_code == 400
    assert fields_of(answer) == ["chat_id"]


@pytest.mark.parametrize("query", ["after=-1", "after=x", f"after={2**63}", "limit=0", "limit=101", "limit=x"])
def test_a_stretch_that_makes_no_sense_is_refused(caller: httpx.Client, shelf: Shelf, query: str) -> None:
    answer = caller.get(f"/api/v1/chats/{shelf.chats[0]['id']}/messages?{query}", headers=as_(shelf.owner))

    assert answer.status_code == 400
    assert fields_of(answer) == [query.partition("=")[0]]
