"""How processes tell each other that a run said something: the run's id, and its chat's if it has one."""

from app.kernel.ids import ChatId, RunId

EVENTS = "portico_run_events"


def word_of(run_id: RunId, chat_id: ChatId | None) -> str:
    return run_id.hex if chat_id is None else f"{run_id.hex}.{chat_id}"


def parts_of(word: str) -> tuple[str, str]:
    """Give the hexadecimal id of the run and the chat's number, or "" for no chat."""
    run, _, chat = word.partition(".")
    return run, chat
