"""Each data set is read from a handful of pictures made in its official layout."""

import csv
import shutil
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from dabench import data
from dabench.core import DabenchError, MissingData
from dabench.data.camelyon17 import camelyon17_hospital, camelyon17_training
from dabench.data.domainnet import DOMAINNET126_CLASSES, DOMAINNET_CLASSES, DOMAINNET_DOMAINS, domainnet
from dabench.data.imagenet_shifts import IMAGENET_SHIFTS
from dabench.data.imagenets import wnids
from dabench.data.mnistm import mnistm
from dabench.tasks import camelyon17 as camelyon17_tasks
from dabench.tasks import digits, imagenet, imagenet_shifts, office, pacs, visda
from dabench.tasks import domainnet as domainnet_tasks

SHAPE = (3, 8, 8)
SHIFTS = {shift.name: shift for shift in IMAGENET_SHIFTS}


def picture(path, value=100, size=(9, 8)):
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)


def grey_levels(domain):
    """The first pixel of each image: which picture it is."""
    return domain.images[:, 0, 0, 0].astype(int)


def write_domains(release, root, per_class=5):
    """Every class of every domain, each domain a brightness of its own."""
    for number, (folder, _) in enumerate(release.domains.values()):
        for name in release.class_names:
            for index in range(per_class):
                picture(root / folder / name / f"frame_{index:04d}.png", value=50 * number)


def small(task):
    return replace(task, image_shape=(task.image_shape[0], 8, 8))


@pytest.mark.parametrize("name", [name for name in data.RELEASES if name != "office_home"])
def test_a_release_of_domain_folders_gives_every_pair_of_domains(name, tmp_path):
    release = data.RELEASES[name]
    write_domains(release, tmp_path)
    tasks = [task for module in (pacs, office, visda) for task in module.TASKS if task.datasets == (name,)]
    assert {task.target for task in tasks} <= set(release.domains)
    task = small(tasks[0])
    domains = task.read(tmp_path, tmp_path / "cache", task.protocol("transductive"))
    count = 5 * task.num_classes
    order = list(release.domains)
    assert set(grey_levels(domains.source_train)) == {50 * order.index(task.source)}
    assert set(grey_levels(domains.target_test)) == {50 * order.index(task.target)}
    assert len(domains.source_train) + len(domains.source_test) == len(domains.target_test) == count
    assert np.bincount(domains.target_test.labels).tolist() == [5] * task.num_classes
    assert f"{count:,} of {release.domains[task.source][1]:,} {task.source} pictures" in domains.partial
    assert len(data.files_of(task, tmp_path)) == count * len(release.domains)


def test_office_home_keeps_the_space_in_its_fourth_domain(tmp_path):
    write_domains(data.RELEASES["office_home"], tmp_path, per_class=2)
    assert (tmp_path / "OfficeHomeDataset_10072016" / "Real World" / "Alarm_Clock").is_dir()
    task = small(next(task for task in office.TASKS if task.name == "office_home-art-real"))
    domains = task.read(tmp_path, tmp_path / "cache", task.protocol("holdout"))
    assert set(grey_levels(domains.target_test)) == {150}
    assert task.num_classes == 65


def test_the_number_of_tasks_is_every_ordered_pair_and_every_left_out_domain():
    families = [task.family for module in (pacs, office) for task in module.TASKS]
    assert {family: families.count(family) for family in families} == {
        "pacs": 12,
        "pacs-rest": 4,
        "office31": 6,
        "office31-rest": 3,
        "office_home": 12,
        "office_home-rest": 4,
        "office_caltech10": 12,
        "office_caltech10-rest": 4,
    }
    assert [task.family for task in domainnet_tasks.TASKS].count("domainnet") == 30
    assert [task.family for task in domainnet_tasks.TASKS].count("domainnet126") == 12


def test_a_rest_task_learns_from_every_domain_but_the_target(tmp_path):
    write_domains(data.PACS, tmp_path)
    task = small(next(task for task in pacs.TASKS if task.name == "pacs-rest-sketch"))
    domains = task.read(tmp_path, tmp_path / "cache", task.protocol("holdout"))
    assert set(grey_levels(domains.source_train)) == set(grey_levels(domains.source_test)) == {0, 50, 100}
    assert set(grey_levels(domains.target_train)) == set(grey_levels(domains.target_test)) == {150}
    assert len(domains.source_train) == 3 * 7 * 4


def test_a_class_that_is_not_there_is_named_with_where_to_get_it(tmp_path):
    write_domains(data.RELEASES["office31"], tmp_path, per_class=1)
    shutil.rmtree(tmp_path / "office31" / "dslr" / "images" / "ruler")
    task = office.TASKS[0]
    with pytest.raises(MissingData, match=r"office31: .*ruler is missing; fetch the original images"):
        task.read(tmp_path, tmp_path / "cache", task.protocols[0])


def write_domainnet(root, classes=("bee", "zebra", "yoga")):
    for number, domain in enumerate(DOMAINNET_DOMAINS):
        for split in ("train", "test"):
            names = [f"{domain}/{name}/{domain}_{split}_{index}.png" for name in classes for index in range(2)]
            for name in names:
                picture(root / "domainnet" / name, value=20 * number + (10 if split == "test" else 0))
            lines = "".join(f"{name} {position}\n" for position, name in enumerate(names))
            (root / "domainnet" / f"{domain}_{split}.txt").write_text(lines)


def test_domainnet_splits_by_its_lists_and_labels_by_its_folders(tmp_path):
    write_domainnet(tmp_path)
    tasks = {task.name: small(task) for task in domainnet_tasks.TASKS}
    task = tasks["domainnet-clipart-sketch"]
    domains = task.read(tmp_path, tmp_path / "cache", task.protocols[0])
    assert [set(grey_levels(part)) for part in (domains.source_train, domains.source_test)] == [{0}, {10}]
    assert [set(grey_levels(part)) for part in (domains.target_train, domains.target_test)] == [{100}, {110}]
    assert {task.class_names[label] for label in domains.target_test.labels} == {"bee", "yoga", "zebra"}
    assert "6 of 33,525 clipart pictures to train" in domains.partial
    assert len(data.files_of(task, tmp_path)) == 12 * (6 + 1)
    fewer = tasks["domainnet126-clipart-sketch"]
    kept = fewer.read(tmp_path, tmp_path / "cache", fewer.protocols[0]).target_test
    assert {fewer.class_names[label] for label in kept.labels} == {"bee", "zebra"}


def test_a_list_that_names_what_is_not_there_or_outside_is_refused(tmp_path):
    write_domainnet(tmp_path)
    path = tmp_path / "domainnet" / "real_test.txt"
    path.write_text("real/bee/gone.jpg 24\n")
    with pytest.raises(MissingData, match=r"gone\.jpg, which real_test\.txt names, is missing"):
        domainnet(tmp_path, "real", "test", DOMAINNET_CLASSES)
    path.write_text("real/../secret.jpg 24\n")
    with pytest.raises(DabenchError, match=r"holds the line 'real/\.\./secret\.jpg 24'"):
        domainnet(tmp_path, "real", "test", DOMAINNET_CLASSES)


def test_the_126_classes_are_among_the_345():
    assert (len(set(DOMAINNET_CLASSES)), len(set(DOMAINNET126_CLASSES))) == (345, 126)
    assert set(DOMAINNET126_CLASSES) < set(DOMAINNET_CLASSES)


def test_mnistm_is_labelled_by_its_text_files(tmp_path):
    for split in ("train", "test"):
        lines = []
        for index in range(10):
            picture(tmp_path / "mnist_m" / f"mnist_m_{split}" / f"{index:08d}.png", 20 * index, (32, 32))
            lines.append(f"{index:08d}.png {index}\n")
        (tmp_path / "mnist_m" / f"mnist_m_{split}_labels.txt").write_text("".join(lines))
    domain = data.decoded(mnistm(tmp_path, "test"), tmp_path / "cache", (3, 32, 32))
    assert (grey_levels(domain) == 20 * domain.labels).all()
    assert sorted(domain.labels) == list(range(10))
    assert data.mnistm_partial(tmp_path) == "10 of 59,001 and 10 of 9,001 MNIST-M pictures"
    (tmp_path / "mnist_m" / "mnist_m_test_labels.txt").write_text("00000000.png eleven\n")
    with pytest.raises(DabenchError, match=r"'00000000\.png eleven'"):
        mnistm(tmp_path, "test")


def write_camelyon17(root):
    """Ten patches of each of five centres, brighter by centre, a fifth of those that train held out."""
    folder = root / "camelyon17_v1.0"
    columns = ("", "patient", "node", "x_coord", "y_coord", "tumor", "slide", "center", "split")
    rows = []
    for center in range(5):
        for index in range(10):
            row = (len(rows), f"00{center}", 4, index, 7, index % 2, center, center, int(index >= 8))
            name = f"patch_patient_00{center}_node_4_x_{index}_y_7.png"
            picture(folder / "patches" / f"patient_00{center}_node_4" / name, 40 * center, (96, 96))
            rows.append(row)
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_camelyon17_numbers_the_hospitals_as_wilds_does(tmp_path):
    write_camelyon17(tmp_path)
    assert len(camelyon17_training(tmp_path, "train")) == 3 * 8
    assert len(camelyon17_hospital(tmp_path, 4)) == 10
    task = small(next(task for task in camelyon17_tasks.TASKS if task.name == "camelyon17-hospital5"))
    domains = task.read(tmp_path, tmp_path / "cache", task.protocol("transductive"))
    assert set(grey_levels(domains.source_train)) == set(grey_levels(domains.source_test)) == {0, 120, 160}
    assert set(grey_levels(domains.target_test)) == {80}  # the test centre is number 2 in the file
    assert np.bincount(domains.target_test.labels).tolist() == [5, 5]
    assert domains.partial == "50 of 455,954 patches"


def write_imagenet(root, classes):
    known = wnids()
    for index in classes:
        picture(root / "imagenet" / "val" / known[index] / f"ILSVRC2012_val_{index:08d}.JPEG", value=10)


def test_five_seeds_of_the_folds_score_each_picture_of_a_partial_imagenet_once(tmp_path):
    write_imagenet(tmp_path, range(20))
    task = small(next(task for task in imagenet.TASKS if task.name == "imagenet-power"))
    folds = [task.protocol("five-folds").of_seed(seed) for seed in range(5)]
    scored = []
    for fold in folds:
        domains = task.read(tmp_path, tmp_path / "cache", task.protocol(fold.spec))
        parts = [domains.target_train.labels, domains.target_validation.labels, domains.target_test.labels]
        assert [len(part) for part in parts] == [14, 2, 4]
        assert sorted(np.concatenate(parts)) == list(range(20))
        assert (domains.source_test.labels == domains.target_test.labels).all()
        scored += parts[-1].tolist()
    assert sorted(scored) == list(range(20))
    assert task.protocol("five-folds").of_seed(7) == folds[2]


@pytest.mark.parametrize(("name", "kept"), [("imagenet_r", (1, 13, 988)), ("imagenet_sketch", (0, 999))])
def test_a_shifted_imagenet_meets_the_same_classes_undistorted(name, kept, tmp_path):
    shift = replace(SHIFTS[name], classes=kept)
    write_imagenet(tmp_path, (0, *kept, 5))
    for index in kept:
        for number in range(5):
            picture(tmp_path / shift.folder / wnids()[index] / f"art_{number}.jpg", value=index % 200)
    pictures = shift.pictures(tmp_path)
    assert [one.label for one in sorted(pictures, key=lambda one: one.label)] == sorted(list(range(len(kept))) * 5)
    undistorted = shift.undistorted(tmp_path)
    assert {wnids()[kept[one.label]] == one.path.parent.name for one in undistorted} == {True}
    assert len(undistorted) == len(kept)


def test_imagenet_v2_is_labelled_by_number_not_by_the_order_of_its_folders(tmp_path):
    shift = replace(SHIFTS["imagenet_v2"], classes=(2, 10))  # "10" sorts before "2"
    for index in shift.classes:
        picture(tmp_path / shift.folder / str(index) / "x.jpeg", value=index)
    domain = data.decoded(shift.pictures(tmp_path), tmp_path / "cache", SHAPE)
    assert {int(label): int(grey) for label, grey in zip(domain.labels, grey_levels(domain), strict=True)} == {
        0: 2,
        1: 10,
    }


def test_the_classes_of_imagenet_r_are_those_that_timm_lists():
    listed = files("timm.data").joinpath("_info", "imagenet_r_indices.txt").read_text().split()
    task = next(task for task in imagenet_shifts.TASKS if task.name == "imagenet-r")
    assert task.class_names == tuple(map(str, task.logit_indices)) == tuple(listed)
    assert wnids()[task.logit_indices[0]] == "n01443537"  # goldfish, the first folder of the release


def test_a_shifted_imagenet_task_is_read_whole(tmp_path, monkeypatch):
    shift = replace(SHIFTS["imagenet_v2"], classes=(3, 7))
    monkeypatch.setitem(imagenet_shifts._SHIFTS, "imagenet_v2", shift)
    write_imagenet(tmp_path, shift.classes)
    for index in shift.classes:
        for number in range(5):
            picture(tmp_path / shift.folder / str(index) / f"{number}.jpeg", value=100)
    task = small(next(task for task in imagenet_shifts.TASKS if task.name == "imagenet-v2"))
    domains = task.read(tmp_path, tmp_path / "cache", task.protocols[0])
    assert domains.source_train is None
    assert (len(domains.source_test), len(domains.target_train), len(domains.target_test)) == (2, 8, 2)
    assert domains.partial == "10 of 10,000 pictures"


@pytest.mark.parametrize("task", digits.TASKS, ids=[task.name for task in digits.TASKS])
def test_a_digits_task_without_its_files_says_how_to_get_them(task, tmp_path):
    with pytest.raises(MissingData, match=r"dabench data download|fetch mnist_m"):
        task.read(tmp_path, tmp_path / "cache", task.protocols[0])
