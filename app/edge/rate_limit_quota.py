"""One caller's bucket at one row, as this process sees it: decided here, accounted for later. Pure; seconds and floats.

The ledger keeps the true level. A process books there what it let in, and hears the level; between two bookings it goes
by what it heard, under three rules that keep the sum of all processes near the limit:

- *Credit.* Of the level it knows, a process gives out no more than its share (one of `processes`), or a `FEW`, before
  it books. A process that knows nothing of a caller takes the bucket for full. Credit is booked whatever the level has
  become, so what was too much is repaid: the caller waits longer.
- *Lease.* What a process needed since it last asked, or a quarter of its share, it asks of the ledger in advance; what
  it got is taken from the level at once and is its own for `LEASE_S`. So a caller that keeps to one process may empty
  the bucket through it.
- *Trifles.* A process that let in less than a tenth of its share books nothing, and forgets it at a tenth of its share
  of the rate: a caller who stays far below the limit costs no query.

The bound, for W processes: within any t seconds at most `burst + rate * (t + LEASE_S)` requests are let in, and on top
of it, once, what others gave out as credit before they heard that the bucket is empty: less than one more `burst` (or
a `FEW` each, where that is more). That excess is a debt, paid off before anybody is let in again; only trifles
are not repaid, so in the long run at most a tenth more than the rate passes. Too little passes, by at most a lease or a
tenth of `burst`, while others hold a lease or book trifles of the past. Alone, a process is exact.

While the ledger is away, each process enforces its share of burst and rate by itself: together, the limit.
"""

from dataclasses import dataclass
from math import ceil, inf, nan

from app.edge.rate_limit import RateLimit

LEASE_S = 1.0
SYNC_S = 0.2
"""Between two bookings of a caller who is in no hurry."""
TRIFLE = 0.1
FEW = 3
"""So many requests are let in before the first booking however small the share is: a refusal would be wrong mostly."""
NEWS = 0.25
"""Of the level: when all processes together may have let in so much since they booked, it is told at once."""
RESERVE = 10
"""With less to give out than so many requests, the ledger is asked at once."""
_HAIR = 1e-9  # by which what was refilled in steps may be short
_ALMOST = 1 - _HAIR


@dataclass(slots=True)
class Fleet:
    """What a process knows about the others that share the ledger."""

    processes: int = 1
    is_ledger_away: bool = False


class Quota:
    """`level` is what this process believes is left for all, its own credit taken off; `prepaid` is its lease.

    `unbooked` is what it let in on credit; negative while something is to be given back.
    """

    __slots__ = (
        "_booking",
        "_demand",
        "_prepaid_until_s",
        "_seen_s",
        "_synced_s",
        "_told",
        "_told_left",
        "_wanted",
        "is_due",
        "level",
        "limit",
        "prepaid",
        "trifle",
        "unbooked",
        "wait_s",
    )

    def __init__(self, limit: RateLimit, now_s: float) -> None:
        self.limit = limit
        self.level: float = limit.burst
        self.trifle = TRIFLE * limit.burst
        self.prepaid = 0
        self.unbooked = 0.0
        self.wait_s = 0.0
        """how long to wait before another try; 0 where the last one was let in"""
        self.is_due = False
        """whether it waits in line for the ledger"""
        self._seen_s = self._synced_s = now_s
        self._prepaid_until_s = 0.0
        self._demand = self._wanted = 0
        self._booking = 0.0
        self._told = b""
        self._told_left = nan

    @property
    def left(self) -> float:
        return self.level + self.prepaid

    def adopt(self, limit: RateLimit) -> None:
        """Go on under the row's new limit."""
        self.limit = limit
        self.level = min(self.level, limit.burst)
        self.trifle = TRIFLE * limit.burst
        self._told_left = nan

    def lines(self) -> bytes:
        """Write the fields of an answer that tell the limit: once, where a bucket is refilled as fast as it is used."""
        wait_s, left = self.wait_s, self.level + self.prepaid
        if wait_s:
            return self.limit.lines(left, wait_s)
        if left != self._told_left:
            self._told_left, self._told = left, self.limit.lines(left, wait_s)
        return self._told

    def take(self, now_s: float, fleet: Fleet) -> bool:
        """Let one request in, or not."""
        if now_s > self._seen_s:
            self._refill(now_s, fleet)
        self.wait_s = 0.0
        self._demand += 1
        level = self.level
        if fleet.processes == 1 and level >= _ALMOST and not self.prepaid:
            self.level = level - 1
            self.unbooked += 1
            return True
        if self.prepaid:
            self.prepaid -= 1
            return True
        if self.level >= _ALMOST and (self.unbooked + 1 <= FEW or self.unbooked + 1 <= self._share(fleet) + _HAIR):
            self.level -= 1
            self.unbooked += 1
            return True
        self.wait_s = self._time_to_wait_s(fleet)
        return False

    @property
    def holds_others(self) -> bool:
        """Whether there is something here that is to go back to the ledger in time."""
        return self.prepaid > 0 or self.unbooked < 0

    def needs_ledger(self, now_s: float, fleet: Fleet) -> bool:
        """Tell whether there is something to book or to ask, sooner or later."""
        if self.holds_others or self.unbooked * fleet.processes > TRIFLE * self.limit.burst:
            return True
        if not self.wait_s or fleet.processes == 1:
            return False
        # where the bucket is known to be empty, others may have given something back meanwhile
        return self.level >= _ALMOST or now_s - self._synced_s > LEASE_S

    def is_urgent(self, fleet: Fleet) -> bool:
        """Tell whether the others should hear of it, or the ledger may have more than is left here to give out."""
        if self.level < _ALMOST:
            return False
        if self._demand * fleet.processes > NEWS * self.level:
            return True
        share = self._share(fleet)
        return self.prepaid + share - self.unbooked < max(RESERVE, share / 2)

    def fullness(self, now_s: float) -> float:
        """Tell how much of the bucket is left, from 0 to 1: what forgetting it would give away is the rest."""
        level = self.left + max(0.0, now_s - self._seen_s) * self.limit.rate_per_s
        return min(1.0, max(0.0, level / self.limit.burst))

    def plan(self, now_s: float, fleet: Fleet) -> float | None:
        """Make this bucket's booking, in seconds of its rate; None while there is nothing to say to the ledger."""
        if now_s > self._seen_s:
            self._refill(now_s, fleet)
        wanted = 0
        if self._demand and fleet.processes > 1 and self.level >= _ALMOST:
            some = ceil(self.level / fleet.processes / 4)
            # not more than half: others may be at it, too
            wanted = max(0, min(max(self._demand, some) - self.prepaid, ceil(self.level / 2)))
        is_curious = self.wait_s > 0 and fleet.processes > 1
        self._wanted, self._booking, self._demand = wanted, self.unbooked, 0
        if not wanted and not self.unbooked and not is_curious:
            return None
        return (self.unbooked + wanted) / self.limit.rate_per_s

    def settle(self, ahead_s: float, now_s: float) -> None:
        """Hear the ledger's answer to the booking that `plan` made: how far from full the bucket is."""
        self._seen_s = self._synced_s = max(now_s, self._seen_s)
        self.unbooked -= self._booking
        self.level = self.limit.burst - ahead_s * self.limit.rate_per_s - self.unbooked
        granted = self._wanted
        if granted and self.level < 0:  # somebody was faster: give back what was not there
            missing = min(granted, ceil(-self.level))
            granted -= missing
            self.unbooked -= missing
            self.level += missing
        if granted:
            if not self.prepaid:
                self._prepaid_until_s = now_s + LEASE_S
            self.prepaid += granted
        self._wanted, self._booking, self.wait_s = 0, 0.0, 0.0

    def give_up(self) -> None:
        """Hear that the ledger did not answer `plan`'s booking: it is still to be made."""
        self._wanted, self._booking = 0, 0.0

    def _refill(self, now_s: float, fleet: Fleet) -> None:
        limit = self.limit
        refilled = (now_s - self._seen_s) * limit.rate_per_s
        self._seen_s = now_s
        level = self.level + refilled
        if self.prepaid and now_s >= self._prepaid_until_s:
            level += self.prepaid
            self.unbooked -= self.prepaid
            self.prepaid = 0
        is_full = level >= limit.burst
        self.level = limit.burst if is_full else level
        if self.unbooked > 0 and not self._booking:
            if fleet.processes == 1 and not fleet.is_ledger_away:  # nobody else counts on the refill
                if is_full:
                    self.unbooked = 0.0
                return
            unbooked = self.unbooked - self._forgotten(refilled, fleet)
            self.unbooked = unbooked if unbooked > 0 else 0.0

    def _forgotten(self, refilled: float, fleet: Fleet) -> float:
        """Tell how much of the credit need not be booked any more, the bucket having been refilled by so much."""
        if fleet.is_ledger_away:
            return refilled / fleet.processes
        is_trifle = self.unbooked * fleet.processes <= TRIFLE * self.limit.burst
        return refilled * TRIFLE / fleet.processes if is_trifle else 0

    def _share(self, fleet: Fleet) -> float:
        """Tell how much this process may have given out as credit: its part of what was left before it did."""
        if fleet.processes == 1:
            return inf
        return min(self.limit.burst, self.level + self.unbooked) / fleet.processes

    def _time_to_wait_s(self, fleet: Fleet) -> float:
        rate = self.limit.rate_per_s
        if self.level < _ALMOST:
            return (1 - self.level) / rate
        if not fleet.is_ledger_away:
            return SYNC_S
        missing = self.unbooked + 1 - max(FEW, self._share(fleet))
        return max(SYNC_S, missing * fleet.processes / rate)
