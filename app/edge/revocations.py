"""The withdrawn tokens this process has heard of, and the ports by which it hears and tells.

Verifying a remembered token stays one look-up: whoever remembers principals subscribes, forgets those that are named
here, and asks `refuses` before remembering one again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.infra.observability.health import NotWell
from app.kernel.clock import Clock, SystemClock
from app.kernel.identity import Principal
from app.kernel.paging import ListQuery, Page
from app.kernel.revocation import Mark, NewRevocation, Revocation
from app.kernel.transaction import Tx

STALE_S = 5

type OnWithdrawn = Callable[[Sequence[Revocation]], None]
"""Told what is new, at once and on the event loop: must be quick, must not wait, must not raise."""


def _empty() -> dict[Mark, dict[str, Revocation]]:
    return {mark: {} for mark in Mark}


@dataclass(slots=True)
class Revocations:
    """Concurrency: one per process, used on its event loop only.

    Cost: `refuses` at most two look-ups; `apply` O(changes); `replace` O(everything).
    """

    clock: Clock = field(default_factory=SystemClock)
    _known: dict[Mark, dict[str, Revocation]] = field(default_factory=_empty)
    _listeners: dict[object, OnWithdrawn] = field(default_factory=dict)
    _heard_at_s: float = float("-inf")

    def refuses(self, who: Principal) -> bool:
        """Tell whether this principal's token was withdrawn."""
        found = self._known[Mark.SUBJECT].get(who.user_id)
        if found is not None and who.issued_at < found.before.timestamp():
            return True
        return any(self._is_named(who, token_id) for token_id in _token_ids(who))

    def _is_named(self, who: Principal, token_id: str) -> bool:
        found = self._known[Mark.JWT_ID].get(token_id)
        return found is not None and who.issued_at < found.before.timestamp()

    def subscribe(self, listener: OnWithdrawn) -> Callable[[], None]:
        """Be told of every new revocation; what is returned ends that. For memories, open streams and tunnels, runs."""
        place = object()  # tunnels come and go by the thousand: a list would be searched for each that goes
        self._listeners[place] = listener

        def leave() -> None:
            self._listeners.pop(place, None)

        return leave

    def apply(self, changes: Iterable[Revocation]) -> None:
        """Take over changes, in any order and as often as they come: of two for one name the later number counts."""
        made = [change for change in changes if self._take(change)]
        if made:
            for listener in tuple(self._listeners.values()):
                listener(made)

    def replace(self, entries: Iterable[Revocation], *, up_to: int) -> None:
        """Take over everything there is as of the change `up_to`; what this process made after it stays."""
        before, self._known = self._known, _empty()
        later = [one for names in before.values() for one in names.values() if one.number > up_to]
        made = [one for one in (*entries, *later) if self._take(one) and not _is_known(one, before)]
        if made:
            for listener in tuple(self._listeners.values()):
                listener(made)

    def note_heard(self) -> None:
        """Say that nothing that was committed until now is missing here."""
        self._heard_at_s = self.clock.monotonic_s()

    async def health(self) -> str:
        """Errors: NotWell, when tokens that were withdrawn since may still be let in."""
        count = sum(len(names) for names in self._known.values())
        age_s = self.clock.monotonic_s() - self._heard_at_s
        if age_s > STALE_S:
            raise NotWell(f"{count} in force; nothing heard of newer ones for {age_s:.0f} s")
        return f"{count} in force, heard {age_s:.1f} s ago"

    def _take(self, change: Revocation) -> bool:
        """Store a change unless a later one is there; tell whether it withdraws anything."""
        names = self._known[change.mark]
        known = names.get(change.name)
        if known is not None and known.number >= change.number:
            return False
        if change.is_lifted:
            names.pop(change.name, None)
            return False
        names[change.name] = change
        return True


def _token_ids(who: Principal) -> Iterator[str]:
    """Name the token, and of a run's token both: its own, and the one the run was asked for with."""
    if who.token_id is not None:
        yield who.token_id
    if who.acting is not None and who.acting.token_id is not None:
        yield who.acting.token_id


def _is_known(one: Revocation, known: Mapping[Mark, Mapping[str, Revocation]]) -> bool:
    found = known[one.mark].get(one.name)
    return found is not None and found.before >= one.before


class RevocationStore(Protocol):
    """Where revocations are kept, so that every worker and replica hears of them."""

    async def add(self, tx: Tx, draft: NewRevocation, *, limit: int) -> Revocation | None:
        """Keep a revocation, and forget those that have expired; None when `limit` of them are kept already.

        One that is in force for the same name is widened, never narrowed, and counts once.
        """
        ...

    async def lift(self, tx: Tx, revocation_id: int) -> Revocation | None:
        """End a revocation; None when none of that id is in force."""
        ...

    async def list(self, tx: Tx, query: ListQuery, *, names: Mapping[Mark, str]) -> Page[Revocation]:
        """List those in force, of these names only where some are given."""
        ...


class RevocationFeed(Protocol):
    """How this process hears of what any process withdraws."""

    async def load(self, known: Revocations) -> None:
        """Read everything, once. Errors: StorageUnavailable."""
        ...

    async def follow(self, known: Revocations) -> None:
        """Hear of every change within half a second, until cancelled; outages are bridged."""
        ...
