import msgspec
import pytest

from app.features.chats.domain.chat import ChatChange, NewChat
from app.features.chats.domain.message import MessageChange
from app.features.chats.domain.turn import Wish
from app.features.chats.schemas import ChatCreate, ChatUpdate, ExchangeIn, MessageCreate, MessageUpdate
from app.kernel.errors import ValidationFailed
from app.kernel.ids import ChatId, UserId

ANN = UserId("ann")


@pytest.mark.parametrize(
    ("body", "owner"),
    [
        ("{}", "ann"),
        ('{"user_id": 7}', "7"),
        ('{"user_id": "auth0|7"}', "auth0|7"),
        ('{"user_id": "Zoë\u200b Ω"}', "Zoë\u200b Ω"),
    ],
)
def test_a_chats_owner_is_kept_as_a_string(body: str, owner: str) -> None:
    draft = msgspec.json.decode(body, type=ChatCreate).draft(creator=ANN)

    assert draft == NewChat(UserId(owner))


@pytest.mark.parametrize("user_id", ["", "x" * 256, "a\nb", "a\0b", "a\x85b", 10**256])
def test_an_owner_that_no_token_could_name_is_refused(user_id: int | str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        ChatCreate(user_id=user_id).draft(creator=ANN)

    assert [error.field for error in refused.value.errors] == ["user_id"]


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ("{}", ChatChange()),
        ('{"title": null}', ChatChange(title=None)),
        ('{"title": "a", "agent": null, "metadata": {}}', ChatChange(title="a", agent=None, metadata={})),
    ],
)
def test_absent_and_null_are_told_apart(body: str, change: ChatChange) -> None:
    assert msgspec.json.decode(body, type=ChatUpdate).change() == change


@pytest.mark.parametrize(
    ("body", "change"), [("{}", MessageChange()), ('{"in_prompt": false}', MessageChange(in_prompt=False))]
)
def test_a_message_changes_only_where_named(body: str, change: MessageChange) -> None:
    assert msgspec.json.decode(body, type=MessageUpdate).change() == change


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ChatCreate, '{"titel": "a"}'),
        (ChatCreate, '{"metadata": null}'),
        (ChatCreate, '{"metadata": []}'),
        (ChatCreate, '{"user_id": true}'),
        (ChatUpdate, '{"user_id": "ben"}'),
        (MessageUpdate, '{"content": null}'),
        (MessageUpdate, '{"role": "system"}'),
        (MessageCreate, '{"role": "tool", "content": "a"}'),
        (MessageCreate, '{"role": "user", "content": ""}'),
        (ExchangeIn, '{"content": "a", "context_data": []}'),
        (ExchangeIn, '{"content": "a", "on_busy": "wait"}'),
        (ExchangeIn, "{}"),
    ],
)
def test_what_is_not_in_the_contract_is_refused(kind: type[msgspec.Struct], body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=kind)


def test_the_originals_extra_fields_are_accepted_where_they_agree() -> None:
    body = '{"chat_id": 7, "role": "user", "content": "hello", "run_mode": "sync"}'

    assert msgspec.json.decode(body, type=ExchangeIn).wish(ChatId(7), request_id="r1") == Wish("hello", request_id="r1")


def test_what_is_wished_of_a_turn_is_passed_on() -> None:
    body = '{"content": "hello", "on_busy": "queue", "on_disconnect": "cancel", "context_data": {"a": [1]}}'

    wish = msgspec.json.decode(body, type=ExchangeIn).wish(ChatId(7), request_id="r1")

    assert wish == Wish("hello", waits=True, is_cancelled_on_leaving=True, context={"a": [1]}, request_id="r1")


def test_contradictions_are_all_named() -> None:
    body = (
        '{"chat_id": 8, "role": "assistant", "content": "hello", "run_mode": "background", "on_disconnect": "cancel"}'
    )

    with pytest.raises(ValidationFailed) as refused:
        msgspec.json.decode(body, type=ExchangeIn).wish(ChatId(7), request_id="r1")

    assert [error.field for error in refused.value.errors] == ["chat_id", "role", "on_disconnect"]


def test_a_message_for_another_chat_than_the_paths_is_refused() -> None:
    body = '{"chat_id": 8, "role": "user", "content": "hello"}'

    with pytest.raises(ValidationFailed):
        msgspec.json.decode(body, type=MessageCreate).draft(ChatId(7))
