"""The guards, in a bare Litestar: what a handler declares is what a caller meets."""

import pytest
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.testing import TestClient

from app.kernel.errors import Fault
from app.kernel.identity import Principal
from app.kernel.ids import MAX_ID
from app.surfaces.api.dependencies import DEPENDENCIES, guard_access, guard_ids
from tests.builders import a_principal


@get("/own", sync_to_thread=False)
def own(principal: NamedDependency[Principal], request_id: NamedDependency[str]) -> list[str]:
    return [principal.user_id, request_id]


@get("/staff", opt={"access": "STAFF"}, sync_to_thread=False)
def staff() -> str:
    return "welcome"


@get("/open", opt={"access": "PUBLIC"}, sync_to_thread=False)
def anybody() -> str:
    return "welcome"


@get("/things/{thing_id:str}/{name:str}", sync_to_thread=False)
def thing(thing_id: FromPath[int], name: FromPath[str]) -> list[object]:
    return [thing_id, name]


def ask(path: str, principal: Principal | None) -> object:
    """Ask as the edge would pass it on; what is refused is the fault's type and its fields."""

    def identify(request: Request[None, None, State]) -> None:
        request.scope["state"].update(principal=principal, request_id="r1")

    def tell(request: Request[None, None, State], fault: Fault) -> Response[list[str]]:
        return Response([fault.type, *(error.field for error in fault.errors)], status_code=400)

    def identify_first(connection: Request[None, None, State], handler: object) -> None:
        identify(connection)

    app = Litestar(
        [own, staff, anybody, thing],
        dependencies=DEPENDENCIES,
        guards=[identify_first, guard_access, guard_ids],  # type: ignore[list-item] # these handlers are all HTTP
        exception_handlers={Fault: tell},
        openapi_config=None,
    )
    with TestClient(app) as client:
        answer = client.get(path)
        return answer.json() if "json" in answer.headers["content-type"] else answer.text


def test_a_handler_is_handed_the_caller_and_the_request_id() -> None:
    assert ask("/own", a_principal(user_id="ann")) == ["ann", "r1"]


def test_a_handler_that_needs_a_caller_gets_one_or_nobody_enters() -> None:
    assert ask("/own", None) == ["token-missing"]


@pytest.mark.parametrize(
    ("role", "said"),
    [("admin", "welcome"), ("manager", "welcome"), ("user", ["role-not-allowed"]), (None, ["role-not-allowed"])],
)
def test_a_handler_narrows_its_door(role: str | None, said: object) -> None:
    assert ask("/staff", a_principal(role=role) if role else None) == said


def test_a_public_handler_takes_anybody() -> None:
    assert ask("/open", None) == "welcome"


@pytest.mark.parametrize("text", ["0", "7", str(MAX_ID)])
def test_an_id_is_handed_over_as_a_number(text: str) -> None:
    assert ask(f"/things/{text}/x", a_principal()) == [int(text), "x"]


@pytest.mark.parametrize(
    "text", ["x", "-1", "+1", "%201", "1_0", "01", "1.0", "1e3", "%D9%A1", str(MAX_ID + 1), "9" * 99]
)
def test_what_is_no_id_is_refused_by_its_name(text: str) -> None:
    assert ask(f"/things/{text}/x", a_principal()) == ["validation-failed", "thing_id"]


def test_a_text_in_a_path_may_be_any() -> None:
    assert ask("/things/7/1e3", a_principal()) == [7, "1e3"]
