"""What clients send to branch a conversation."""

from msgspec import Struct

from app.features.chats.domain.turn import Wish
from app.features.chats.schemas import SayIn, Title, TurnOptions


class EditIn(SayIn, frozen=True, kw_only=True):
    """What is said instead, and how the turn is begun; without `attachments` those of the message stay."""

    def wish(self, *, request_id: str) -> Wish:
        return self.wish_for(self.content, request_id=request_id, files=self.attachments)


class RegenerateIn(TurnOptions, frozen=True, kw_only=True):
    """How the turn is begun; the body may be left out."""

    def wish(self, *, request_id: str) -> Wish:
        return self.wish_for("", request_id=request_id)


class CopyIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Without a title the copy has that of the chat; the body may be left out."""

    title: Title | None = None
