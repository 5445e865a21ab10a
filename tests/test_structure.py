"""The size of things: a module, a function or a list of parameters that outgrows these limits wants to be two."""

import ast
from pathlib import Path

import pytest

import dabench
import dabench.methods
import dabench.tasks

MODULE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 8

FOLDERS = [Path(package.__path__[0]) for package in (dabench, dabench.methods, dabench.tasks)]
FILES = {f"{folder.name}/{file.relative_to(folder)}": file for folder in FOLDERS for file in folder.rglob("*.py")}


def oversize(file):
    """What in the file is over a limit."""
    text = file.read_text()
    if (lines := text.count("\n")) > MODULE_LINES:
        yield f"{lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES:
                yield f"{node.name} has {lines} lines"
            given = node.args
            count = len(given.posonlyargs + given.args + given.kwonlyargs)
            if count > PARAMETERS and not command(node, file):
                yield f"{node.name} has {count} parameters"


def command(node, file):
    """A command's parameters are the options of the command line, as many as a person may need."""
    return file.parent.name == "cli" and not node.name.startswith("_")


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_module_function_or_list_of_parameters_is_over_the_limits(name):
    assert not list(oversize(FILES[name]))


def test_there_is_one_class_of_a_name():
    places = {}
    for name, file in FILES.items():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not name.startswith("methods/"):
                places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
