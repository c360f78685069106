"""How processes tell each other that a run said something: the run's id, and its chat's if it has one."""

from uuid import UUID

from app.kernel.ids import ChatId, RunId

EVENTS = "portico_run_events"


def word_of(run_id: RunId, chat_id: ChatId | None) -> str:
    return run_id.hex if chat_id is None else f"{run_id.hex}.{chat_id}"


def parts_of(word: str) -> tuple[RunId, ChatId | None]:
    """Errors: ValueError."""
    run, _, chat = word.partition(".")
    return RunId(UUID(run)), ChatId(int(chat)) if chat else None
