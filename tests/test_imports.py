import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dabench
import dabench.methods
import dabench.tasks

# Each package may import those named here, and itself.
ARROWS = {
    "core": "",
    "files": "core",
    "nn": "core",
    "models": "core files nn",
    "data": "core files models",
    "registry": "core data methods tasks",
    "fingerprints": "core data registry",
    "results": "core files registry fingerprints",
    "run": "core files nn models data registry fingerprints results",
    "evaluation": "core results",
    "report": "core files data registry results evaluation",
    "papers": "core files data models registry results run evaluation report",
    "authoring": "core nn models data registry run",
    "cli": "core files models data registry fingerprints results run evaluation report papers authoring",
    "methods": "core nn",
    "tasks": "core data",
}
FOLDERS = [Path(package.__path__[0]) for package in (dabench, dabench.methods, dabench.tasks)]
FILES = sorted({file for folder in FOLDERS for file in folder.rglob("*.py")} - set(FOLDERS[0].glob("__*.py")))


def package_of(file):
    for folder, name in zip(FOLDERS, ("", "methods", "tasks"), strict=True):
        if file.is_relative_to(folder):
            return name or file.relative_to(folder).parts[0].removesuffix(".py")
    raise AssertionError(file)


def imported(file):
    """The packages of dabench that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names if not alias.name.startswith("__")}
    return {name.split(".")[1] for name in found if name.startswith("dabench.")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{package_of(file)}-{file.stem}")
def test_an_import_follows_the_arrows(file):
    package = package_of(file)
    assert imported(file) <= {package, *ARROWS[package].split()}


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
