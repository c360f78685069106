"""Turns that begin a branch of a chat: a question put otherwise, an answer given anew; seen like an exchange."""

from typing import Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.features.chats.domain.branch import MessageNotEditable, NothingToRegenerate, TooManyBranches
from app.features.chats.domain.message import MessageNotFound
from app.features.chats.tree_schemas import EditIn, RegenerateIn
from app.features.chats.use_cases.edit_message import EditMessage
from app.features.chats.use_cases.regenerate_answer import RegenerateAnswer
from app.kernel.identity import Principal
from app.kernel.ids import MessageId
from app.kernel.keyed_requests import KeyedRequest
from app.surfaces.streams.exchange import TURN_ANSWERS, TURN_FAULTS, AnyRequest, Views

AS_USUAL = RegenerateIn()


class BranchingController(Controller):
    path = "/api/v1/messages"
    tags = ("messages",)

    @post(
        "/{message_id:str}/edit",
        summary="Say something otherwise, and get the agent's answer",
        opt={"faults": (MessageNotFound, MessageNotEditable, TooManyBranches, *TURN_FAULTS), "joins": True},
        responses=TURN_ANSWERS,
    )
    @inject
    async def edit(
        self,
        request: AnyRequest,
        message_id: FromPath[int],
        data: JSONBody[EditIn],
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        keyed: NamedDependency[KeyedRequest | None],
        use_case: FromDishka[EditMessage],
        views: FromDishka[Views],
    ) -> Response[Any]:
        wish = data.wish(request_id=request_id)
        begun = await use_case(principal, MessageId(message_id), wish, keyed=keyed)
        return await views.show(request, principal, begun, wish, data)

    @post(
        "/{message_id:str}/regenerate",
        summary="Get another answer of the agent",
        opt={"faults": (MessageNotFound, NothingToRegenerate, TooManyBranches, *TURN_FAULTS), "joins": True},
        responses=TURN_ANSWERS,
    )
    @inject
    async def regenerate(
        self,
        request: AnyRequest,
        message_id: FromPath[int],
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        keyed: NamedDependency[KeyedRequest | None],
        use_case: FromDishka[RegenerateAnswer],
        views: FromDishka[Views],
        data: JSONBody[RegenerateIn] = AS_USUAL,
    ) -> Response[Any]:
        wish = data.wish(request_id=request_id)
        begun = await use_case(principal, MessageId(message_id), wish, keyed=keyed)
        return await views.show(request, principal, begun, wish, data)
