import pytest

from app.edge.middleware.access import CheckAccess
from app.edge.provider import role_table
from app.edge.record import Record
from app.kernel.identity import Access, Principal, RoleTable
from app.kernel.ids import UserId
from app.settings import GatewayFile, Settings
from tests.builders import public_pem
from tests.unit.edge.parts import a_record, a_route, outcome

ROLES = ("guest", "user", "manager", "admin", "developer", "wizard")
OPEN_TO = {
    "PUBLIC": set(ROLES),
    "COMMON": {"user", "manager", "admin"},
    "STAFF": {"manager", "admin"},
    "ADMIN": {"admin"},
    "PRIVATE": set(),
}


def roles_of(*, mode: str = "DEV", **groups: list[str]) -> RoleTable:
    file = GatewayFile.model_validate({"groups": groups})
    return role_table(Settings(mode=mode, jwt_public_key=public_pem(), gateway=file))  # type: ignore[arg-type] # checked


def at_the_door(access: str, *roles: str, table: RoleTable) -> Record:
    record = a_record()
    record.route = a_route(access=access)
    if roles:
        record.principal = Principal(UserId("7"), table.highest(roles), table.groups_of(roles), 2**40)
    return record


def enters(access: str, *roles: str, table: RoleTable) -> bool:
    return outcome(CheckAccess(), at_the_door(access, *roles, table=table)) == "goes on"


@pytest.mark.parametrize("mode", ["DEV", "STAGE", "TEST", "PROD"])
@pytest.mark.parametrize("access", OPEN_TO)
@pytest.mark.parametrize("role", ROLES)
def test_a_door_opens_to_the_roles_of_its_group(role: str, access: str, mode: str) -> None:
    opens = role in OPEN_TO[access] or (role == "developer" and mode != "PROD")

    assert enters(access, role, table=roles_of(mode=mode)) is opens


@pytest.mark.parametrize("access", OPEN_TO)
def test_nobody_enters_but_where_everybody_does(access: str) -> None:
    assert enters(access, table=roles_of()) is (access == "PUBLIC")


def test_a_request_without_a_row_is_not_let_in() -> None:
    record = at_the_door("PUBLIC", "admin", table=roles_of())
    record.route = None

    assert outcome(CheckAccess(), record) == "role-not-allowed"


def test_any_of_many_roles_opens_and_the_highest_is_named() -> None:
    record = at_the_door("STAFF", "guest", "user", "manager", "wizard", table=roles_of())

    assert outcome(CheckAccess(), record) == "goes on"
    assert record.principal is not None
    assert record.principal.role == "manager"


@pytest.mark.parametrize(
    ("roles", "highest"),
    [
        (("user", "admin"), "admin"),
        (("admin", "user"), "admin"),
        (("wizard", "guest"), "guest"),
        (("wizard",), "wizard"),
        (("manager", "developer"), "developer"),
    ],
)
def test_an_unknown_role_is_named_only_when_alone(roles: tuple[str, ...], highest: str) -> None:
    assert roles_of().highest(roles) == highest


@pytest.mark.parametrize(
    ("groups", "role", "entered"),
    [
        ({"ADMIN": ["root"]}, "root", ["ADMIN"]),
        ({"ADMIN": ["root"]}, "admin", ["COMMON", "STAFF"]),
        ({"COMMON": []}, "user", []),
        ({"PRIVATE": ["auditor"]}, "auditor", ["PRIVATE"]),
        ({"COMMON": ["wizard"], "STAFF": ["wizard"]}, "wizard", ["COMMON", "STAFF"]),
        ({"ADMIN": ["developer"]}, "developer", ["ADMIN"]),
    ],
    ids=repr,
)
def test_an_operator_may_say_what_roles_mean(groups: dict[str, list[str]], role: str, entered: list[str]) -> None:
    table = roles_of(mode="PROD", **groups)

    assert [group for group in ("COMMON", "STAFF", "ADMIN", "PRIVATE") if enters(group, role, table=table)] == entered


def test_outside_prod_the_developer_is_in_overridden_groups_too() -> None:
    table = roles_of(ADMIN=["root"], COMMON=[])

    assert all(enters(group.value, "developer", table=table) for group in Access)
