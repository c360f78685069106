"""`litestar --app app.asgi:app database upgrade|downgrade|revision`: the original's commands, on our migrations."""

import asyncio

import click
from litestar.plugins import CLIPluginProtocol

from app.surfaces.cli import database


class DatabaseCommands(CLIPluginProtocol):
    """Adds the group `database` to Litestar's own command line."""

    def on_cli_init(self, cli: click.Group) -> None:
        cli.add_command(_group)


@click.group(name="database", help="Apply, revert and make migrations.")
def _group() -> None: ...


@_group.command(help="Apply migrations up to REVISION.")
@click.argument("revision", default="head")
@click.option("--no-prompt", is_flag=True, help="Accepted; nothing is asked.")
def upgrade(revision: str, no_prompt: bool) -> None:  # noqa: FBT001 - click hands a flag over
    del no_prompt
    asyncio.run(database.upgrade(revision))


@_group.command(help="Revert migrations down to REVISION.")
@click.argument("revision", default="-1")
@click.option("--no-prompt", is_flag=True, help="Accepted; nothing is asked.")
def downgrade(revision: str, no_prompt: bool) -> None:  # noqa: FBT001 - click hands a flag over
    del no_prompt
    asyncio.run(database.downgrade(revision))


@_group.command(help="Make a new migration.")
@click.option("-m", "--message", required=True, help="What it does.")
@click.option("--autogenerate/--no-autogenerate", default=False, help="Compare the tables with the database.")
@click.option("--no-prompt", is_flag=True, help="Accepted; nothing is asked.")
def revision(message: str, autogenerate: bool, no_prompt: bool) -> None:  # noqa: FBT001 - see above
    del no_prompt
    asyncio.run(database.make_revision(message, autogenerate=autogenerate))
