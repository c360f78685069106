"""`portico`: what it can do, and which module does it. Nothing heavy is imported before a command is chosen."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from app.surfaces.cli import backup_command

EXIT_USAGE = 2


def main(find_root: Callable[[], object], arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: 0, 1 failed, 2 bad usage or bad configuration.

    `find_root` imports the composition root (see `root.py`), for the commands that need it.
    """
    parser = build_parser()
    parser.set_defaults(find_root=find_root)
    chosen = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] | None = getattr(chosen, "run", None)
    if run is None:
        parser.print_help()
        return EXIT_USAGE
    return _guarded(run, chosen)


def _guarded(run: Callable[[argparse.Namespace], int], chosen: argparse.Namespace) -> int:
    """Turn what an operator can mend into one line each, and Ctrl-C into a quiet end."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return run(chosen)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        from app.surfaces.cli.failures import MENDABLE, lines_of  # noqa: PLC0415 - imports what the supervisor must not

        if isinstance(error, MENDABLE):
            code, lines = lines_of(error)
            for line in lines:
                print(f"portico: {line}", file=sys.stderr)
            return code
        raise


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Let SIGTERM close what is open, as Ctrl-C does; `serve` takes both over once it listens."""
    del number, frame
    raise KeyboardInterrupt


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portico",
        description="The authenticated front door of a microservice fleet, with AI agents at the desk.",
        epilog="Settings come from the environment, .env and gateway.toml; see .env.example.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_demo(commands)
    _add_serve(commands)
    _add_run(commands)
    _add_routes(commands)
    _add_db(commands)
    _add_tasks(commands)
    _add_small(commands)
    return parser


class _Version(argparse.Action):
    """Reads the version when it is asked for: argparse's own action wants it beforehand, which costs an import."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - keeps `--help` fast

        print(f"portico {version('portico-gateway')}")
        parser.exit()


type Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse names it nowhere else


def _add_demo(commands: Commands) -> None:
    command = commands.add_parser("demo", help="everything on this machine, nothing to configure")
    command.add_argument("--port", type=_port, default=8000, help="the gateway's port on 127.0.0.1 (8000; 0 takes any)")
    command.add_argument("--data-dir", type=Path, help="where the database, the fleet's data and the keys are kept")
    command.add_argument("--no-model", action="store_true", help="start no local language model")
    command.set_defaults(run=_demo)


def _add_serve(commands: Commands) -> None:
    command = commands.add_parser("serve", help="the gateway")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=_port, default=8000, help="port to listen on (8000; 0 takes any)")
    command.add_argument("--uds", type=Path, help="listen on a Unix socket instead")
    command.add_argument("--config", type=Path, help="the route table (gateway.toml here, else the shipped one)")
    command.add_argument("--tls-cert", type=Path, help="certificate chain, PEM")
    command.add_argument("--tls-key", type=Path, help="its private key, PEM")
    command.add_argument("--workers", type=_workers, default=1, help="processes that serve (1)")
    command.add_argument(
        "--role",
        choices=("all", "web", "worker"),
        default="all",
        help="answer requests with a worker for runs beside (all), answer only (web), work on runs only (worker)",
    )
    command.add_argument("--reuse-port", action="store_true", help="share the port with the instance this one replaces")
    command.add_argument(
        "--drain-delay",
        type=_seconds,
        metavar="SECONDS",
        help="when told to stop, how long to accept while not ready any more (2; 0 on a terminal)",
    )
    command.set_defaults(run=_serve)
    worker = commands.add_parser("worker")  # no help: `serve` starts it, nobody else
    worker.add_argument("plan")
    worker.set_defaults(run=_worker)


def _add_run(commands: Commands) -> None:
    command = commands.add_parser(
        "run",
        help="one agent, one prompt, here and now, without a gateway",
        description="Have an agent answer a prompt. Its answer goes to stdout as it comes, everything else to stderr.",
        epilog="Exit codes: 0 completed; 1 failed or cancelled (Ctrl-C cancels the run); 2 bad usage or configuration.",
    )
    command.add_argument("prompt", nargs="?", help="what to ask; without it, or as -, it is read from stdin")
    command.add_argument("--agent", help="the agent's name (assistant)")
    command.add_argument("--model", default="", help="the model of agents that name none (DEFAULT_MODEL)")
    command.add_argument("--state-dir", type=Path, help="where the database and everything else is kept")
    command.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="cancel the run when it takes longer")
    told = "tell how it ended, as a task's notification_config says, and wait for it to arrive"
    command.add_argument("--notify", metavar="JSON", help=told)
    command.add_argument("--resume", action="store_true", help="ask nothing; finish what an earlier start has left")
    output = command.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object at the end")
    output.add_argument("--events", action="store_true", help="print every event as a line of JSON, as it comes")
    command.set_defaults(run=_run)


def _add_routes(commands: Commands) -> None:
    command = commands.add_parser(
        "routes",
        help="the route table: print, check, explain",
        description="Print the route table, or act on it; nothing is started and nobody is asked.",
        epilog="Exit codes: 0; 1 when the explained request would be refused; 2 when the configuration is wrong.",
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    check = actions.add_parser("check", help="validate the configuration without starting")
    explain = actions.add_parser("explain", help="which row a request takes, with what access, to what URL, and why")
    explain.add_argument("method", metavar="METHOD")
    explain.add_argument("path", metavar="PATH", help="a path, with or without a query, or a URL of the gateway")
    for parser in (command, check, explain):
        # may stand before or after the action: an inner parser has no default that would undo what stood before it
        file, text = (None, False) if parser is command else (argparse.SUPPRESS, argparse.SUPPRESS)
        table = "the route table (gateway.toml here, else the shipped one)"
        parser.add_argument("--config", type=Path, default=file, help=table)
        parser.add_argument("--json", action="store_true", default=text, help="print JSON instead of text")
    command.set_defaults(run=_routes, action="print")
    check.set_defaults(action="check")
    explain.set_defaults(action="explain")


def _add_db(commands: Commands) -> None:
    command = commands.add_parser("db", help="the database: migrations, and what may be forgotten")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    upgrade = actions.add_parser("upgrade", help="apply migrations")
    upgrade.add_argument("revision", nargs="?", default="head")
    downgrade = actions.add_parser("downgrade", help="revert migrations")
    downgrade.add_argument("revision", nargs="?", default="-1")
    revision = actions.add_parser("revision", help="make a new migration")
    revision.add_argument("-m", "--message", required=True)
    revision.add_argument("--autogenerate", action="store_true", help="compare the tables with the database")
    actions.add_parser("status", help="which revision the database is at")
    forget = actions.add_parser("forget", help="delete the events and steps of runs that are long over")
    forget.add_argument("--older-than", type=_days, default=30, metavar="DAYS", help="days since a run was over (30)")
    forget.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    forget_audit = actions.add_parser("forget-audit", help="delete what was written in the audit long ago")
    forget_audit.add_argument(
        "--older-than",
        type=_audit_days,
        default=400,
        metavar="DAYS",
        help="days since it was written (400; 30 at least)",
    )
    forget_audit.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    forget_notifications = actions.add_parser(
        "forget-notifications", help="delete what owners were told long ago, but for what is still to be sent"
    )
    forget_notifications.add_argument(
        "--older-than", type=_days, default=90, metavar="DAYS", help="days since it was written (90)"
    )
    forget_notifications.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    forget_approvals = actions.add_parser("forget-approvals", help="delete requests that were decided long ago")
    forget_approvals.add_argument(
        "--older-than", type=_days, default=90, metavar="DAYS", help="days since it was decided, or expired (90)"
    )
    forget_approvals.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    for name, action in actions.choices.items():
        action.set_defaults(run=_db, action=name)


def _add_tasks(commands: Commands) -> None:
    tasks = commands.add_parser("tasks", help="the tasks there are, with their last and next runs")
    tasks.add_argument("--limit", type=_count, default=100, metavar="N", help="the newest so many (100)")
    tasks.add_argument("--json", action="store_true", help="for scripts")
    tasks.set_defaults(run=_tasks, action="show")
    actions = tasks.add_subparsers(title="actions", metavar="ACTION")
    forget = actions.add_parser("forget", help="delete runs of tasks that are long over, but for the last of each task")
    forget.add_argument("--older-than", type=_days, default=90, metavar="DAYS", help="days since it was over (90)")
    forget.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    forget.set_defaults(run=_tasks, action="forget")


def _add_small(commands: Commands) -> None:
    agents = commands.add_parser("agents", help="the agents that were found")
    agents.set_defaults(run=_agents)
    backup_command.add_to(commands)
    doctor = commands.add_parser("doctor", help="check everything the gateway needs, and name each mend")
    doctor.set_defaults(run=_doctor)
    token = commands.add_parser("token", help="sign a token with the demo's key (never one of a real auth service)")
    token.add_argument("--sub", required=True, help="the user's id")
    token.add_argument("--role", default="user")
    token.add_argument("--ttl", type=int, default=900, help="seconds it holds (900)")
    token.add_argument("--data-dir", type=Path, help="the demo's data folder")
    token.set_defaults(run=_token)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        msg = f"{text!r} is no port (0 to 65535)"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 256:
        msg = f"{text!r} is no number of workers (1 to 256)"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        msg = f"{text!r} is no number from 1 to 10000"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 36500:
        msg = f"{text!r} is no number of days (1 to 36500)"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _audit_days(text: str) -> int:
    if not text.isdigit() or not 30 <= int(text) <= 36500:
        msg = f"{text!r} is no number of days (30 to 36500)"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _seconds(text: str) -> float:
    if not text.replace(".", "", 1).isdigit() or float(text) > 3600:
        msg = f"{text!r} is no number of seconds (0 to 3600)"
        raise argparse.ArgumentTypeError(msg)
    return float(text)


def _root(chosen: argparse.Namespace) -> Any:  # a `Root`, whose module imports the settings
    return chosen.find_root()


# Each of these imports its module only when it is chosen: `--help` answers at once.
def _demo(chosen: argparse.Namespace) -> int:
    from app.surfaces.cli import demo  # noqa: PLC0415

    return demo.run(_root(chosen), port=chosen.port, data_dir=chosen.data_dir, has_model=not chosen.no_model)


def _serve(chosen: argparse.Namespace) -> int:
    from app.kernel.worker import ProcessRole  # noqa: PLC0415
    from app.surfaces.cli import serve_command  # noqa: PLC0415
    from app.surfaces.cli.listener import Listener  # noqa: PLC0415

    listener = Listener(
        chosen.host, chosen.port, chosen.uds, chosen.tls_cert, chosen.tls_key, shares_port=chosen.reuse_port
    )
    return serve_command.run(
        listener,
        role=ProcessRole(chosen.role),
        config=chosen.config,
        workers=chosen.workers,
        drain_delay_s=chosen.drain_delay,
    )


def _run(chosen: argparse.Namespace) -> int:
    from app.surfaces.cli import run_agent  # noqa: PLC0415

    output = run_agent.Output.JSON if chosen.json else run_agent.Output.TEXT
    wish = run_agent.Wish(
        prompt=None if chosen.resume else run_agent.read_prompt(chosen.prompt),
        agent=chosen.agent,
        model=chosen.model,
        notify=run_agent.read_notify(chosen.notify),
        output=run_agent.Output.EVENTS if chosen.events else output,
        state_dir=chosen.state_dir,
        timeout_s=chosen.timeout,
    )
    return run_agent.run(_root(chosen), wish)


def _worker(chosen: argparse.Namespace) -> int:
    from app.kernel.worker import ProcessRole  # noqa: PLC0415
    from app.surfaces.cli import run_worker, worker_process  # noqa: PLC0415
    from app.surfaces.cli.worker_plan import WorkerPlan  # noqa: PLC0415

    plan = WorkerPlan.from_text(chosen.plan)
    run = run_worker.run if plan.role is ProcessRole.WORKER else worker_process.run
    return run(_root(chosen), plan)


def _routes(chosen: argparse.Namespace) -> int:
    from app.surfaces.cli import routes  # noqa: PLC0415

    if chosen.action == "explain":
        return routes.explain(_root(chosen), chosen.config, chosen.method, chosen.path, as_json=chosen.json)
    act = routes.check if chosen.action == "check" else routes.show
    return act(_root(chosen), chosen.config, as_json=chosen.json)


def _db(chosen: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from app.surfaces.cli import database  # noqa: PLC0415

    if chosen.action == "revision":
        asyncio.run(database.make_revision(chosen.message, autogenerate=chosen.autogenerate))
    elif chosen.action == "status":
        asyncio.run(database.status())
    elif chosen.action == "forget":
        act_on_runs = database.count_forgettable if chosen.dry_run else database.forget
        asyncio.run(act_on_runs(chosen.older_than))
    elif chosen.action == "forget-audit":
        act_on_audit = database.count_old_audit if chosen.dry_run else database.forget_audit
        asyncio.run(act_on_audit(chosen.older_than))
    elif chosen.action == "forget-notifications":
        act_on_told = database.count_old_notifications if chosen.dry_run else database.forget_notifications
        asyncio.run(act_on_told(chosen.older_than))
    elif chosen.action == "forget-approvals":
        act_on_approvals = database.count_old_approvals if chosen.dry_run else database.forget_approvals
        asyncio.run(act_on_approvals(chosen.older_than))
    else:
        act = database.upgrade if chosen.action == "upgrade" else database.downgrade
        asyncio.run(act(chosen.revision))
    return 0


def _tasks(chosen: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from app.surfaces.cli import tasks  # noqa: PLC0415

    if chosen.action == "show":
        asyncio.run(tasks.show(chosen.limit, as_json=chosen.json))
    else:
        asyncio.run((tasks.count_forgettable if chosen.dry_run else tasks.forget)(chosen.older_than))
    return 0


def _agents(chosen: argparse.Namespace) -> int:
    from app.surfaces.cli import agents  # noqa: PLC0415

    del chosen
    return agents.show()


def _doctor(chosen: argparse.Namespace) -> int:
    from app.surfaces.cli import doctor  # noqa: PLC0415

    return doctor.run(_root(chosen))


def _token(chosen: argparse.Namespace) -> int:
    from app.surfaces.cli import token  # noqa: PLC0415

    print(token.sign(chosen.sub, chosen.role, ttl_s=chosen.ttl, data_dir=chosen.data_dir))
    return 0
