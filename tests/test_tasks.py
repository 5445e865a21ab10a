import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dabench.core import DabenchError
from dabench.data import DATASETS, IMAGENETTE_CLASSES, fingerprint
from dabench.data.cameras import Rotated
from dabench.registry import known_tasks
from dabench.tasks import digits, pacs, quick

TASKS = list(known_tasks().values())
NAMES = [task.name for task in TASKS]


def test_listing_tasks_imports_no_torch():
    code = "import sys, dabench.registry; dabench.registry.known_tasks(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_unique():
    assert len(set(NAMES)) == len(NAMES)


def test_the_scenarios_of_the_suite_are_all_there():
    expected = {"fonts-optdigits", "optdigits-fonts", "shapes-rotated", "shapes-power"}
    expected |= {"mnist-usps", "usps-mnist", "svhn-mnist", "imagenet-rotated", "imagenet-power"}
    expected |= {
        f"{name}-{shift}" for name in ("imagenette", "cifar10", "pacs-photo") for shift in ("rotated", "power")
    }
    assert expected <= set(NAMES)


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_a_task_states_its_facts(task):
    assert task.licence
    assert task.citation
    assert task.note
    assert task.protocols
    assert len(set(task.class_names)) == task.num_classes
    assert set(task.datasets) <= set(DATASETS)
    assert task.recipe.steps > 0
    assert task.pretrained or task.recipe.source_steps > 0
    assert task.logit_indices is None or len(task.logit_indices) == task.num_classes
    assert task.camera is None or task.image_shape[0] == 3


def test_the_wordnet_ids_of_imagenette_are_in_the_order_of_their_logits():
    indices = [index for _, index in IMAGENETTE_CLASSES.values()]
    assert list(IMAGENETTE_CLASSES) == sorted(IMAGENETTE_CLASSES)
    assert indices == sorted(indices)


def test_imagenette_logits_are_those_of_the_pretrained_networks():
    from timm.data import ImageNetInfo

    known = ImageNetInfo("imagenet-1k").label_names()
    assert [known[index] for _, index in IMAGENETTE_CLASSES.values()] == list(IMAGENETTE_CLASSES)


@pytest.mark.parametrize("task", quick.TASKS, ids=[task.name for task in quick.TASKS])
def test_an_embedded_task_needs_no_files_and_is_the_same_every_time(task, tmp_path):
    first, second = (task.read(tmp_path / "none", tmp_path, task.protocols[0]) for _ in range(2))
    assert fingerprint(first) == fingerprint(second)
    for domain in (first.source_train, first.source_test, first.target_train, first.target_test):
        assert domain.images.shape[1:] == task.image_shape
        assert domain.images.dtype == np.uint8
        assert np.bincount(domain.labels, minlength=task.num_classes).min() > 20


def test_varying_a_camera_changes_its_parameter_and_says_so():
    varied = {task.name: task for task in TASKS}["imagenet-rotated"].vary("angle", 90)
    assert varied.name == "imagenet-rotated[angle=90]"
    assert varied.camera == Rotated(90)


def test_varying_an_unknown_parameter_suggests_the_nearest():
    with pytest.raises(DabenchError, match="did you mean 'angle'"):
        quick.TASKS[2].vary("angel", 90)


def test_a_task_without_a_camera_has_nothing_to_vary():
    with pytest.raises(DabenchError, match="has no camera"):
        quick.TASKS[0].vary("angle", 90)


def test_mnist_to_usps_holds_the_official_splits(data_root, tmp_path):
    task = digits.TASKS[0]
    domains = task.read(data_root, tmp_path, task.protocol("full"))
    sizes = [len(part) for part in (domains.source_train, domains.source_test)]
    assert sizes == [60_000, 10_000]
    assert [len(part) for part in (domains.target_train, domains.target_test)] == [7291, 2007]
    assert domains.target_train.images.shape[1:] == (1, 28, 28)
    assert domains.source_train.labels[:5].tolist() == [5, 0, 4, 1, 9]


def test_p1_draws_fewer_training_images_and_scores_on_all(data_root, tmp_path):
    task = digits.TASKS[1]
    domains = task.read(data_root, tmp_path, task.protocol("p1"))
    assert (len(domains.source_train), len(domains.target_train)) == (1800, 2000)
    assert len(domains.target_test) == 10_000


def test_pacs_holdout_shares_no_picture_and_transductive_shares_all(data_root, tmp_path):
    task = replace(pacs.TASKS[1], image_shape=(3, 32, 32))
    holdout = task.read(data_root, tmp_path, task.protocol("holdout"))
    assert len(holdout.target_train) + len(holdout.target_test) == 1670
    train = {image.tobytes() for image in holdout.target_train.images}
    shared = sum(image.tobytes() in train for image in holdout.target_test.images)
    assert shared <= 3  # the release itself holds a few pictures twice
    transductive = task.read(data_root, tmp_path, task.protocol("transductive"))
    assert len(transductive.target_train) == len(transductive.target_test) == 1670
    assert holdout.partial == ""


def test_a_partial_imagenette_says_how_much_of_it_there_is(data_root, tmp_path):
    task = replace({task.name: task for task in TASKS}["imagenette-power"], image_shape=(3, 32, 32))
    domains = task.read(data_root, tmp_path, task.protocols[0])
    assert domains.partial == "2,000 of 9,469 and 1,000 of 3,925 pictures"
    assert domains.source_train is None
    assert (len(domains.target_train), len(domains.target_validation)) == (1800, 200)
    assert (domains.target_test.labels == domains.source_test.labels).all()
    assert domains.target_test.images.mean() > domains.source_test.images.mean() + 20


@pytest.mark.parametrize("name", ["mnist-usps", "svhn-mnist", "pacs-art-photo", "imagenet-power", "cifar10-power"])
def test_a_task_without_its_files_says_how_to_get_them(name, tmp_path):
    task = {task.name: task for task in TASKS}[name]
    with pytest.raises(DabenchError, match=r"dabench data download|image-net\.org"):
        task.read(Path(tmp_path), tmp_path, task.protocols[0])
