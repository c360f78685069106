"""The endpoints of runs, but for those that stream, which are in `surfaces/streams`."""

from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from app.features.runs.domain.run import Run, path_of
from app.features.runs.domain.tool_result import (
    ToolCallExpired,
    ToolCallNotFound,
    ToolResultByAgent,
    ToolResultTaken,
)
from app.features.runs.schemas import RunBegun, RunOut, ToolResultIn
from app.features.runs.use_cases.cancel_run import CancelRun
from app.features.runs.use_cases.post_tool_result import PostToolResult
from app.features.runs.use_cases.read_run import ReadRun
from app.features.runs.use_cases.rerun_run import RerunRun
from app.infra.db.errors import StorageUnavailable
from app.infra.durable.ports import RunNotFound, RunNotOver
from app.kernel.authority import DelegatedTooDeep
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.keyed_requests import KeyedRequest

Who = NamedDependency[Principal]
Keyed = NamedDependency[KeyedRequest | None]
ABOUT_A_RUN = (RunNotFound, StorageUnavailable)


class RunController(Controller):
    path = "/api/v1/runs"
    tags = ("runs",)
    opt = {"faults": ABOUT_A_RUN}  # noqa: RUF012 - Litestar reads it as a mapping

    @get("/{run_id:str}", summary="Read a run")
    @inject
    async def read_run(self, run_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadRun]) -> RunOut:
        return RunOut.of(await use_case(principal, RunId(run_id)))

    @post("/{run_id:str}/cancel", summary="Stop a run; what it said is kept", status_code=HTTP_200_OK)
    @inject
    async def cancel_run(self, run_id: FromPath[UUID], principal: Who, use_case: FromDishka[CancelRun]) -> RunOut:
        return RunOut.of(await use_case(principal, RunId(run_id)))

    @post(
        "/{run_id:str}/rerun",
        summary="Begin again what is over, as a new run",
        status_code=HTTP_202_ACCEPTED,
        opt={"faults": (*ABOUT_A_RUN, RunNotOver, DelegatedTooDeep)},
    )
    @inject
    async def rerun(
        self, run_id: FromPath[UUID], principal: Who, keyed: Keyed, use_case: FromDishka[RerunRun]
    ) -> Response[RunBegun]:
        return accepted(await use_case(principal, RunId(run_id), keyed=keyed))

    @post(
        "/{run_id:str}/tool-results/{tool_call_id:str}",
        summary="Say what came of a call that the run put to its client",
        status_code=HTTP_202_ACCEPTED,
        opt={"faults": (*ABOUT_A_RUN, ToolCallNotFound, ToolCallExpired, ToolResultTaken, ToolResultByAgent)},
    )
    @inject
    async def post_tool_result(
        self,
        run_id: FromPath[UUID],
        tool_call_id: FromPath[str],
        data: JSONBody[ToolResultIn],
        principal: Who,
        keyed: Keyed,
        use_case: FromDishka[PostToolResult],
    ) -> Response[RunBegun]:
        return accepted(await use_case(principal, RunId(run_id), tool_call_id, data.posted(), keyed=keyed))


CONTROLLERS: tuple[type[Controller], ...] = (RunController,)


def accepted(run: Run) -> Response[RunBegun]:
    """Answer 202: it is stored, and will be done."""
    return Response(RunBegun(RunOut.of(run)), status_code=HTTP_202_ACCEPTED, headers={"location": path_of(run.id)})
