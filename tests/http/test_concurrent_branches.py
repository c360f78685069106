"""Three clients edit, regenerate, fork, select and exchange in one chat at once: every path stays a linear history."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.branching import (
    Witness,
    check_forks,
    check_kept,
    check_paths,
    check_served,
    check_shown,
    read_tree,
    rush,
)
from tests.http.calls import open_chat, somebody


@pytest.fixture(scope="module")
def witness() -> Witness:
    return Witness()


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, witness: Witness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, witness.provider()) as url:
        yield url


def attend(url: str, dsn: str, witness: Witness, *, seed: int, is_wild: bool, acts: int) -> None:
    with httpx.Client(base_url=url, timeout=30) as http:
        owner = somebody()
        chat_id = open_chat(http, owner)["id"]

        crew = rush(url, owner, chat_id, seed=seed, is_wild=is_wild, acts=acts)

        tree = asyncio.run(read_tree(dsn, chat_id))
        check_paths(tree)
        check_kept(tree, crew, is_exact=not is_wild)
        assert check_shown(tree, witness.shown, is_exact=not is_wild) >= acts // 2
        assert tree.branches >= acts // 4
        check_forks(dsn, tree, crew)
        check_served(http, owner, chat_id, tree)


@pytest.mark.parametrize("is_wild", [False, True], ids=["exactly", "with deletions"])
def test_paths_stay_lines_and_nothing_is_lost(
    gateway_url: str, migrated_dsn: str, witness: Witness, *, is_wild: bool
) -> None:
    attend(gateway_url, migrated_dsn, witness, seed=1, is_wild=is_wild, acts=12)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 14))
def test_paths_stay_lines_whatever_is_done(gateway_url: str, migrated_dsn: str, witness: Witness, seed: int) -> None:
    attend(gateway_url, migrated_dsn, witness, seed=seed, is_wild=seed % 2 == 0, acts=40)
