"""The commands for whoever writes a method or a task: new and check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from dabench.cli import options, screen


def check(file: Annotated[str, typer.Argument(help="A method's file, or the name of a known method.")]) -> None:
    """Run the contract tests on a method, such as your own before a pull request."""
    from dabench import registry
    from dabench.authoring import contract

    passed = True
    for variant in registry.methods(file):
        screen.out.print(Text(variant.label, style="bold"))
        for promise in contract.CHECKS:
            kept, words = contract.outcome(promise, variant)
            passed &= kept
            screen.say(f"{'ok' if kept else 'FAILED':<7} {contract.title(promise)}")
            if words:
                screen.say(f"        {words}")
    raise typer.Exit(0 if passed else 1)


def method(name: options.Name) -> None:
    """Write NAME.py: a method that works, to be changed into yours."""
    from dabench.authoring import scaffold

    file = scaffold.method(name, Path())
    screen.say(f"{file} is a method that works. Change it, then:")
    _say_next(f"check ./{file}", f"run --tasks quick --methods ./{file}", "report")


def task(
    name: options.Name,
    python: Annotated[bool, typer.Option("--python", help="A Python file, for data that no folder holds.")] = False,
) -> None:
    """Write NAME.toml: a task of two folders of pictures, or NAME.py: one that loads its own."""
    from dabench.authoring import scaffold

    file = scaffold.python_task(name, Path()) if python else scaffold.toml_task(name, Path())
    if python:
        screen.say(f"{file} is a task that works. Change it, then:")
    else:
        screen.say(f"{file} says where the pictures go. Put them there, change what differs, then:")
    _say_next(f"run --tasks ./{file} --dry-run", f"run --tasks ./{file}", "report")


def _say_next(*commands: str) -> None:
    for command in commands:
        screen.say(f"  dabench {command}")
