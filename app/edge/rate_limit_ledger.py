"""What the limits need from a store that every process shares. The adapter is bound in `app/main.py`."""

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID


class QuotaLedger(Protocol):
    """For each key one point in time: when its bucket will be full again, if nobody takes anything more.

    Errors: Unavailable from every method. Times are the store's own, so that the processes' clocks need not agree.
    """

    async def book(self, shifts_s: Mapping[bytes, float]) -> Mapping[bytes, float]:
        """Put each key's point off by so many seconds, or nearer where negative; tell how far ahead it is now.

        What is taken together is never less than what each process took: bookings add up, in any order. A key
        nobody booked yet is full now; the answer is never negative.
        Cost: one statement, whatever the number of keys.
        """
        ...

    async def attend(self, process: UUID) -> int:
        """Note that this process is there, and tell how many were in the last half minute, this one included."""
        ...

    async def leave(self, process: UUID) -> None:
        """Note that this process is not there any more."""
        ...

    async def forget_full(self) -> None:
        """Remove what is full again and so tells nothing."""
        ...
