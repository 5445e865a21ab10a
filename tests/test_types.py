import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_the_annotations_agree_with_the_code(tmp_path):
    # The folders are not named as the packages are, so mypy finds them only where they lie as once installed.
    mapped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    for package, folder in mapped.items():
        shutil.copytree(
            ROOT / folder, tmp_path.joinpath(*package.split(".")), ignore=shutil.ignore_patterns("__pycache__")
        )
    config, cache = ROOT / "pyproject.toml", tmp_path / "cache"
    command = [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", cache, "-p", "dabench"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
