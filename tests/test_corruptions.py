"""The 15 corruptions, against the library of their definitions, and the tasks made of them."""

import pickle
import warnings

import numpy as np
import pytest
from PIL import Image

from dabench import registry
from dabench.core import DabenchError, Domain, MissingData
from dabench.data import effects
from dabench.data.corruptions import CORRUPTIONS, Corruption, corrupted

EXACT = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
# The library's elastic transform is another than the releases': it moves no three points before.
BY_CHANCE = sorted(set(CORRUPTIONS) - {*EXACT, "elastic_transform"})
SMALL, LARGE = 32, 64


def pictures(count, side):
    """Smooth colours, as photographs have them: uint8 (count, 3, side, side)."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in coarse]
    return np.stack(smooth).transpose(0, 3, 1, 2).copy()


def by_the_library(name, severity, images):
    """What imagecorruptions makes of the images, from a fixed seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own dependencies' deprecations
        library = pytest.importorskip("imagecorruptions", reason="pip install 'dabench[corruptions]'")
    np.random.seed(0)
    changed = [library.corrupt(one.transpose(1, 2, 0), severity, name) for one in images]
    return np.stack(changed).transpose(0, 3, 1, 2)


def distance(one, other):
    return np.abs(one.astype(float) - other).mean()


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", EXACT)
def test_corruptions_without_chance_are_the_library_s(name, severity):
    images = pictures(3, LARGE)
    assert distance(Corruption(name, severity).apply(images), by_the_library(name, severity, images)) < 0.1


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", BY_CHANCE)
def test_corruptions_by_chance_change_as_much_as_the_library_s(name, severity):
    images = pictures(32, LARGE)
    ours, theirs = Corruption(name, severity).apply(images), by_the_library(name, severity, images)
    tolerance = 0.25 if name == "frost" else 0.12  # the library has one photograph more than the releases
    assert distance(ours, images) == pytest.approx(distance(theirs, images), rel=tolerance)
    assert ours.mean() == pytest.approx(theirs.mean(), rel=tolerance / 2)
    assert ours.std((1, 2, 3)).mean() == pytest.approx(theirs.std((1, 2, 3)).mean(), rel=tolerance)


@pytest.mark.parametrize("side", [SMALL, LARGE])
@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"elastic_transform"}))  # released milder at 5 than at 1
def test_more_severe_is_farther_from_the_picture(name, side):
    images = pictures(8, side)
    weak, strong = (distance(Corruption(name, severity).apply(images), images) for severity in (1, 5))
    assert 0.2 < weak < strong


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_picture_is_corrupted_in_the_same_way_whatever_comes_with_it(name):
    images = pictures(4, SMALL)
    together = Corruption(name, 3).apply(images)
    assert np.array_equal(together[2:3], Corruption(name, 3).apply(images[2:3]))
    assert together.dtype == np.uint8


def test_elastic_moves_pixels_and_keeps_colours():
    images = np.broadcast_to(np.array([10, 100, 200], np.uint8)[:, None, None], (2, 3, SMALL, SMALL)).copy()
    assert distance(Corruption("elastic_transform").apply(images), images) < 1
    assert distance(Corruption("elastic_transform").apply(pictures(2, SMALL)), pictures(2, SMALL)) > 3


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Corruption("foggy"), "no corruption 'foggy'; did you mean 'fog'"),
        (lambda: Corruption("fog", 6), r"fog\[severity=6\] must be 1, 2, 3, 4 or 5"),
        (lambda: registry.task("cifar10-fog[severity=2.5]"), "must be 1, 2, 3, 4 or 5"),
        (lambda: registry.task("cifar10-fog[name=2]"), "has no 'name'"),
        (lambda: registry.task("cifar10-c[classes=3]"), "take one of its 15 shifts, as cifar10-fog"),
        (lambda: Corruption("fog").apply(np.zeros((1, 1, 32, 32), np.uint8)), "3 channels"),
        (lambda: Corruption("fog").apply(np.zeros((1, 3, 16, 16), np.uint8)), "32 pixels a side"),
    ],
)
def test_what_cannot_be_corrupted_is_refused_in_words(make, complaint):
    with pytest.raises(DabenchError, match=complaint):
        make()


def test_frost_says_what_brings_its_photographs(monkeypatch):
    effects.frost_photos.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingData, match=r"pip install 'dabench\[corruptions\]'"):
        Corruption("frost").apply(pictures(1, SMALL))


def test_corrupted_pictures_are_made_once(tmp_path, monkeypatch):
    domain = Domain(pictures(2, SMALL), np.arange(2))
    first = corrupted(domain, Corruption("fog"), tmp_path)
    monkeypatch.setattr(Corruption, "apply", lambda self, images: pytest.fail("made again"))
    again = corrupted(domain, Corruption("fog"), tmp_path)
    assert np.array_equal(first.images, again.images)
    assert not list(tmp_path.glob("*.part"))


# ------------------------------------------------------------------------------------------------------- tasks


@pytest.fixture
def root(tmp_path):
    """Both releases in their layouts: CIFAR-10 with 18 test pictures, CIFAR-10-C with these at five severities."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        images = pictures(18, SMALL)
        batch = {"data": images.reshape(18, -1), "labels": list(range(9)) * 2}
        (folder / name).write_bytes(pickle.dumps(batch))
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    np.save(folder / "labels.npy", np.tile(np.arange(9), 10).astype(np.uint8))
    for number, name in enumerate(CORRUPTIONS):
        severity = np.repeat(np.arange(1, 6), 18)
        pixels = np.broadcast_to((10 * number + severity)[:, None, None, None], (90, 32, 32, 3))
        np.save(folder / f"{name}.npy", pixels.astype(np.uint8))
    return tmp_path


def read(name, root, protocol=None):
    task = registry.task(name)
    return task.read(root, root / "cache", task.protocol(protocol))


def test_one_corruption_is_a_camera_in_front_of_both_splits(root):
    domains = read("cifar10-contrast[severity=2]", root)
    assert np.array_equal(domains.target_test.images, Corruption("contrast", 2).apply(domains.source_test.images))
    assert np.array_equal(domains.target_train.images, Corruption("contrast", 2).apply(domains.source_train.images))
    assert not domains.parts


@pytest.mark.parametrize("task", ["cifar10-rotated", "cifar10-contrast", "cifar10-c", "cifar10-c-released"])
def test_a_copy_of_cifar10_that_lacks_pictures_says_so_whatever_is_done_to_them(root, task):
    assert read(task, root).partial == "90 of 50,000 and 18 of 10,000 pictures"


def test_all_corruptions_come_in_the_official_order(root):
    domains = read("cifar10-c", root)
    assert domains.parts == (18,) * 15
    parts = np.split(domains.target_test.images, 15)
    for name, part in zip(CORRUPTIONS, parts, strict=True):
        assert np.array_equal(part, Corruption(name, 5).apply(domains.source_test.images))


@pytest.mark.parametrize("severity", [1, 5])
def test_the_released_files_are_read_at_their_severity(root, severity):
    domains = read("cifar10-c-released", root, f"severity{severity}")
    assert [part[0, 0, 0, 0] for part in np.split(domains.target_test.images, 15)] == [
        10 * number + severity for number in range(15)
    ]
    assert np.array_equal(domains.target_test.labels, np.tile(np.arange(9), 30))


def test_the_gradual_protocol_rises_and_falls_over_ninths_of_the_test_pictures(root):
    domains = read("cifar10-c-released", root, "gradual")
    assert domains.parts == (2,) * 135
    assert domains.target_test.images[::2, 0, 0, 0].tolist()[:9] == [1, 2, 3, 4, 5, 4, 3, 2, 1]
    assert domains.target_test.labels[:18].reshape(9, 2).T.tolist() == [list(range(9))] * 2  # every picture once


def test_a_missing_release_names_its_file_and_where_it_is_to_be_had(root):
    (root / "CIFAR-10-C" / "fog.npy").unlink()
    with pytest.raises(MissingData, match=r"fog\.npy is missing; fetch CIFAR-10-C\.tar from https://zenodo"):
        read("cifar10-c-released", root)


@pytest.mark.parametrize("name", ["fog.npy", "labels.npy"])
def test_a_file_whose_head_is_no_python_is_named(root, name):
    file = root / "CIFAR-10-C" / name
    file.write_bytes(file.read_bytes().replace(b"(", b"[", 1))
    with pytest.raises(DabenchError, match=rf"cannot read .*{name}"):
        read("cifar10-c-released", root)


def test_a_file_of_another_shape_is_refused(root):
    np.save(root / "CIFAR-10-C" / "fog.npy", np.zeros((7, 32, 32, 3), np.uint8))
    with pytest.raises(DabenchError, match=r"fog\.npy: it holds uint8 \(7, 32, 32, 3\) for 90 labels"):
        read("cifar10-c-released", root)
