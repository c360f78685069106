"""Stage: is this caller still within the row's limit."""

from dataclasses import dataclass
from math import ceil

from app.edge.rate_limit_counts import RateLimiter
from app.edge.record import Answer, Record
from app.kernel.errors import RateLimited


@dataclass(frozen=True, slots=True)
class CheckRate:
    """Set `limit_lines` and count the request: for the user, on PUBLIC rows for the client's address.

    Errors: RateLimited, with the same fields and `Retry-After`.
    """

    limiter: RateLimiter

    def __call__(self, record: Record) -> Answer | None:
        route = record.route
        if route is None or route.limit is None:
            return None
        limit, principal = route.limit, record.principal
        # the time the request came is near enough, and costs nothing
        if principal is None or route.is_public:
            quota = self.limiter.take_of_address(limit, record.client, record.started_s)
        else:
            quota = self.limiter.take_of_user(limit, principal.user_id, record.started_s)
        record.limit_lines = quota.lines()
        wait_s = quota.wait_s
        if wait_s:
            words = f"This door takes {limit.words} from you; wait a little."
            raise RateLimited(words, headers={"retry-after": str(ceil(wait_s))})
        return None
