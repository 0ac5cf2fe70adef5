"""The commands of `timmy-dispatch`.

Results go to stdout; progress, logs, hints and errors go to stderr. Every command takes
``--json``. The exit codes are in `ExitCode` and in ``timmy-dispatch --help``.
"""

import dataclasses
import importlib.metadata
import logging
import re
import signal
import sys
import time
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

import typer
from rich.text import Text
from timmy import dispatcher
from timmy.dispatcher import AgentType, DispatchResult, DispatchStatus, TaskType

from . import interrupts
from .display import (
    line,
    notes,
    print_json,
    print_table,
    results,
    status_text,
    visible,
)

if TYPE_CHECKING:
    from timmy.dispatcher._inference import Decision
    from timmy.dispatcher.sandbox import GiteaVersion


class ExitCode(IntEnum):
    """What scripts can rely on."""

    SUCCESS = 0
    FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    INTERRUPTED = 130


class Gitea(StrEnum):
    """The servers that the sandbox can stand in for."""

    FROM_1_26 = "1.26"
    UP_TO_1_25 = "1.25"

    @property
    def version(self) -> "GiteaVersion":
        """The sandbox's word for it."""
        return "1.26" if self is Gitea.FROM_1_26 else "1.25"


EXIT_CODES = """\b
Exit codes:
  0    assigned or completed
  1    escalated or failed, or pending: give the type
  2    wrong usage or configuration; the message says what to set
  3    timed out
  130  interrupted
"""

ENVIRONMENT = """\b
Environment (unless the host has a `config` module with `settings`):
  GITEA_URL      where Gitea is; default http://localhost:3000
  GITEA_TOKEN    an access token with the scope write:issue
  GITEA_REPO     the repository, as owner/name
  GITEA_ENABLED  default true
  TIMMY_DISPATCHER_INFERENCE  exact (default) or ranked
  NO_COLOR       no colours; FORCE_COLOR: also where there is no terminal
"""

_ADVICE = {
    "GITEA_ENABLED": "GITEA_ENABLED=true (it is switched off)",
    "GITEA_URL": "GITEA_URL (an http or https address, like https://git.example.org)",
    "GITEA_TOKEN": "GITEA_TOKEN (an access token with the scope write:issue)",
    "GITEA_REPO": "GITEA_REPO (the repository, as owner/name)",
}

app = typer.Typer(
    name="timmy-dispatch",
    help="Read a task, decide what kind of work it is, and hand it to the right coding agent.",
    epilog=f"{EXIT_CODES}\n{ENVIRONMENT}",
    no_args_is_help=True,
    add_completion=False,
    # Plain help: the same in a pipe as on a terminal, and no locals (tokens!) in tracebacks.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Title = Annotated[str, typer.Argument(metavar="TITLE", help="The task in a few words.")]
Description = Annotated[
    str,
    typer.Option(
        "-d", "--description", metavar="TEXT", help="The task in full.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Issue = Annotated[
    int | None, typer.Option("--issue", metavar="N", min=1, help="The Gitea issue of the task.")
]
Criteria = Annotated[
    list[str] | None,
    typer.Option("--criteria", metavar="TEXT", help="An acceptance criterion; repeatable."),
]
ChosenType = Annotated[
    TaskType | None,
    typer.Option(
        "--type", metavar="TYPE", help=f"Instead of the inferred one: {', '.join(TaskType)}."
    ),
]
ChosenAgent = Annotated[
    AgentType | None,
    typer.Option(
        "--agent", metavar="AGENT", help=f"Instead of the best one: {', '.join(AgentType)}."
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="Where the API agent takes its tasks."),
]
StandIn = Annotated[Gitea, typer.Option("--gitea", metavar="1.26|1.25", help="Which Gitea.")]


# ---------------------------------------------------------------------------
# Running, and ending with a message
# ---------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> int:
    """Run the command line on *arguments* and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # An old encoding gets escapes instead of a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=list(arguments), prog_name="timmy-dispatch", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:
        # Typer's errors of usage; their class has had more than one home.
        if not hasattr(error, "format_message"):
            raise
        if "--json" in arguments:
            print_json({"error": error.format_message(), "set": []})
        return _report_usage(error)
    return code if isinstance(code, int) else ExitCode.SUCCESS


def _report_usage(error: Any) -> int:
    """Print an error that Typer found in the arguments."""
    message = visible(error.format_message(), lines=True)
    context = getattr(error, "ctx", None)
    console = notes()
    if type(error).__name__ == "NoArgsIsHelpError":
        line(console, context.get_help() if context is not None else message)
    else:
        if context is not None:
            line(console, f"{context.get_usage()}\nTry '{context.command_path} --help' for help.")
        line(console, Text.assemble(("Error: ", "bold red"), message))
    return ExitCode.USAGE


def fail(
    message: str, *, as_json: bool, variables: Sequence[str] = (), code: ExitCode = ExitCode.USAGE
) -> NoReturn:
    """End with an error that says what to do; without *code* one of usage or configuration."""
    line(notes(), Text.assemble(("Error: ", "bold red"), visible(message, lines=True)))
    if as_json:
        print_json({"error": message, "set": list(variables)})
    raise typer.Exit(code)


class _StderrLines(logging.Handler):
    """Log records as lines on stderr, with hostile characters made visible."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            print(f"{record.levelname.lower()}: {visible(record.getMessage())}", file=sys.stderr)
        except Exception:
            self.handleError(record)


def _log_to_stderr(level: int) -> None:
    """Show what the dispatcher logs from *level* on."""
    for handler in list(dispatcher.logger.handlers):
        if isinstance(handler, _StderrLines):
            dispatcher.logger.removeHandler(handler)
    dispatcher.logger.addHandler(_StderrLines(level))
    if level < logging.WARNING:
        dispatcher.logger.setLevel(level)


def _print_version(wanted: bool) -> None:
    """Print the version of the distribution and end."""
    if wanted:
        line(results(), importlib.metadata.version("timmy-dispatcher"))
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show what the dispatcher logs.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    if verbose:
        level = logging.INFO
    else:
        # The tour has a failure on purpose; its table tells of it.
        level = logging.CRITICAL if context.invoked_subcommand == "demo" else logging.WARNING
    _log_to_stderr(level)


# ---------------------------------------------------------------------------
# Configuration
# ---------------------------------------------------------------------------


def is_http_url(url: str) -> bool:
    """Tell whether *url* can be the address of a server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _require_gitea(*, as_json: bool) -> None:
    """End with what to set if the settings cannot lead to a Gitea repository."""
    settings = dispatcher.settings
    wrong = []
    try:
        if not settings.gitea_enabled:
            wrong.append("GITEA_ENABLED")
        if not is_http_url(str(settings.gitea_url)):
            wrong.append("GITEA_URL")
        if not settings.gitea_token:
            wrong.append("GITEA_TOKEN")
        if not re.fullmatch(r"[^/\s]+/[^/\s]+", str(settings.gitea_repo or "")):
            wrong.append("GITEA_REPO")
    except (AttributeError, ValueError) as error:
        fail(f"The settings cannot be read: {error}", as_json=as_json)
    if not wrong:
        return
    message = "Gitea is not configured. Set:\n" + "\n".join(f"  {_ADVICE[name]}" for name in wrong)
    config = sys.modules.get("config")
    if config is not None and getattr(config, "settings", None) is settings:
        message += f"\nThe settings are those of {getattr(config, '__file__', 'config')}."
    fail(message, as_json=as_json, variables=wrong)


def _without_secrets(url: str | None) -> str | None:
    """Return *url* without what may be a secret: user, password, query."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return "(no valid URL)"


# ---------------------------------------------------------------------------
# Reading and routing
# ---------------------------------------------------------------------------


def display_name(agent: AgentType) -> str:
    """Return the name that people see."""
    spec = dispatcher.AGENT_REGISTRY.get(agent)
    return visible(spec.display_name if spec is not None else agent)


# They add themselves to the app, which is above.
from . import inference, model  # noqa: E402, F401


@app.command()
def agents(as_json: Json = False) -> None:
    """List the agents and what each is best at."""
    specs = list(dispatcher.AGENT_REGISTRY.values())
    if as_json:
        rows = [
            {
                "name": spec.name,
                "display_name": spec.display_name,
                "strengths": [t for t in TaskType if t in spec.strengths],
                "interface": spec.interface,
                "gitea_label": spec.gitea_label,
                "api_endpoint": _without_secrets(spec.api_endpoint),
                "max_concurrent": spec.max_concurrent,
            }
            for spec in specs
        ]
        print_json(rows)
        return
    console = results()
    cells: list[list[str | Text]] = [
        [
            Text(visible(spec.display_name), style="bold"),
            visible(spec.name),
            visible(spec.interface),
            visible(spec.gitea_label or _without_secrets(spec.api_endpoint) or "-"),
            str(spec.max_concurrent),
            ", ".join(t for t in TaskType if t in spec.strengths),
        ]
        for spec in specs
    ]
    columns = ["agent", "name", "takes tasks by", "label or endpoint", "at once", "best at"]
    print_table(console, columns, cells)


# ---------------------------------------------------------------------------
# Handing over and waiting
# ---------------------------------------------------------------------------


@app.command(epilog=f"{EXIT_CODES}\n{ENVIRONMENT}")
def dispatch(
    title: Title,
    description: Description = "",
    criteria: Criteria = None,
    task_type: ChosenType = None,
    agent: ChosenAgent = None,
    issue: Issue = None,
    endpoint: Endpoint = None,
    retries: Annotated[
        int, typer.Option("--retries", metavar="N", min=0, help="Attempts after the first.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Hand a task to the agent that is best at it."""
    decided = None if task_type else _decided(title, description, as_json=as_json)
    ranked_type = decided and decided.task_type
    chosen_type = task_type or ranked_type or dispatcher.infer_task_type(title, description)
    chosen_agent = agent or dispatcher.select_agent(chosen_type)
    spec = dispatcher.AGENT_REGISTRY[chosen_agent]
    # A blank title is refused by the dispatcher itself, and who asks sends nothing.
    if title.strip() and not (decided and decided.asks):
        if spec.interface == "gitea" and issue is not None:
            _require_gitea(as_json=as_json)
        elif spec.interface == "api" and not is_http_url(endpoint or spec.api_endpoint or ""):
            fail(
                f"{spec.display_name} ({chosen_agent}) takes tasks by HTTP. "
                "Give its address: --endpoint https://…",
                as_json=as_json,
                variables=["--endpoint"],
            )
    try:
        result = interrupts.run(
            dispatcher.dispatch_task(
                title,
                description,
                acceptance_criteria=criteria or [],
                task_type=task_type,
                agent=agent,
                issue_number=issue,
                api_endpoint=endpoint,
                max_retries=retries,
            )
        )
    except ValueError as error:
        fail(str(error), as_json=as_json)
    if as_json:
        print_json({**dataclasses.asdict(result), "success": result.success})
    else:
        _print_result(result)
    if result.success and spec.interface == "gitea" and issue is None:
        line(
            notes(),
            f"Note: without --issue the task was handled locally; {spec.display_name} "
            "takes its tasks from Gitea issues.",
        )
    raise typer.Exit(code_of(result.status))


def _decided(title: str, description: str, *, as_json: bool) -> "Decision | None":
    """Return what ranking makes of a task, where the settings want it."""
    try:
        return dispatcher._decide(title, description)
    except ValueError as error:
        fail(str(error), as_json=as_json)


def _print_result(result: DispatchResult) -> None:
    """Print the outcome of a dispatch, a line for each thing there is."""
    facts: list[tuple[str, str | Text]] = [
        ("status", status_text(result.status)),
        ("type", result.task_type),
        ("agent", f"{display_name(result.agent)} ({visible(result.agent)})"),
    ]
    for name, value in (
        ("issue", f"#{result.issue_number}" if result.issue_number is not None else None),
        ("label", result.label_applied),
        ("comment", result.comment_id),
        ("retries", result.retry_count or None),
        ("error", result.error),
        *((key, value) for key, value in result.metadata.items() if value not in (None, "")),
    ):
        if value is not None:
            facts.append((visible(name), visible(value)))
    console = results()
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        line(console, Text.assemble((f"{name:<{width}}  ", "dim"), value))


def code_of(status: DispatchStatus) -> ExitCode:
    """Return the exit code that tells of *status*."""
    if status in (DispatchStatus.ASSIGNED, DispatchStatus.COMPLETED):
        return ExitCode.SUCCESS
    return ExitCode.TIMED_OUT if status == DispatchStatus.TIMED_OUT else ExitCode.FAILED


@app.command(epilog=f"{EXIT_CODES}\n{ENVIRONMENT}")
def wait(
    issue: Annotated[int, typer.Argument(metavar="N", min=1, help="The Gitea issue.")],
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.1, help="Between two looks.")
    ] = 60,
    max_wait: Annotated[
        float, typer.Option("--max-wait", metavar="SECONDS", min=0, help="When to give up.")
    ] = 7200,
    as_json: Json = False,
) -> None:
    """Wait until a Gitea issue is closed."""
    _require_gitea(as_json=as_json)
    console = notes()
    message = f"Waiting for #{issue}: a look every {interval:g} s, for at most {max_wait:g} s"
    started = time.monotonic()
    waiting = dispatcher.wait_for_completion(
        issue,
        interval,  # type: ignore[arg-type]  # floats are taken too
        max_wait,  # type: ignore[arg-type]
    )
    if console.file.isatty():
        with console.status(message):
            status = interrupts.run(waiting)
    else:
        line(console, message)
        status = interrupts.run(waiting)
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        print_json({"issue": issue, "status": status, "seconds": seconds})
    else:
        line(results(), Text.assemble(f"#{issue} ", status_text(status, f" after {seconds:.1f} s")))
    raise typer.Exit(code_of(status))


# ---------------------------------------------------------------------------
# Sandbox and tour
# ---------------------------------------------------------------------------


@app.command()
def sandbox(
    gitea: StandIn = Gitea.FROM_1_26,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")
    ] = 0,
    token: Annotated[
        str | None, typer.Option("--token", metavar="T", help="The token to accept.")
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option("--repo", metavar="NAME", help="Make a repository with an open issue."),
    ] = None,
    webhook_hosts: Annotated[
        str,
        typer.Option(
            "--webhook-hosts",
            metavar="LIST",
            help="Where webhooks may go, as ALLOWED_HOST_LIST; external, as on a fresh Gitea, "
            "keeps them from this machine.",
        ),
    ] = "loopback",
    as_json: Json = False,
) -> None:
    """Serve a Gitea stand-in on 127.0.0.1 until stopped.

    The first line is its address; with --json, one object with the address and the token.
    """
    from timmy.dispatcher.sandbox import Sandbox  # noqa: PLC0415  (only these commands need it)

    stopped_by: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped_by.append(number)

    # Before the first line: who reads it may stop us at once. SIGINT too, for a shell's
    # background jobs start with it ignored.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        server = (
            Sandbox(gitea.version, port=port, token=token, webhook_hosts=webhook_hosts)
            if token
            else Sandbox(gitea.version, port=port, webhook_hosts=webhook_hosts)
        )
        with server as running:
            made = running.create_repo(repo) if repo else None
            if made is not None:
                running.create_issue(made, "Design the LLM router", "With failover.")
            if as_json:
                started = {"url": running.url, "token": running.token, "repo": made}
                print_json(started, one_line=True)
            else:
                print(running.url, flush=True)
                _print_sandbox_hints(running.url, None if token else running.token, made)
            while not stopped_by:
                time.sleep(0.1)
    except (OSError, ValueError) as error:
        message = f"The sandbox cannot serve on port {port}: {error}. --port 0 takes a free one."
        fail(message, as_json=as_json)
    # Being stopped, by Ctrl-C too, is how it ends.
    raise typer.Exit(ExitCode.SUCCESS)


def _print_sandbox_hints(url: str, token: str | None, repo: str | None) -> None:
    """Say on stderr how to use a running sandbox; a token of the user's own is not repeated."""
    console = notes()
    line(console, "To use it from another shell:")
    line(console, f"  export GITEA_URL={url}")
    line(console, f"  export GITEA_TOKEN={token or '…  # the one you gave'}")
    line(
        console, f"  export GITEA_REPO={repo or 'owner/name  # POST /api/v1/user/repos makes one'}"
    )
    line(console, f"An API agent's stand-in: {url}/agent. Ctrl-C stops.")


@app.command()
def demo(gitea: StandIn = Gitea.FROM_1_26, as_json: Json = False) -> None:
    """Send a dozen tasks to a sandbox and show the outcome.

    Nothing has to be configured and nothing outside this machine is asked.
    """
    from . import demo as tour  # noqa: PLC0415  (only this command needs the sandbox)

    report = tour.run_demo(gitea.version)
    if as_json:
        print_json(report.document())
    else:
        tour.print_report(report)
    raise typer.Exit(ExitCode.SUCCESS if report.ok else ExitCode.FAILED)


# They add themselves to the app, which is above.
from . import dispatches, health, outbox, submission, worker  # noqa: E402, F401
