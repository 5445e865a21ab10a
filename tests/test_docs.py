"""Every command that README.md and docs/ show is run, and every file that they show is checked."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dabench import cli, data, registry
from dabench.authoring import contract
from dabench.core import Setting
from dabench.data import folders

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])  # CONTRIBUTING.md has a test of its own
NOT_RUN = {
    "pip install": "installs, which whoever runs this test has done",
    "uv ": "installs with a tool that is not everywhere",
    "pytest": "is what is running",
    "dabench data download": "needs the network; its names are checked",
    "dabench serve": "does not end by itself",
}
# A cell that a command names but that only a full run would have stored.
NOT_STORED = "no result of"


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(document):
    """Every command of the document's bash blocks, those joined by && apart."""
    lines = "".join(blocks(document, "bash")).splitlines()
    return [part.strip() for line in lines for part in line.split("&&") if part.strip()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a few stored rows of a quick task, and pictures for the task that the documents declare."""
    folder = tmp_path_factory.mktemp("place")
    call(
        f"dabench run --tasks fonts-optdigits --methods source_only,dann --seeds 1 --budget 0.02 --workers 1 "
        f"--results {folder}/results --cache {folder}/cache --data {folder}/data"
    )
    chance = np.random.default_rng(0)
    for domain in ("source", "target"):
        for name in ("cat", "dog"):
            (folder / "my_camera" / domain / name).mkdir(parents=True)
            for number in range(5):
                pixels = chance.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "my_camera" / domain / name / f"{number}.png")
    return folder


def call(command):
    """Runs a dabench command in this process and gives its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(command)[1:])
    return ended.value.code or 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_every_command_that_a_document_shows_runs(document, place, tmp_path, monkeypatch, capsys):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DABENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DABENCH_CACHE", str(tmp_path / "cache"))
    for command in commands(document):
        if any(command.startswith(start) for start in NOT_RUN):
            continue
        assert command.startswith("dabench "), f"say in NOT_RUN why '{command}' is not run"
        code = call(f"{command} --dry-run" if command.startswith("dabench run") else command)
        captured = capsys.readouterr()
        missing = "missing" in captured.out or NOT_STORED in captured.err
        assert code == 0 or (code == 2 and missing), f"{command}: {captured.err}"


def test_the_data_sets_that_the_documents_download_are_known():
    for document in DOCUMENTS:
        for command in commands(document):
            if command.startswith("dabench data download"):
                assert set(command.split()[3:]) <= data.DATASETS.keys()


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_method_that_the_documents_show_keeps_the_contract(check, tmp_path):
    (text,) = blocks(ROOT / "docs" / "methods.md", "python")
    file = tmp_path / f"shown_{check.__name__}.py"
    file.write_text(text)
    kept, words = contract.outcome(check, registry.methods(str(file))[0])
    assert kept, words


def test_the_keys_of_a_task_file_are_the_documented_ones():
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "tasks.md").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == folders._TOML_TYPES.keys()


def test_links_between_documents_lead_somewhere():
    for document in [*DOCUMENTS, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            exists = (document.parent / target).exists() or target == "leaderboard.md"
            assert exists, f"{document.name} links to {target}"


def test_the_index_names_every_document_and_the_glossary_is_in_order():
    index = (ROOT / "docs" / "README.md").read_text()
    for document in (ROOT / "docs").glob("[a-z]*.md"):
        assert f"({document.name})" in index
    words = re.findall(r"^\*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), flags=re.MULTILINE)
    assert words == sorted(words)


@pytest.mark.parametrize("document", ["reading", "protocol"])
def test_every_setting_is_explained(document):
    text = (ROOT / "docs" / f"{document}.md").read_text()
    assert [setting for setting in Setting if not re.search(rf"(\| |\*\*){setting}( |\*\*)", text)] == []


def test_the_citation_names_the_version_that_is_installed():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {{{version}}}" in (ROOT / "README.md").read_text()
