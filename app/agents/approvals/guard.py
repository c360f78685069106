"""Holds a call back until a person has approved it: an interceptor around the call's step.

Facts
- All calls of one response are judged together, in a step of their own (`judged`), before the first of them is made: so
  those that wait stand before whoever decides at the same time, and a turn that goes on in another process comes to the
  same, whatever the rules say by then.
- What was decided is kept in a step (`decided.TOOL`): the call is made or refused the same way each time.
- A call is bound to what was shown: another tool or other arguments are not what was approved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

import msgspec

from app.agents.approvals.desk import ApprovalDesk, Asked, Asker, NewRequest, Status, digest_of, wait_key
from app.agents.contract import ToolRefused, TurnUnreadable
from app.agents.rules import Rule, Subject, Verdict, judge
from app.agents.tools.arguments import checked, own_arguments
from app.agents.tools.calling import shown
from app.agents.tools.interceptors import Proceed, ToolCall
from app.agents.work import Judged, WantedCall, Work
from app.kernel.ids import ApprovalId
from app.kernel.values import Json

NOBODY = "It needs somebody's approval, and nobody is there to give it."
NOT_JUDGED = "This call was not among those that were judged. Make it again."
OTHER_CALL = "This is not the call that was approved."


class Unattended(StrEnum):
    """What becomes of a call that would have to be approved in a turn that nobody follows."""

    DENY = "deny"
    PARK = "park"
    NOTIFY = "notify"
    """park, and have its owner told"""


class _Decided(msgspec.Struct, frozen=True):
    status: Status
    digest: str
    reason: str
    arguments: Any  # Any: JSON


@dataclass(frozen=True, slots=True)
class AskFirst:
    """Implements `Interceptor`; one of the guards. `rules` are the operator's."""

    desk: ApprovalDesk
    rules: Sequence[Rule] = ()
    unattended: Unattended = Unattended.PARK

    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        judged = await self._judged(call)
        match judged.verdict:
            case Verdict.ALLOW:
                return await proceed(call)
            case Verdict.DENY:
                raise ToolRefused(judged.because)
            case Verdict.ASK:
                return await proceed(await self._approved(call, judged))

    async def _judged(self, call: ToolCall) -> Judged:
        """Give what was judged of a call. Errors: ToolRefused, TurnUnreadable."""
        work = call.work
        if work.judged_request != work.request:
            kept = await work.step("judged", _Judging(self, work).keep, said_under={"tool_call_id": call.id})
            work.judged, work.judged_request = _read(kept, list[Judged]), work.request
        found = next((one for one in work.judged if one.call == call.id), None)
        if found is None:
            raise ToolRefused(NOT_JUDGED)
        work.judged = [one for one in work.judged if one is not found]
        return found

    async def _approved(self, call: ToolCall, judged: Judged) -> ToolCall:
        """Give the call as it may be made. Errors: ToolRefused."""
        if judged.approval is None:
            return call
        work, approval_id = call.work, ApprovalId(judged.approval)
        await work.wait(wait_key(approval_id), until=judged.expires_at or datetime.now(UTC))

        async def take(key: str) -> Json:
            del key
            decision = await self.desk.take(approval_id)
            arguments = None if decision.arguments is None else dict(decision.arguments)
            await work.tell(
                "tool_approval_decided",
                tool_call_id=call.id,
                approval_id=str(approval_id),
                tool=call.tool.name,
                status=decision.status,
                decided_by=decision.decided_by,
                reason=decision.reason or None,
                arguments=None if arguments is None else shown(arguments),
            )
            return {
                "status": decision.status,
                "digest": decision.digest,
                "reason": decision.reason,
                "arguments": arguments,
            }

        kept = await work.step(f"decided.{call.tool.name}", take, said_under={"tool_call_id": call.id})
        return _as_decided(call, _read(kept, _Decided))


def _as_decided(call: ToolCall, decided: _Decided) -> ToolCall:
    """Errors: ToolRefused, in words for the model."""
    if decided.status is not Status.APPROVED:
        raise ToolRefused(_refusal(decided))
    if decided.digest != digest_of(call.tool.name, call.arguments):
        raise ToolRefused(OTHER_CALL)
    if decided.arguments is None:
        return call
    return replace(call, arguments=own_arguments(call.tool, decided.arguments))


def _refusal(decided: _Decided) -> str:
    if decided.status is Status.EXPIRED:
        return "Nobody approved this in time, so it was not done."
    words = f": {decided.reason}" if decided.reason else ""
    return f"This was not approved{words}. It was not done; do not try to get it done in another way."


@dataclass(slots=True)
class _Judging:
    """Judges the calls of a response, and puts to a person what waits for one."""

    guard: AskFirst
    work: Work

    async def keep(self, key: str) -> Json:
        judged = [self._judge(call) for call in self.work.calls if self._fits(call)]
        asking = [(one, call) for one, call in judged if one.verdict is Verdict.ASK]
        asked = iter(await self._ask(key, asking))
        kept = [_with(one, next(asked)) if one.verdict is Verdict.ASK else one for one, _ in judged]
        return cast("Json", msgspec.to_builtins(kept))

    def _fits(self, call: WantedCall) -> bool:
        """Tell whether a call will be made if nobody minds; of what does not fit its tool the model is told so."""
        tool = self.work.tools.get(call.tool)
        if tool is None or call.arguments is None:
            return False
        try:
            checked(tool, call.arguments, self.work.turn)
        except ValueError:
            return False
        return True

    def _judge(self, call: WantedCall) -> tuple[Judged, NewRequest]:
        tool = self.work.tools[call.tool]
        arguments = own_arguments(tool, call.arguments or {})
        subject = Subject(tool.name, tool.traits.risk, tool.origin, arguments)
        found = judge((*self.guard.rules, *self.work.rules), subject)
        verdict, because = found.verdict, found.because
        if verdict is Verdict.ASK and not self._may_ask:
            verdict, because = Verdict.DENY, NOBODY
        request = NewRequest("", call.id, tool.name, tool.traits.risk, arguments, because)
        return Judged(call.id, verdict, because), request

    @property
    def _may_ask(self) -> bool:
        turn = self.work.turn
        if turn.caller.acting is None:  # not in a run, so nothing could wait
            return False
        return turn.is_attended or self.guard.unattended is not Unattended.DENY

    async def _ask(self, key: str, asking: Sequence[tuple[Judged, NewRequest]]) -> Sequence[Asked]:
        turn, acting = self.work.turn, self.work.turn.caller.acting
        if not asking or acting is None:
            return ()
        asker = Asker(acting.run_id, turn.chat_id, turn.caller.user_id, acting.agents[0])
        requests = [replace(request, key=f"{key}.{at}") for at, (_, request) in enumerate(asking)]
        is_quiet = turn.is_attended or self.guard.unattended is not Unattended.NOTIFY
        asked = await self.guard.desk.ask(asker, requests, is_attended=is_quiet)
        for request, one in zip(requests, asked, strict=True):
            if one.id is not None:
                await self._tell(request, one.id, one.expires_at)
        return asked

    async def _tell(self, request: NewRequest, approval_id: ApprovalId, expires_at: datetime) -> None:
        await self.work.tell(
            "tool_approval_request",
            tool_call_id=request.tool_call_id,
            approval_id=str(approval_id),
            tool=request.tool,
            arguments=shown(request.arguments),
            question=request.question,
            risk=request.risk,
            expires_at=expires_at.isoformat(),
        )


def _with(one: Judged, asked: Asked) -> Judged:
    return replace(one, approval=asked.id, expires_at=asked.expires_at)


def _read[T](kept: Json, type_: type[T]) -> T:
    """Errors: TurnUnreadable."""
    try:
        return msgspec.convert(kept, type_)
    except msgspec.ValidationError as error:
        reason = "The turn was begun by another version of the program; what that one judged cannot be gone on with."
        raise TurnUnreadable(reason, evidence={"cause": str(error)}) from error
