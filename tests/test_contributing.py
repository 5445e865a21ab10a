"""Follows CONTRIBUTING.md to the letter, in a copy of this checkout."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
NOT_RUN = {
    "pip install": "the copy comes first on the path",
    "git push": "needs the network",
}
TINY = "--seeds 1 --budget 0.02 --workers 1"


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def part(title):
    """The text below the headline."""
    return re.split(r"^# ", GUIDE, flags=re.MULTILINE)[[*re.findall(r"^# (.*)$", GUIDE, re.MULTILINE)].index(title) + 1]


@pytest.fixture
def checkout(tmp_path):
    """A git checkout in which `dabench` on the path is its own code."""
    copy = tmp_path / "dabench-copy"
    for folder in ("benchmark", "methods", "tasks"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", copy)
    # An installation maps the three folders to one package; so do these links.
    package = tmp_path / "package" / "dabench"
    shutil.copytree(copy / "benchmark", package)
    for folder in ("methods", "tasks"):
        (package / folder).symlink_to(copy / folder)
    command = tmp_path / "bin" / "dabench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dabench "$@"\n')
    command.chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
    return copy


def shell(line, folder, *paths):
    """Runs a line in the folder; its output where it succeeds."""
    base = folder.parent
    environment = {
        **os.environ,
        "PATH": f"{base / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(map(str, [base / "package", *paths])),
        "DABENCH_CACHE": str(base / "cache"),
        "DABENCH_DATA": str(base / "data"),
        **{f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def walk(text, folder, *paths):
    """Runs every command of the text's bash blocks in order; a sweep with less to compute."""
    for line in "".join(blocks(text, "bash")).splitlines():
        if any(line.startswith(start) for start in NOT_RUN):
            continue
        shell(f"{line} {TINY}" if line.startswith("dabench run") else line, folder, *paths)


@pytest.mark.slow
def test_the_walk_ends_in_a_commit_of_method_rows_and_leaderboard(checkout):
    walk(part("Contributing a method"), checkout)
    assert "| my_method" in (checkout / "first-look.md").read_text()
    assert "my_method" in (checkout / "leaderboard.md").read_text()
    committed = shell("git show --name-only --format=", checkout).split()
    tasks = ("fonts-optdigits", "optdigits-fonts", "shapes-power", "shapes-rotated")
    rows = {f"results/{task}/my_method.parquet" for task in tasks}
    pages = {"leaderboard.md", "README.md", "results/validators.md", *(f"results/{task}/README.md" for task in tasks)}
    assert set(committed) == {"methods/my_method.py", *pages, *rows}


def test_a_package_of_ones_own_registers_its_method(checkout, tmp_path):
    text = part("A package of your own")
    package = tmp_path / "sharpen"
    package.mkdir()
    ((declaration,), (method,)) = blocks(text, "toml"), blocks(text, "python")
    (package / "pyproject.toml").write_text(declaration)
    (package / "sharpen.py").write_text(method)
    installed = tmp_path / "installed"
    installed.mkdir()
    install(package, installed)
    assert re.search("^sharpen +source-only", shell("dabench list methods", checkout, installed), re.MULTILINE)
    assert "FAILED" not in shell("dabench check sharpen", checkout, installed)
    lines = "".join(blocks(text, "bash")).splitlines()
    assert {"dabench list methods", "dabench check sharpen"} < set(lines)
    (run,) = (line for line in lines if line.startswith("dabench run"))
    assert "sharpen" in shell(f"{run} {TINY} --dry-run", checkout, installed)


def install(package, target):
    """What an installer does with a pure package, without a network: build its wheel and unpack it."""
    pytest.importorskip("setuptools", "70.1", reason="builds the package")
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, target], cwd=package, capture_output=True, text=True, check=True
    )
    wheel = target / done.stdout.split()[-1]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
