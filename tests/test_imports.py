import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dabench
import dabench.methods
import dabench.tasks

LAYERS = (
    {"core"},
    {"nn", "checkpoints"},
    {"registry", "store", "data", "cameras", "models", "scores", "statistics"},
    {"standings", "plan", "loop", "studies", "provenance"},
    {"cell", "plots"},
    {"runner", "report", "curves", "verdicts", "scaffold", "advice", "export"},
    {"contract", "display", "papers", "tuning", "verification", "site"},
    {"reproduce"},
    {"cli"},
)
# Reading a TOML file into a task is the data module's work, and finding that file the registry's.
ALLOWED = {("registry", "data"), ("data", "cameras")}
HEIGHT = {module: height for height, modules in enumerate(LAYERS) for module in modules}

CORE = sorted(Path(dabench.__path__[0]).glob("*.py"))
METHODS = sorted(Path(dabench.methods.__path__[0]).glob("*.py"))
TASKS = sorted(Path(dabench.tasks.__path__[0]).glob("*.py"))


def imported(file):
    """The dabench modules that a file imports, `core` for dabench.core."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "dabench":
            found |= {f"dabench.{alias.name}" for alias in node.names if not alias.name.startswith("__")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found.add(node.module)
    return {name.removeprefix("dabench.") for name in found if name.startswith("dabench.")}


@pytest.mark.parametrize("file", [file for file in CORE if file.stem != "__init__"], ids=lambda file: file.stem)
def test_a_core_module_imports_only_from_below(file):
    assert file.stem in HEIGHT, f"give {file.stem} its layer in LAYERS"
    for other in imported(file) - {"methods", "tasks"}:
        allowed = HEIGHT[other] < HEIGHT[file.stem] or (file.stem, other) in ALLOWED
        assert allowed, f"{file.stem} imports {other}, which is not below it"


@pytest.mark.parametrize("file", METHODS, ids=lambda file: file.stem)
def test_a_method_imports_the_contracts_and_building_blocks_alone(file):
    assert imported(file) <= {"core", "nn"}


@pytest.mark.parametrize("file", TASKS, ids=lambda file: file.stem)
def test_a_task_imports_the_contracts_data_and_cameras_alone(file):
    assert imported(file) <= {"core", "data", "cameras"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["list", "methods"],
        ["list", "tasks"],
        ["run", "--methods", "dnan"],
        ["run", "--tasks", "quik"],
        ["run", "--methods", "dann[lr=-1]"],
    ],
    ids=" ".join,
)
def test_answering_a_name_imports_no_torch(arguments):
    program = f"""
import sys
from dabench.cli import main
try:
    main({arguments!r})
finally:
    heavy = {{"torch", "torchvision", "timm", "pandas", "sklearn", "scipy"}} & set(sys.modules)
    assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "AssertionError" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr.replace("SystemExit", ""), done.stderr
