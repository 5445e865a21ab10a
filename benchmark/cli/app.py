"""The command line: every command under its name, and what happens to errors that reach the top.

Exit codes: 0 all fine, 1 some cells failed or something unexpected, 2 the request was wrong, 130 interrupted. Heavy
modules are imported where a command needs them, so that help, lists and mistyped names answer at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
import typer.core

from dabench.cli import cells, drafts, lists, pages, screen, status
from dabench.core import DabenchError


class _Commands(typer.core.TyperGroup):
    """The commands, of whose errors one must not reach the library: it would say no more than 'Aborted!'."""

    def invoke(self, ctx: Any) -> Any:
        """What the command answers; raises RuntimeError for an EOFError, since nothing here asks a person."""
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise RuntimeError(f"a file or a process ended too early: {error}") from error


app = typer.Typer(
    name="dabench",
    cls=_Commands,
    help="Benchmark suite and leaderboard for domain adaptation of image classifiers.",
    epilog="Start with `dabench run` and `dabench report`. With --debug anywhere, errors show their traceback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
listing = typer.Typer(help="List the known tasks or methods.", no_args_is_help=True)
datasets = typer.Typer(help="See which data sets are here, and fetch them.", no_args_is_help=True)
drafting = typer.Typer(help="Write the first draft of a method or a task into this folder.", no_args_is_help=True)
app.add_typer(listing, name="list")
app.add_typer(datasets, name="data")
app.add_typer(drafting, name="new")

COMMANDS: tuple[tuple[typer.Typer, tuple[Callable[..., None], ...]], ...] = (
    (app, (cells.run, cells.curve, cells.reproduce, cells.tune, cells.verify, cells.export)),
    (app, (status.status, pages.report, pages.serve, pages.plot, lists.show, drafts.check)),
    (listing, (lists.tasks, lists.methods)),
    (datasets, (lists.status, lists.download)),
    (drafting, (drafts.method, drafts.task)),
)
for group, commands in COMMANDS:
    for command in commands:
        group.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    A user's mistake is one line on stderr and exit code 2; an error of ours one line and exit code 1.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with screen.warnings_in_a_line():
            app(args=sorted(given, key=lambda argument: argument != "--debug"), prog_name="dabench")
    except Exception as error:
        expected = isinstance(error, DabenchError | OSError)
        if "--debug" in given:
            traceback.print_exc()
        elif expected:
            screen.warn(f"error: {error}")
        else:
            screen.warn(f"error: {_in_one_line(error)}; this is a fault of dabench, run again with --debug")
        sys.exit(2 if expected else 1)


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'without a message'}"


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    context.obj = debug
