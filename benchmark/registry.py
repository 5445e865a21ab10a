"""Finds methods and tasks by name: built in, installed as plugins, or somebody's own files.

Names come from the files themselves, and what a method declares is read from its syntax, so that listing runs no
method's code; asking for one name imports one module.
"""

from __future__ import annotations

import ast
import csv
import difflib
import fnmatch
import importlib
import importlib.util
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import dabench.methods
import dabench.tasks
from dabench.core import DabenchError, Declaration, Needs, Reach, Reference, Setting, Task, setting_of


@dataclass(frozen=True)
class Variant:
    """A method's file and the hyper-parameters a person gave; a plain value, loaded where it is needed."""

    name: str
    file: Path
    given: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """`dann`, or `dann[lr=0.003]`: what stands in the table."""
        inside = ",".join(f"{name}={value}" for name, value in self.given)
        return f"{self.name}[{inside}]" if inside else self.name

    def load(self) -> Any:
        """The method, constructed; raises DabenchError for a file that declares none."""
        return method_class(self.file)(**dict(self.given))


@dataclass(frozen=True)
class Allowed:
    """What a person may give a hyper-parameter: a range, or one of the choices where there are any.

    `log` means that a search walks the range by factors, not by steps.
    """

    low: float = -math.inf
    high: float = math.inf
    choices: tuple[Any, ...] = ()
    log: bool = False


@dataclass(frozen=True)
class Description:
    """What a method's file says of itself, read without running it."""

    name: str
    file: Path
    claim: str
    setting: Setting
    needs: Needs
    reach: Reach
    paper: str
    parameters: Mapping[str, Any]
    allowed: Mapping[str, Allowed]


# ------------------------------------------------------------------------------------------------- names


def _unknown(kind: str, name: str, known: Iterable[str]) -> DabenchError:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    remedy = f"did you mean '{near[0]}'?" if near else f"see `dabench list {kind}s`"
    return DabenchError(f"no {kind} '{name}'; {remedy}")


def split_list(text: str) -> list[str]:
    """Splits at the commas outside brackets: `a,b[x=1,y=2]` gives two entries."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]


def _name_and_parameters(text: str) -> tuple[str, dict[str, str]]:
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", text)
    if match is None:
        raise DabenchError(f"cannot read '{text}'; write name or name[parameter=value,...]")
    given: dict[str, str] = {}
    for pair in filter(None, (match[2] or "").split(",")):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise DabenchError(f"cannot read '{pair}' in '{text}'; write parameter=value")
        if name.strip() in given:
            raise DabenchError(f"'{text}' gives '{name.strip()}' twice; give it once")
        given[name.strip()] = value.strip()
    return match[1].strip(), given


def _add(places: dict[str, Path], name: str, file: Path, kind: str) -> None:
    if name in places and places[name] != file:
        raise DabenchError(f"two {kind}s are named '{name}': {places[name]} and {file}; rename one of them")
    places[name] = file


def _module_file(module: str, group: str) -> Path:
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise DabenchError(f"entry point {group} names module '{module}', which is not installed")
    return Path(spec.origin)


def _scan(package: ModuleType, group: str, kind: str) -> dict[str, Path]:
    places: dict[str, Path] = {}
    for file in sorted(Path(package.__path__[0]).glob("*.py")):
        if file.stem != "__init__":
            _add(places, file.stem, file, kind)
    for point in entry_points(group=group):
        _add(places, point.name, _module_file(point.module, group), kind)
    return places


# ----------------------------------------------------------------------------------------------- methods


def method_files() -> dict[str, Path]:
    """Every known method's file by its name; raises DabenchError where two share a name."""
    return _scan(dabench.methods, "dabench.methods", "method")


def methods(text: str) -> tuple[Variant, ...]:
    """The methods a person named: `all`, names, globs, `name[lr=0.003]`, or paths to files, comma-separated.

    Nothing of theirs is imported. Raises DabenchError for an unknown name, parameter or value.
    """
    known = method_files()
    chosen: dict[Variant, None] = {}
    for part in split_list(text):
        matching = [each for each in sorted(known) if part == "all" or _globbed(each, part)]
        if matching and part not in known:
            chosen.update(dict.fromkeys(Variant(each, known[each]) for each in matching))
            continue
        name, given = _name_and_parameters(part)
        if name.endswith(".py"):
            file = Path(name).resolve()
            if not file.is_file():
                raise DabenchError(f"no method file {name}; give the path of a file that exists")
            _add(known, file.stem, file, "method")
            name = file.stem
        elif name not in known:
            raise _unknown("method", name, known)
        described = describe(known[name])
        values = tuple(sorted((key, _value(described, key, text)) for key, text in given.items()))
        values = tuple((key, value) for key, value in values if value != described.parameters[key])
        chosen[Variant(name, known[name], values)] = None
    if not chosen:
        raise DabenchError("no method named; give names or `all` to --methods")
    return tuple(chosen)


def _globbed(name: str, pattern: str) -> bool:
    """Whether a pattern of * and ? fits; brackets hold parameters, not letters, or `dan[momentum=0]` would be dann."""
    return "[" not in pattern and fnmatch.fnmatchcase(name, pattern)


def _value(described: Description, key: str, text: str) -> Any:
    """`text` as the type of the parameter's default."""
    if key not in described.parameters:
        raise DabenchError(
            f"method '{described.name}' has no parameter '{key}'; it has: {', '.join(described.parameters) or 'none'}"
        )
    default, allowed = described.parameters[key], described.allowed[key]
    name = f"{described.name}[{key}={text}]"
    try:
        value = {"true": True, "false": False}[text.lower()] if isinstance(default, bool) else type(default)(text)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(type(default), "a text")
        raise DabenchError(f"{name}: '{text}' is not {kind}") from None
    if allowed.choices and value not in allowed.choices:
        raise DabenchError(f"{name}: choose one of {', '.join(map(str, allowed.choices))}")
    if isinstance(value, int | float) and not allowed.low <= value <= allowed.high:
        raise DabenchError(f"{name}: choose a value from {allowed.low} to {allowed.high}")
    return value


def _parameter(file: Path, name: str, value: ast.expr) -> tuple[Any, Allowed]:
    """The default and the allowed values of a field: a literal, `between(...)` or `one_of(...)`."""
    try:
        if not isinstance(value, ast.Call):
            return ast.literal_eval(value), Allowed()
        arguments = [ast.literal_eval(argument) for argument in value.args]
        if ast.unparse(value.func).endswith("between"):
            log = any(word.arg == "log" and ast.literal_eval(word.value) for word in value.keywords)
            return arguments[0], Allowed(low=arguments[1], high=arguments[2], log=log)
        return arguments[0], Allowed(choices=tuple(arguments))
    except (ValueError, IndexError):
        raise DabenchError(
            f"{file}, line {value.lineno}: write the default of '{name}' as a plain value, "
            "between(default, low, high) or one_of(default, other, ...)"
        ) from None


def describe(file: Path) -> Description:
    """Reads a method file's declaration from its syntax; raises DabenchError when it declares no method."""
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError, ValueError) as error:  # a folder, no Python, not UTF-8
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise DabenchError(f"cannot read the method file {file}{line}: {getattr(error, 'msg', error)}") from None
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("register"):
                arguments = {keyword.arg: keyword.value for keyword in decorator.keywords}
                needs = Needs.NOTHING
                for name in re.findall(r"Needs\.(\w+)", ast.unparse(arguments["needs"])):
                    needs |= Needs[name]
                found = {
                    field.target.id: _parameter(file, field.target.id, field.value)
                    for field in node.body
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value
                }
                text = ast.get_docstring(tree) or ast.get_docstring(node) or ""
                return Description(
                    name=file.stem,
                    file=file,
                    claim=text.partition("\n")[0],
                    setting=setting_of(needs),
                    needs=needs,
                    reach=Reach[ast.unparse(arguments["reach"]).rpartition(".")[2]]
                    if "reach" in arguments
                    else Reach.FEATURES,
                    paper=ast.literal_eval(arguments["paper"]),
                    parameters={name: default for name, (default, _) in found.items()},
                    allowed={name: allowed for name, (_, allowed) in found.items()},
                )
    raise DabenchError(f"{file} declares no method; decorate its dataclass with @register(needs=..., paper=...)")


@cache
def _module(file: Path, package: str) -> ModuleType:
    """The file's module: the package's own where it lies there, else loaded from where it is."""
    parent = importlib.import_module(package)
    if file.parent == Path(parent.__path__[0]):
        return importlib.import_module(f"{package}.{file.stem}")
    spec = importlib.util.spec_from_file_location(f"dabench_own.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise DabenchError(f"cannot import {file}; give a Python file")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def method_class(file: Path) -> type:
    """The class a method file declares."""
    for value in vars(_module(file, "dabench.methods")).values():
        declaration = getattr(value, "declaration", None)
        if isinstance(declaration, Declaration) and value.__module__.rpartition(".")[2] == file.stem:
            found: type = value
            return found
    raise DabenchError(f"{file} declares no method; decorate its dataclass with @register(needs=..., paper=...)")


# ------------------------------------------------------------------------------------------------- tasks


@cache
def known_tasks() -> dict[str, Task]:
    """Every built-in and installed task by name, in the order of their files."""
    tasks: dict[str, Task] = {}
    places: dict[str, Path] = {}
    for file in _scan(dabench.tasks, "dabench.tasks", "task family").values():
        for task in _tasks_of(file):
            _add(places, task.name, file, "task")
            tasks[task.name] = task
    return tasks


def _tasks_of(file: Path) -> tuple[Task, ...]:
    found = getattr(_module(file, "dabench.tasks"), "TASKS", None)
    if not found:
        raise DabenchError(f"{file} declares no task; let it set TASKS = (Task(...), ...)")
    return tuple(found)


def tasks(text: str) -> tuple[tuple[str, Task], ...]:
    """The tasks a person named, each with the words that find it again in another process.

    `all`, a family, names, `name[angle=90]`, `name[classes=4]`, `name[prior=0.5]`, globs, or a path to a
    .toml or .py file, comma-separated.
    """
    known = known_tasks()
    families = {task.family for task in known.values()}
    chosen: dict[str, Task] = {}
    for part in split_list(text):
        if part.endswith((".toml", ".py")):
            chosen.update(_own_tasks(part))
            continue
        found = [task for task in known.values() if part in ("all", task.family) or _globbed(task.name, part)]
        if found:
            chosen.update((task.name, task) for task in found)
            continue
        name, given = _name_and_parameters(part)
        if name not in known and name not in families:
            raise _unknown("task", name, [*known, *families])
        for task in known.values():
            if name in (task.name, task.family):
                chosen[part.replace(name, task.name, 1)] = _varied(task, given)
    if not chosen:
        raise DabenchError("no task named; give names, a family or `all` to --tasks")
    return tuple(chosen.items())


def _varied(task: Task, given: Mapping[str, str]) -> Task:
    """The task with its target's `classes` or `prior` changed, or a parameter of its camera."""
    from dabench.data.target_shift import TARGET_SHIFTS, with_target_shift

    for name, value in given.items():
        try:
            number = float(value)
        except ValueError:
            raise DabenchError(f"{task.name}[{name}={value}]: '{value}' is not a number") from None
        task = with_target_shift(task, name, number) if name in TARGET_SHIFTS else task.vary(name, number)
    return task


def _own_tasks(text: str) -> dict[str, Task]:
    from dabench.data import check_task_name, task_from_toml

    file = Path(text).expanduser().resolve()
    if not file.is_file():
        raise DabenchError(f"no task file {text}; give the path of a file that exists")
    if file.suffix == ".toml":
        own: tuple[Task, ...] = (task_from_toml(file),)
    else:
        own = _tasks_of(file)
    for task in own:
        check_task_name(task.name, file)
        if task.name in known_tasks():
            raise DabenchError(f"two tasks are named '{task.name}': {file} and a built-in one; rename yours")
    # One file may hold several tasks: the words that find one again are the path and the task's name.
    return {f"{file}::{task.name}": task for task in own}


def sized(task: Task, image_size: int) -> Task:
    """The task with images of that side, the padding of its random shifts in proportion."""
    crop = round(task.recipe.crop * image_size / task.image_shape[1])
    shape = (task.image_shape[0], image_size, image_size)
    return replace(task, image_shape=shape, recipe=replace(task.recipe, crop=crop))


def task(words: str) -> Task:
    """The task found by the words that `tasks` gave for it."""
    file, _, name = words.partition("::")
    for _, found in tasks(file):
        if not name or found.name == name:
            return found
    raise _unknown("task", words, known_tasks())


@cache
def references() -> tuple[Reference, ...]:
    """The published accuracies that stand beside ours."""
    file = Path(dabench.tasks.__path__[0]) / "references.csv"
    with file.open(newline="") as lines:
        return tuple(
            Reference(
                task=row["task"],
                method=row["method"],
                accuracy=float(row["accuracy"]),
                std=float(row["std"]) if row["std"] else None,
                protocol=row["protocol"],
                backbone=row["backbone"],
                source=row["source"],
            )
            for row in csv.DictReader(lines)
        )
