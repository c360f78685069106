"""What a row's `rate_limit` and `burst` mean. Pure.

Each caller of the row has a bucket of `burst` requests, full at first, that is filled again evenly: `count` requests in
a period. A request takes one out of it, or is refused while there is none (a token bucket, in other words GCRA, ITU-T
I.371). So a caller that paused may send `burst` requests at once, and over a long time no more than the rate.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from app.kernel.rates import HOW_TO_WRITE, MAX_COUNT, PERIODS_S, rate_of

LIMIT_NAMES = frozenset({b"ratelimit", b"ratelimit-policy"})


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`name` tells the rows apart; a caller's bucket outlives a reload that keeps the row's name.

    `words` are for people; `policy` is a whole line. Source of the fields: draft-ietf-httpapi-ratelimit-headers-10.
    """

    name: str
    words: str
    burst: int
    rate_per_s: float
    policy: bytes

    def lines(self, left: float, wait_s: float) -> bytes:
        """Write the fields that tell the limit and what is left of it; `wait_s` is 0 where a request was let in.

        Their `t` is `Retry-After` where one was refused, and else the time until the bucket is full.
        """
        if wait_s:
            return b'%bratelimit: "default";r=0;t=%d\r\n' % (self.policy, ceil(wait_s))
        # %d cuts off: a second that has begun counts
        full_s = (self.burst - left) / self.rate_per_s + 0.999
        return b'%bratelimit: "default";r=%d;t=%d\r\n' % (self.policy, left, full_s)


def limit_flaws(rate_limit: str | None, burst: int | None) -> Iterable[tuple[str, str]]:
    """Tell what is wrong with a row's limit, each time with the mend."""
    if rate_limit is None:
        if burst is not None:
            yield "`burst` without `rate_limit` limits nothing", 'add e.g. rate_limit = "100/minute"'
        return
    if rate_of(rate_limit) is None:
        yield f"rate_limit {rate_limit!r} is no rate", HOW_TO_WRITE
    if burst is not None and not 1 <= burst <= MAX_COUNT:
        yield f"burst {burst} is no number of requests", f"1 to {MAX_COUNT}; leave it out for the count of rate_limit"


def read_limit(rate_limit: str | None, burst: int | None, *, name: str) -> RateLimit | None:
    """Compile what has no flaws; without `burst`, a whole period's requests may come at once."""
    if rate_limit is None:
        return None
    count, _, period = rate_limit.partition("/")
    policy = f'ratelimit-policy: "default";q={count};w={PERIODS_S[period]}\r\n'.encode()
    words = f"{count} request{'' if count == '1' else 's'} {'an' if period == 'hour' else 'a'} {period}"
    rate_per_s = int(count) / PERIODS_S[period]
    return RateLimit(name, words, burst or int(count), rate_per_s, policy)
