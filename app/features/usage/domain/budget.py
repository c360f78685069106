"""What may be spent: limits, whom they hold for, and the rule by which something more is let through.

Rule: a limit is never passed by more than what one call turned out to take. What is set aside is estimated from above
and counts as spent until it is known; where it does not fit, a call may still be made while nobody else's is under way.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from app.agents.turns import Usage
from app.kernel.ids import ChatId, RunId, UserId


class Limit(StrEnum):
    """What is counted; the words of the settings."""

    REQUESTS = "requests"
    TOOL_CALLS = "tool_calls"
    TOKENS = "tokens"
    COST = "cost"
    SECONDS = "seconds"


UNITS: Mapping[Limit, int] = {Limit.COST: 10**9, Limit.SECONDS: 1000}
"""Accounts count in whole numbers: billionths of a dollar, thousandths of a second, else ones."""

type Limits = Mapping[Limit, Decimal]
type Amounts = Mapping[Limit, int]


class Scope(StrEnum):
    """Whom a budget is for: a run and a chat as long as they are, a user and everybody together for one UTC day."""

    RUN = "run"
    CHAT = "chat"
    USER = "user"
    DAY = "day"

    @property
    def is_daily(self) -> bool:
        return self in {Scope.USER, Scope.DAY}


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A run in whose course another one was begun, with the agent whose budget it has."""

    run_id: RunId
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose account something is spent; what a child spends counts for the `ancestors`, the nearest first, too."""

    run_id: RunId
    user_id: UserId
    chat_id: ChatId | None = None
    agent: str = ""
    ancestors: Sequence[Ancestor] = ()


@dataclass(frozen=True, slots=True)
class Purse:
    """A scope's budget of one day, or of always: `name` says whose."""

    scope: Scope
    name: str
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One limit of one purse."""

    purse: Purse
    limit: Limit

    @property
    def key(self) -> bytes:
        """Name it by a digest, so that an id of whatever length is a key of sixteen bytes."""
        purse = self.purse
        text = "\0".join((purse.scope, purse.name, str(purse.day or ""), self.limit))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Claim:
    """So much is to be set aside on an account that holds at most `most`."""

    account: Account
    amount: int
    most: int


def fits(claim: Claim, *, spent: int, held: int) -> bool:
    """Tell whether something more may be set aside; `held` is what others have set aside."""
    return spent + held + claim.amount <= claim.most or (held == 0 and spent < claim.most)


@dataclass(frozen=True, slots=True)
class Budgets:
    """Every limit there is; `agents` holds those of single agents' runs, which stand in place of `run`'s, and `users`
    those of single users, in place of `user`'s.
    """

    run: Limits = field(default_factory=dict)
    chat: Limits = field(default_factory=dict)
    user: Limits = field(default_factory=dict)
    day: Limits = field(default_factory=dict)
    agents: Mapping[str, Limits] = field(default_factory=dict)
    users: Mapping[str, Limits] = field(default_factory=dict)

    def claims(self, payer: Payer, amounts: Amounts, today: date) -> Sequence[Claim]:
        """List what has to be set aside where; nothing where nothing is limited."""
        return [
            Claim(Account(purse, limit), amount, _in_units(limit, limits[limit]))
            for purse, limits in self._purses(payer, today)
            for limit, amount in amounts.items()
            if amount > 0 and limit in limits
        ]

    def seconds_of_run(self, payer: Payer) -> Claim | None:
        """Name what the run may take in time, with nothing asked of it; None where that is not limited."""
        most = self._of_run(payer.agent).get(Limit.SECONDS)
        account = Account(Purse(Scope.RUN, str(payer.run_id)), Limit.SECONDS)
        return None if most is None else Claim(account, 0, _in_units(Limit.SECONDS, most))

    def _of_run(self, agent: str) -> Limits:
        return {**self.run, **self.agents.get(agent, {})}

    def _of_ancestor(self, agent: str) -> Limits:
        """Leave out the seconds: they are those of one run, whose children work at the same time."""
        return {limit: most for limit, most in self._of_run(agent).items() if limit is not Limit.SECONDS}

    def _purses(self, payer: Payer, today: date) -> Sequence[tuple[Purse, Limits]]:
        purses = [
            (Purse(Scope.RUN, str(payer.run_id)), self._of_run(payer.agent)),
            *((Purse(Scope.RUN, str(one.run_id)), self._of_ancestor(one.agent)) for one in payer.ancestors),
            (Purse(Scope.USER, payer.user_id, today), self.users.get(payer.user_id, self.user)),
            (Purse(Scope.DAY, "", today), self.day),
        ]
        if payer.chat_id is not None:
            purses.append((Purse(Scope.CHAT, str(payer.chat_id)), self.chat))
        return purses


def amounts_of(usage: Usage, *, seconds: float) -> Amounts:
    """Say the same in the units of accounts, rounded up."""
    return {
        Limit.REQUESTS: usage.requests,
        Limit.TOOL_CALLS: usage.tool_calls,
        Limit.TOKENS: usage.input_tokens + usage.output_tokens,
        Limit.COST: _in_units(Limit.COST, usage.cost or Decimal(0)),
        Limit.SECONDS: _in_units(Limit.SECONDS, Decimal(repr(seconds))),
    }


def free_again(purse: Purse) -> datetime | None:
    """Tell when there is more of it; None for never."""
    if purse.day is None:
        return None
    return datetime.combine(purse.day + timedelta(days=1), time(), UTC)


_WHOSE = {
    Scope.RUN: "the run's budget of {}",
    Scope.CHAT: "the chat's budget of {}",
    Scope.USER: "your budget of {} for a day",
    Scope.DAY: "everybody's budget of {} for a day",
}
_OF_WHAT = {
    Limit.REQUESTS: ("model request", "model requests"),
    Limit.TOOL_CALLS: ("tool call", "tool calls"),
    Limit.TOKENS: ("token", "tokens"),
    Limit.COST: ("USD", "USD"),
    Limit.SECONDS: ("second of work", "seconds of work"),
}


def said_of(claim: Claim, *, is_for_good: bool) -> str:
    """Tell in words which budget has no room, and when it has again."""
    purse, limit = claim.account.purse, claim.account.limit
    most = Decimal(claim.most) / UNITS.get(limit, 1)
    whose = _WHOSE[purse.scope].format(f"{most.normalize():f} {_OF_WHAT[limit][most != 1]}")
    if not is_for_good:
        return f"What is left of {whose} is set aside for calls that are under way; try again shortly."
    again = free_again(purse)
    end = "" if again is None else f"; there is more of it from {again:%Y-%m-%dT%H:%M:%SZ}"
    return f"{whose[0].upper()}{whose[1:]} is used up{end}."


def _in_units(limit: Limit, value: Decimal) -> int:
    return int((value * UNITS.get(limit, 1)).to_integral_value(ROUND_CEILING))
