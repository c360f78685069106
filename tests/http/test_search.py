"""The search in one's own chats, over HTTP. Its refusals are with everybody's, in `test_refusals.py`."""

from itertools import pairwise

import httpx
import pytest

from tests.http.calls import Json, as_, fields_of, open_chat, say, somebody, write

FOUND = {
    *("id", "user_id", "title", "agent", "metadata", "created_at", "updated_at", "deleted_at", "branch", "matches")
}
ODD = (
    *("???", "'", '"', "a & | b:*", "plan:*", "!plan", "(", "\\", "%", "a <-> b", "<>", "😀" * 200, "\u0301" * 200),
    *("'; DROP TABLE messages; --", "x" * 200, "a " * 100, "\u200d", "\ufffe", "[[:alnum:]]", "(?i)(", "$1", "{0}"),
)


def search(caller: httpx.Client, sub: str, words: str, *, role: str = "user", **params: object) -> Json:
    query = {"q": words, **params}
    answer = caller.get("/api/v1/chats/search", params=query, headers=as_(sub, role))  # type: ignore[arg-type] # numbers
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_a_chat_is_found_by_what_was_said_in_it(caller: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(caller, owner, agent="echo", title="Notes", context="pinned")
    question, answer = say(caller, owner, chat["id"], "Planning a trip to Zürich").json()
    other = open_chat(caller, owner, title="The trip's plan")
    write(caller, owner, open_chat(caller, owner)["id"], "a plan of mine")

    page = search(caller, owner, "PLAN trip")

    assert {name: page[name] for name in ("total", "limit", "offset")} == {"total": 2, "limit": 20, "offset": 0}
    assert [item["id"] for item in page["items"]] == [other["id"], chat["id"]]
    titled, found = page["items"]
    assert titled["matches"] == []
    assert set(found) == FOUND
    assert (found["title"], found["agent"]) == ("Notes", "echo")
    assert found["matches"] == [
        {"message_id": one["id"], "role": one["role"], "snippet": one["content"], "created_at": one["created_at"]}
        for one in (answer, question)
    ]


def test_nobody_finds_what_others_said_not_even_an_admin(caller: httpx.Client) -> None:
    owner, word = somebody(), "xylophonist"
    write(caller, owner, open_chat(caller, owner)["id"], word)

    assert search(caller, owner, word)["total"] == 1
    assert search(caller, somebody(), word)["total"] == 0
    assert search(caller, "root", word, role="admin")["total"] == 0


def test_what_is_deleted_is_not_found_until_it_is_restored(caller: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(caller, owner)
    gone = write(caller, owner, chat["id"], "plan one")
    kept = write(caller, owner, chat["id"], "plan two")
    caller.delete(f"/api/v1/messages/{gone['id']}", headers=as_(owner))

    (found,) = search(caller, owner, "plan")["items"]
    caller.delete(f"/api/v1/chats/{chat['id']}", headers=as_(owner))
    after = search(caller, owner, "plan")["total"]
    caller.post(f"/api/v1/chats/{chat['id']}/restore", headers=as_(owner))

    assert [one["message_id"] for one in found["matches"]] == [kept["id"]]
    assert (after, search(caller, owner, "plan")["total"]) == (0, 1)


def test_pages(caller: httpx.Client) -> None:
    owner = somebody()
    chats = [open_chat(caller, owner, title=f"plan {number}")["id"] for number in range(3)]

    pages = [search(caller, owner, "plan", limit=2, offset=offset) for offset in (0, 2, 4)]

    assert [[item["id"] for item in page["items"]] for page in pages] == [[chats[2], chats[1]], [chats[0]], []]
    assert {page["total"] for page in pages} == {3}


@pytest.mark.parametrize("words", ODD, ids=lambda words: words[:12])
def test_whatever_is_asked_for_is_looked_for(caller: httpx.Client, words: str) -> None:
    owner = somebody()
    write(caller, owner, open_chat(caller, owner)["id"], "plan")

    assert search(caller, owner, words)["total"] == (1 if words in {"plan:*", "!plan"} else 0)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "q"),
        ("q=", "q"),
        (f"q={'x' * 201}", "q"),
        ("q=a%00b", "q"),
        ("q=a&limit=0", "limit"),
        ("q=a&limit=51", "limit"),
        ("q=a&offset=-1", "offset"),
        ("q=a&offset=1000001", "offset"),
    ],
)
def test_what_cannot_be_asked_for_is_said_by_its_field(caller: httpx.Client, query: str, field: str) -> None:
    answer = caller.get(f"/api/v1/chats/search?{query}", headers=as_(somebody()))

    assert (answer.status_code, fields_of(answer)) == (400, [field])


@pytest.mark.parametrize("words", ["%ff%fe", "%ed%a0%80", "%e2%28"])
def test_what_is_no_text_is_no_error_of_ours(caller: httpx.Client, words: str) -> None:
    answer = caller.get(f"/api/v1/chats/search?q={words}", headers=as_(somebody()))

    assert answer.status_code in {200, 400}


def test_messages_as_long_as_there_are_go_in_and_are_found(caller: httpx.Client) -> None:
    """PostgreSQL refuses more than a megabyte of words, and takes a minute to read some texts if it is let."""
    owner, rare = somebody(), [chr(0x20000 + number) for number in range(40_000)]
    texts = ["a_" * 50_000, "<" * 100_000, "".join(f"{a}{b}-" for a, b in pairwise(rare))[:100_000]]
    chat = open_chat(caller, owner)

    for text in (*texts, f"{'x ' * 49_000}needle"):
        write(caller, owner, chat["id"], text)

    (found,) = search(caller, owner, "needle")["items"]
    assert found["matches"][0]["snippet"].endswith("x needle")
    assert search(caller, owner, rare[7] + rare[8])["total"] == 1
