"""A chat as a tree: where a branch leaves its parent, and which messages are alternatives of one another. Pure.

A message stands at a position, which is that of its question and then its own id: an answer behind its question,
whatever was said between the two. A branch's path is its parent's path up to, and without, the position it leaves at,
and then its own messages.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.features.chats.domain.message import Message, MessageRole
from app.kernel.errors import Conflict
from app.kernel.ids import MessageId, UserId

MAX_BRANCHES = 1000


class Position(NamedTuple):
    """`place` is the id of the question a message belongs to: an answer's, or its own."""

    place: int
    id: int


@dataclass(frozen=True, slots=True, order=True)
class Departure:
    """Where a branch leaves its parent: the first position that it does not have in common with it."""

    parent: int
    until: Position

    @property
    def is_of_an_edit(self) -> bool:
        """Whether the question at that place is replaced; else it is kept, and answered anew."""
        return self.until.place == self.until.id


@dataclass(frozen=True, slots=True)
class Spot:
    """A message and where it stands: what it answers, where its branch begins, and whether it is that beginning.

    `departure` is None in the branch that the chat began with.
    """

    message: Message
    owner: UserId
    question: MessageId | None = None
    departure: Departure | None = None
    is_first: bool = False

    @property
    def position(self) -> Position:
        return Position(self.question or self.message.id, self.message.id)


@dataclass(frozen=True, slots=True)
class Head:
    """The first message of a branch behind a departure: one of the alternatives there."""

    departure: Departure
    branch: int
    message: MessageId


class MessageNotEditable(Conflict):
    type = "message-not-editable"
    title = "Only what a user said can be said otherwise"


class NothingToRegenerate(Conflict):
    type = "nothing-to-regenerate"
    title = "The message is no question and answers none"


class TooManyBranches(Conflict):
    type = "too-many-branches"
    title = "The chat has as many branches as a chat may have"


def departure_of_edit(spot: Spot) -> Departure:
    """Tell where a branch leaves that says something else in this place.

    What is said instead of a branch's first message leaves where that branch did: alternatives are siblings.
    Errors: MessageNotEditable.
    """
    if spot.message.role is not MessageRole.USER:
        raise MessageNotEditable("Another way is taken from a user's message; PUT changes a message in place.")
    if spot.departure is not None and spot.departure.is_of_an_edit and spot.is_first:
        return spot.departure
    return Departure(spot.message.branch, Position(spot.message.id, spot.message.id))


def question_of(spot: Spot) -> MessageId:
    """Tell which question is to be answered anew. Errors: NothingToRegenerate."""
    if spot.message.role is MessageRole.USER:
        return spot.message.id
    if spot.question is None:
        raise NothingToRegenerate("Regenerate a user's message, or an agent's answer to one; PUT changes a message.")
    return spot.question


def departure_behind(question: Spot) -> Departure:
    """Tell where a branch leaves that answers this question anew."""
    return Departure(question.message.branch, Position(question.message.id, question.message.id + 1))


def refuse_too_many(number: int) -> None:
    """Errors: TooManyBranches, for a branch of this number."""
    if number > MAX_BRANCHES:
        raise TooManyBranches(f"A chat has up to {MAX_BRANCHES} branches; fork the chat, and go on in the copy.")


def versions_of(heads: Iterable[Head]) -> Mapping[MessageId, Sequence[MessageId]]:
    """Tell of each message that has alternatives which they are, itself among them, in the order of their branches.

    A message that stands behind two departures, as where what was between them is gone, joins both groups.
    """
    groups: dict[Departure, dict[MessageId, int]] = {}
    for head in heads:
        groups.setdefault(head.departure, {})[head.message] = head.branch
    joined: dict[MessageId, dict[MessageId, int]] = {}
    for group in groups.values():
        whole = dict(group)
        for message in group:
            whole |= joined.get(message, {})
        joined |= dict.fromkeys(whole, whole)
    return {
        message: sorted(whole, key=lambda one: (whole[one], one)) for message, whole in joined.items() if len(whole) > 1
    }
