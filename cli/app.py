"""The commands. Each is a few lines: the work is in the modules beside this one, in `server` and in `worker`."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import ForgeError

if TYPE_CHECKING:
    from core.settings import Settings

HELP = """Forge runs Ansible automation as durable Temporal workflows, behind an AWX-compatible REST API.

`forge up` is all a laptop needs: it runs its own PostgreSQL and Temporal, one worker and one server. In production each
part runs alone (`forge migrate`, `forge server`, `forge worker`) against FORGE_DATABASE_URL and FORGE_TEMPORAL_ADDRESS.

Everything is set by environment variables, FORGE_DATA_DIR and FORGE_PORT first of all; docs/operating.md lists them and
`forge doctor` checks them."""

PREFIX = "forge: "  # of a sentence that says why a command did not do it

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
users = typer.Typer(help="Create users, list them, set their passwords.", no_args_is_help=True)
app.add_typer(users, name="users")


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Run the Demo Job Template, not only at first.")] = False,
) -> None:
    """Start everything on this machine and serve until Ctrl-C.

    All of it lives in FORGE_DATA_DIR. The first start makes it, shows the admin's password once, and runs the Demo Job
    Template. With FORGE_DATABASE_URL or FORGE_TEMPORAL_ADDRESS it uses that server instead of starting its own."""
    from cli.up import serve

    raise typer.Exit(serve(_settings(), demo=demo))


@app.command()
def demo() -> None:
    """Start everything, run the Demo Job Template, stop. The exit code tells whether the job succeeded."""
    from cli.up import run_demo

    raise typer.Exit(run_demo(_settings()))


@app.command()
def server() -> None:
    """Serve the API and drive workflows. Needs PostgreSQL and Temporal; any number of servers may run.

    It listens on FORGE_HOST and FORGE_PORT. SIGTERM and Ctrl-C stop it; requests under way are finished first."""
    from cli.running import located
    from core.logging import configure_logging

    settings = located(_settings())
    configure_logging(settings.log_level)

    from server import serve

    serve(settings)


@app.command()
def worker() -> None:
    """Run jobs on this host. Needs PostgreSQL and Temporal; one worker on each host that shall run jobs.

    SIGTERM leaves its playbooks running for the next worker, which goes on with them if it is ready within 15 s
    (an upgrade); Ctrl-C ends them, and their jobs say so.
    """
    from cli.running import located
    from core.datadir import prepare_data_dir
    from core.logging import configure_logging

    settings = located(_settings())
    prepare_data_dir(settings.data_dir)
    configure_logging(settings.log_level)

    from worker import run  # seconds: the complaints come first

    run(settings)


@app.command()
def migrate(
    report: Annotated[
        bool, typer.Option("--report", hidden=True, help="Print one JSON object, for `forge up`.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", hidden=True, help="With a token for the demo in it.")] = False,
) -> None:
    """Bring the database to this version, and create what a first start needs. Harmless when repeated.

    `forge up` does this itself. Elsewhere run it before servers and workers are started with a new version."""
    from cli.prepare import prepare, print_report, tell
    from cli.running import located_database

    prepared = prepare(located_database(_settings()), demo=demo)
    if report:
        print_report(prepared)
    else:
        tell(prepared)


@app.command()
def doctor() -> None:
    """Check the installation. Each finding comes with its remedy; the exit code tells whether anything is broken.

    It looks at the data directory, disk space, ports, PostgreSQL and the schema, the secret key, Temporal, and the
    programs that jobs need, with the environment that the other commands would have. It changes nothing."""
    from cli.doctor import examine

    raise typer.Exit(examine(_settings()))


@app.command()
def version() -> None:
    """Print the version."""
    from core.version import VERSION

    typer.echo(f"forge {VERSION}")


@users.command("create")
def create_user(
    username: Annotated[str, typer.Argument(help="The name to sign in with.")],
    superuser: Annotated[bool, typer.Option("--superuser", help="May do everything.")] = False,
    email: Annotated[str, typer.Option(help="The user's email address.")] = "",
) -> None:
    """Create a user; the password is asked for (or read from standard input)."""
    from cli.users import create

    create(_settings(), username, _ask_password(), superuser=superuser, email=email)


@users.command("list")
def list_users() -> None:
    """List the users."""
    from cli.users import show

    show(_settings())


@users.command("set-password")
def set_password(username: Annotated[str, typer.Argument(help="The name that the user signs in with.")]) -> None:
    """Set a user's password, which ends the user's sessions; it is asked for (or read from standard input)."""
    from cli.users import change_password

    change_password(_settings(), username, _ask_password())


def _ask_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _settings() -> "Settings":
    from cli.settings import load_settings

    return load_settings()


def main() -> None:
    try:
        app()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except ForgeError as error:
        sys.stderr.write(f"{PREFIX}{error.message}\n")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if "temporalio" in sys.modules:
        # The SDK's threads can abort or hang the interpreter while it is taken down.
        os._exit(code)
    sys.exit(code)
