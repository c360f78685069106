import pytest

from app.kernel.identity import Access, Principal, Role, RoleTable
from app.kernel.ids import UserId

OPEN = RoleTable.build({}, developer_everywhere=True)
PROD = RoleTable.build({}, developer_everywhere=False)
EVERY_GROUP = {Access.COMMON, Access.STAFF, Access.ADMIN, Access.PRIVATE}


@pytest.mark.parametrize(
    ("roles", "groups"),
    [
        (["admin"], {Access.COMMON, Access.STAFF, Access.ADMIN}),
        (["manager"], {Access.COMMON, Access.STAFF}),
        (["user"], {Access.COMMON}),
        (["guest"], set()),
        (["guest", "manager"], {Access.COMMON, Access.STAFF}),
        (["Admin"], set()),
        (["stranger"], set()),
        ([], set()),
    ],
)
@pytest.mark.parametrize("table", [OPEN, PROD], ids=["elsewhere", "in production"])
def test_a_role_opens_its_groups(table: RoleTable, roles: list[str], groups: set[Access]) -> None:
    assert table.groups_of(roles) == groups


def test_a_developer_is_in_every_group_but_not_in_production() -> None:
    assert OPEN.groups_of(["developer"]) == EVERY_GROUP
    assert PROD.groups_of(["developer"]) == set()


def test_a_group_is_given_other_roles() -> None:
    table = RoleTable.build({Access.STAFF: ["support"]}, developer_everywhere=False)

    assert table.groups_of(["support"]) == {Access.STAFF}
    assert table.groups_of(["manager"]) == {Access.COMMON}


@pytest.mark.parametrize(
    ("roles", "highest"),
    [
        (["user", "admin", "guest"], "admin"),
        (["stranger", "guest"], "guest"),
        (["stranger"], "stranger"),
        ([role.value for role in Role], "developer"),
    ],
)
def test_the_highest_role_speaks_for_all(roles: list[str], highest: str) -> None:
    assert OPEN.highest(roles) == highest


@pytest.mark.parametrize(
    ("role", "is_admin", "is_staff"), [("admin", True, True), ("manager", False, True), ("user", False, False)]
)
def test_a_principal_knows_what_it_may(role: str, *, is_admin: bool, is_staff: bool) -> None:
    who = Principal(UserId("1"), role, PROD.groups_of([role]), expires_at=0)

    assert (who.is_admin, who.is_staff) == (is_admin, is_staff)
    assert who.may_enter(Access.COMMON)
    assert not who.may_enter(Access.PRIVATE)


def test_a_public_door_is_open_to_whoever_is_in_no_group() -> None:
    nobody = Principal(UserId("1"), "guest", frozenset(), expires_at=0)

    assert nobody.may_enter(Access.PUBLIC)
    assert not nobody.may_enter(Access.COMMON)


def test_a_credential_is_not_shown() -> None:
    who = Principal(UserId("1"), "user", frozenset(), expires_at=0, credential="swordfish")

    assert "swordfish" not in repr(who)
