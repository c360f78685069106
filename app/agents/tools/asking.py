"""A call that the client makes: it is put to whoever follows the run, the run parks, and what is posted is its result.

Facts
- Three steps: the nonce and until when it waits are drawn (`asked.NAME`), the call is told (`put.NAME`), what came back
  is taken (`tool.NAME`, as of any call). So a call that is told again after a crash is the same one, and an answer that
  was on its way counts.
- The nonce names what the run waits for (`client_wait_key`), so no other call's answer is taken for this one's,
  whatever ids a provider gives its calls.
- Nothing is held while it waits: no slot, no process, no connection.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from pydantic_core import to_json, to_jsonable_python

from app.agents.contract import ToolRefused, TurnUnreadable
from app.agents.tools.arguments import checked
from app.agents.tools.calling import SHOWN_LIMIT_BYTES, complete, refusing, shown, start
from app.agents.tools.interceptors import Interceptors, ToolCall, chained
from app.agents.turns import Usage, client_wait_key
from app.agents.work import storable
from app.kernel.values import Json

TOO_LONG = "The arguments are too long for the client. Say less."
NOBODY = "No client did this in time, so it was not done as far as anybody knows. Do without it."


class _Asked(msgspec.Struct, frozen=True):
    nonce: str
    expires_at: datetime


async def ask_client(call: ToolCall, interceptors: Interceptors) -> Json:
    """Put the call to the client. Gives what it posted, None when time is up; refused calls are told and raised.

    Errors: ToolRefused, BudgetReached.
    """
    asked = await _drawn(call)
    refused = await _put(call, asked, interceptors)
    if refused is not None:
        raise ToolRefused(refused)
    return await call.work.wait(client_wait_key(asked.nonce), until=asked.expires_at)


async def take_answer(call: ToolCall, answer: Json, interceptors: Interceptors) -> object:
    """Within the call's step: tell what the client's answer comes to, and give it. Errors: ToolRefused."""

    async def posted(passed: ToolCall) -> object:
        del passed
        match answer:
            case {"result": result}:
                return result
            case {"error": str(error)}:
                raise ToolRefused(f"The client could not do it: {error}")
        raise ToolRefused(NOBODY)

    try:
        result = await refusing(call, chained(interceptors.results, posted))
    except ToolRefused as refusal:
        await complete(call.work, call.id, call.tool.name, refusal.reason, is_error=True)
        raise
    await complete(call.work, call.id, call.tool.name, result, is_error=False)
    return result


async def _drawn(call: ToolCall) -> _Asked:
    async def draw(key: str) -> Json:
        del key
        until = datetime.now(UTC) + timedelta(seconds=call.tool.traits.timeout_s)
        return {"nonce": secrets.token_urlsafe(18), "expires_at": until.isoformat()}

    kept = await call.work.step(f"asked.{call.tool.name}", draw, said_under={"tool_call_id": call.id})
    try:
        return msgspec.convert(kept, _Asked)
    except msgspec.ValidationError as error:
        reason = "The turn was begun by another version of the program; what that one asked cannot be gone on with."
        raise TurnUnreadable(reason, evidence={"cause": str(error)}) from error


async def _put(call: ToolCall, asked: _Asked, interceptors: Interceptors) -> str | None:
    """Tell the call, once; gives why it was refused instead."""

    async def put(passed: ToolCall) -> object:
        try:
            arguments = checked(passed.tool, passed.arguments, passed.work.turn)
        except ValueError as error:
            raise ToolRefused(f"The arguments do not fit the tool: {error}") from error
        await _tell(passed, arguments, asked)
        return None

    async def within(key: str) -> Json:
        work = call.work
        await work.reserve(key, Usage(tool_calls=1))
        try:
            await refusing(call, chained(interceptors.inner, put))
        except ToolRefused as refused:
            await start(call)
            await complete(work, call.id, call.tool.name, refused.reason, is_error=True)
            return str(storable(refused.reason))
        finally:
            await work.settle(key, Usage(tool_calls=1))
        return None

    kept = await call.work.step(f"put.{call.tool.name}", within, said_under={"tool_call_id": call.id})
    return kept if isinstance(kept, str) else None


async def _tell(call: ToolCall, arguments: Mapping[str, object], asked: _Asked) -> None:
    """Errors: ToolRefused, where a client would not see the arguments whole."""
    plain = to_jsonable_python(arguments, fallback=repr)
    if len(to_json(plain)) > SHOWN_LIMIT_BYTES:
        raise ToolRefused(TOO_LONG)
    await call.work.tell(
        "tool_call_start",
        request=call.work.request - 1,
        tool_call_id=call.id,
        tool=call.tool.name,
        arguments=shown(plain),
        client=True,
        nonce=asked.nonce,
        expires_at=asked.expires_at.isoformat(),
    )
