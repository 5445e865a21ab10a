"""A target whose pictures have no labels: adapted to, never scored."""

import numpy as np
import pytest
from PIL import Image

from dabench import data, registry
from dabench.cli import display
from dabench.core import DabenchError
from dabench.results import store
from dabench.run import plan, sweep
from dabench.run.plan import Environment, Request, State


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten pictures of each of two classes, and eight from another camera that nobody has sorted."""
    place = tmp_path_factory.mktemp("own")
    chance = np.random.default_rng(0)
    names = [*(f"old/{kind}/{number}.png" for kind in ("cat", "dog") for number in range(10))]
    for name in names + [f"new/{number}.png" for number in range(8)]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(place / name)
    keys = 'image_size = 16\nbackbone = "lenet_bn"\nsource_steps = 2\nsteps = 2\nbatch_size = 4\n'
    (place / "mine.toml").write_text(f'name = "mine"\nsource = "old"\ntarget = "new"\n{keys}')
    return place


def test_pictures_without_class_folders_are_a_target_without_labels(folder, tmp_path):
    task = data.task_from_toml(folder / "mine.toml")
    assert not task.scored
    assert task.class_names == ("cat", "dog")
    domains = task.read(tmp_path, tmp_path / "cache", task.protocol("transductive"))
    assert domains.target_train.labels.tolist() == [-1] * 8
    assert set(domains.source_train.labels) == {0, 1}
    assert len(data.files_of(task, tmp_path)) == 28


def test_its_rows_hold_no_accuracy_and_methods_that_need_labels_are_refused(folder, tmp_path):
    environment = Environment("cpu", 1, tmp_path, tmp_path / "cache")
    request = Request(
        tasks=registry.tasks(str(folder / "mine.toml")),
        methods=registry.methods("dann,target_supervised"),
        seeds=(0,),
    )
    cells = plan.plan(request, tmp_path, tmp_path / "cache", tmp_path / "results")
    assert [cell.state for cell in cells] == [State.RUN, State.REFUSED]
    assert "have none" in cells[1].reason
    ended = []
    sweep.run(cells, environment, tmp_path / "results", workers=1, listen=ended.append)
    row = next(row for row in store.load(tmp_path / "results").to_pylist() if row["method"] == "dann")
    assert (row["status"], row["scored"]) == ("ok", False)
    assert {row[name] for name in ("accuracy", "accuracy_before", "nll", "truth", "checkpoint_accuracy")} == {None}
    assert len(row["predictions"]) == row["n_test"] > 0
    assert row["source_after"] is not None
    finished = [word for word in ended if isinstance(word, sweep.Finished) and word.row["method"] == "dann"]
    assert "not scored" in display.finished_line(finished[0]).plain


def test_an_empty_target_folder_is_still_a_mistake(folder, tmp_path):
    (folder / "empty").mkdir(exist_ok=True)
    file = folder / "empty.toml"
    file.write_text('name = "mine"\nsource = "old"\ntarget = "empty"\n')
    with pytest.raises(DabenchError, match="has no class folders"):
        data.task_from_toml(file)
