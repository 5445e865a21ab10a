import bz2
import io
import json
import os
import pickle
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from dabench import data
from dabench.core import DabenchError, Domain, Domains, MissingData
from dabench.data.cameras import Power, Rotated
from dabench.tasks import cameras, imagenet

SHAPE = (3, 16, 16)


def _jpeg(value: int, size: tuple[int, int] = (40, 30)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(written, "JPEG")
    return written.getvalue()


def _class_folders(folder: Path, classes: tuple[str, ...], count: int, value: int = 100) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            (folder / name / f"pic_{index:03d}.jpg").write_bytes(_jpeg(value + index))
    return folder


# Official files, made small


def _write_svhn(root: Path) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
    (root / "SVHN").mkdir()
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(root / "SVHN" / name, {"X": images, "y": np.array([[1], [10], [3], [9], [10]], np.uint8)})
    return images


def test_svhn_puts_images_first_and_calls_ten_zero(tmp_path):
    stored = _write_svhn(tmp_path)
    domain = data.svhn(tmp_path, "train")
    assert domain.labels.tolist() == [1, 0, 3, 9, 0]
    assert (domain.images[2, :, 4, 5] == stored[4, 5, :, 2]).all()


def test_a_truncated_svhn_file_is_named(tmp_path):
    _write_svhn(tmp_path)
    path = tmp_path / "SVHN" / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DabenchError, match=r"train_32x32\.mat.*truncated or corrupt"):
        data.svhn(tmp_path, "train")


def _write_cifar10(root: Path) -> np.ndarray:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 1, 0, 9]}, protocol=4))
    return pixels


def test_cifar10_joins_its_five_batches(tmp_path):
    pixels = _write_cifar10(tmp_path)
    train, test = data.cifar10(tmp_path, "train"), data.cifar10(tmp_path, "test")
    assert (len(train), len(test)) == (20, 4)
    assert (test.images[1, 2] == pixels[1, 2048:].reshape(32, 32)).all()
    assert test.labels.tolist() == [3, 1, 0, 9]


def test_cifar10_behind_a_camera_keeps_its_source_undistorted(tmp_path):
    _write_cifar10(tmp_path)
    (task,) = (task for task in cameras.TASKS if task.name == "cifar10-power")
    domains = task.read(tmp_path, tmp_path, task.protocols[0])
    assert (domains.target_test.images == Power().apply(domains.source_test.images)).all()


def test_imagenette_of_a_thousand_classes_has_the_same_pictures_under_imagenets_numbers(tmp_path):
    for split in ("train", "val"):
        _class_folders(tmp_path / "imagenette2-224" / split, tuple(data.IMAGENETTE_CLASSES), 2)
    ten, thousand = (
        replace(task, image_shape=(3, 32, 32)).read(tmp_path, tmp_path / "cache", task.protocols[0])
        for task in cameras.TASKS
        if task.name in ("imagenette-power", "imagenette1k-power")
    )
    assert ten.target_train.labels.max() == 9
    (task,) = (task for task in cameras.TASKS if task.name == "imagenette-power")
    for domain in ("source_test", "target_train", "target_validation", "target_test"):
        few, many = getattr(ten, domain), getattr(thousand, domain)
        assert (few.images == many.images).all()
        assert (np.array(task.logit_indices)[few.labels] == many.labels).all()


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    _write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(print))
    with pytest.raises(DabenchError, match=r"test_batch.*print"):
        data.cifar10(tmp_path, "test")


def test_a_truncated_cifar10_batch_is_named(tmp_path):
    _write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DabenchError, match=r"test_batch.*truncated or corrupt"):
        data.cifar10(tmp_path, "test")


def test_a_truncated_mnist_file_is_named(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        images, labels = folder / f"{split}-images-idx3-ubyte", folder / f"{split}-labels-idx1-ubyte"
        images.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(28 * 28))
        labels.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 2]))
    with pytest.raises(DabenchError, match="train-images-idx3-ubyte"):
        data.mnist(tmp_path, "train")


@pytest.mark.parametrize("content", [b"no archive", bz2.compress(b"7 1:0.5 2:x\n")])
def test_a_corrupt_usps_file_is_named(tmp_path, content):
    (tmp_path / "USPS").mkdir()
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / "USPS" / name).write_bytes(content)
    with pytest.raises(DabenchError, match=r"usps\.t\.bz2"):
        data.usps(tmp_path, "test")


# ImageNet: five pictures under the official names


_WNIDS = ("n01440764", "n01443537", "n01484850", "n01491361")
_TRUTH = (2, 4, 1, 3, 2)  # the devkit's own numbers
_NUMBERS = {"n01484850": 1, "n01440764": 2, "n01491361": 3, "n01443537": 4}
_LABELS = [0, 1, 2, 3, 0]


def _write_devkit(folder: Path) -> None:
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    rows = [(number, wnid, 0) for wnid, number in _NUMBERS.items()] + [(5, "n00001740", 4)]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(rows, kinds)})
    truth = "".join(f"{number}\n" for number in _TRUTH).encode()
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        names = ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
        for name, content in zip(names, (meta.getvalue(), truth), strict=True):
            member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _official() -> dict[str, bytes]:
    return {f"ILSVRC2012_val_{number:08d}.JPEG": _jpeg(40 * number) for number in range(1, 6)}


def _write_imagenet_tar(root: Path) -> None:
    folder = root / "imagenet"
    folder.mkdir()
    _write_devkit(folder)
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for name, content in reversed(_official().items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _write_imagenet_folder(root: Path) -> None:
    (root / "imagenet" / "val").mkdir(parents=True)
    _write_devkit(root / "imagenet")
    for name, content in _official().items():
        (root / "imagenet" / "val" / name).write_bytes(content)


def _write_imagenet_by_class(root: Path) -> None:
    for (name, content), label in zip(_official().items(), _LABELS, strict=True):
        path = root / "imagenet" / "val" / _WNIDS[label] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("write", [_write_imagenet_tar, _write_imagenet_folder, _write_imagenet_by_class])
def test_imagenet_is_in_the_order_of_ids_with_sorted_wordnet_labels(tmp_path, write):
    write(tmp_path)
    pictures = data.imagenet(tmp_path)
    assert [picture.name for picture in pictures] == list(_official())
    assert [picture.label for picture in pictures] == _LABELS
    images = data.decoded(pictures, tmp_path / "cache", SHAPE, 18).images
    assert np.abs(images[:, 0, 8, 8].astype(int) - [40, 80, 120, 160, 200]).max() <= 2


def test_a_partial_imagenet_is_split_in_order_and_says_so(tmp_path):
    _write_imagenet_tar(tmp_path)
    task = replace(imagenet.TASKS[0], image_shape=SHAPE)
    domains = task.read(tmp_path, tmp_path / "cache", task.protocols[0])
    assert domains.partial == "5 of 50,000 pictures"
    assert domains.target_train.labels.tolist() == _LABELS[:4]
    assert domains.target_test.labels.tolist() == domains.source_test.labels.tolist()
    assert len(domains.target_train) + len(domains.target_validation) + len(domains.target_test) == 5


def test_imagenet_without_its_labels_asks_for_the_devkit(tmp_path):
    _write_imagenet_folder(tmp_path)
    (tmp_path / "imagenet" / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(MissingData, match="ILSVRC2012_devkit_t12"):
        data.imagenet(tmp_path)


def test_a_truncated_devkit_is_named(tmp_path):
    _write_imagenet_folder(tmp_path)
    path = tmp_path / "imagenet" / "ILSVRC2012_devkit_t12.tar.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DabenchError, match=r"devkit_t12\.tar\.gz.*truncated or corrupt"):
        data.imagenet(tmp_path)


# Decoding


def test_pictures_are_decoded_once(tmp_path):
    pictures = data.pictures_in(_class_folders(tmp_path / "a", ("x", "y"), 3), ("x", "y"))
    first = data.decoded(pictures, tmp_path / "cache", SHAPE)
    (kept,) = (tmp_path / "cache").glob("*.npy")
    written = kept.stat().st_mtime_ns
    second = data.decoded(pictures, tmp_path / "cache", SHAPE)
    assert kept.stat().st_mtime_ns == written
    assert (first.images == second.images).all()
    assert first.labels.tolist() == [picture.label for picture in pictures]


def test_the_order_of_class_folders_is_mixed_and_fixed_by_names_alone(tmp_path):
    here, there = (
        data.pictures_in(_class_folders(tmp_path / place, ("x", "y"), 20), ("x", "y")) for place in ("a", "b")
    )
    assert [one.name for one in here] == [one.name for one in there]
    assert 5 < sum(one.label for one in here[:20]) < 15
    kept, out = data.held_out(here, 0.2)
    assert [one for one in here if one in kept] == kept
    assert [one for one in here if one in out] == out


def test_a_changed_picture_is_decoded_again(tmp_path):
    pictures = data.pictures_in(_class_folders(tmp_path / "a", ("x",), 2), ("x",))
    data.decoded(pictures, tmp_path / "cache", SHAPE)
    pictures[0].path.write_bytes(_jpeg(250, (64, 64)))
    assert data.decoded(pictures, tmp_path / "cache", SHAPE).images[0].min() > 245


def test_a_corrupt_picture_is_named_and_nothing_is_left_in_the_cache(tmp_path):
    folder = _class_folders(tmp_path / "a", ("x",), 3)
    broken = folder / "x" / "pic_001.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DabenchError, match=r"pic_001\.jpg"):
        data.decoded(data.pictures_in(folder, ("x",)), tmp_path / "cache", SHAPE)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_truncated_cache_file_is_named(tmp_path):
    pictures = data.pictures_in(_class_folders(tmp_path / "a", ("x",), 3), ("x",))
    data.decoded(pictures, tmp_path / "cache", SHAPE)
    (kept,) = (tmp_path / "cache").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:200])
    with pytest.raises(DabenchError, match="delete that file"):
        data.decoded(pictures, tmp_path / "cache", SHAPE)


def test_a_wide_picture_is_cropped_at_its_centre(tmp_path):
    stripes = np.zeros((32, 96, 3), np.uint8)
    stripes[:, 32:64] = 255
    Image.fromarray(stripes).save(tmp_path / "wide.png")
    picture = data.Picture("wide.png", 0, tmp_path / "wide.png")
    assert picture.decoded((1, 32, 32), 32).mean() > 245


def test_large_arrays_stay_on_disk_and_slices_of_them_too(tmp_path):
    pictures = data.pictures_in(_class_folders(tmp_path / "a", ("x",), 5), ("x",))
    domain = data.decoded(pictures, tmp_path / "cache", (3, 2100, 2100))
    assert isinstance(domain[:2].images, np.memmap)


# Splits and prints


def test_the_held_out_split_is_fixed_by_names_alone(tmp_path):
    pictures = [data.Picture(f"x/pic_{index:03d}.jpg", 0, tmp_path) for index in range(50)]
    repacked = [data.Picture(f"x/pic_{index:03d}.png", 0, tmp_path) for index in reversed(range(50))]
    kept, out = data.held_out(pictures, 0.2)
    _, again = data.held_out(repacked, 0.2)
    assert (len(kept), len(out)) == (40, 10)
    assert {Path(one.name).stem for one in out} == {Path(one.name).stem for one in again}
    assert {"x/pic_019.jpg", "x/pic_030.jpg"} < {one.name for one in out}


def test_the_fingerprint_tells_a_pixel_and_a_label_apart():
    images = np.zeros((3, 1, 4, 4), np.uint8)
    domain = Domain(images, np.array([0, 1, 2]))
    changed = images.copy()
    changed[2, 0, 3, 3] = 1
    others = [Domain(changed, domain.labels), Domain(images, np.array([0, 1, 1]))]
    prints = {data.fingerprint(Domains(None, domain, domain, some)) for some in (domain, *others)}
    assert len(prints) == 3


def test_the_manifest_follows_names_and_contents_but_not_the_place(tmp_path):
    prints = []
    for place, name, content in (("a", "x", b"12"), ("b", "x", b"12"), ("c", "x", b"13"), ("d", "y", b"12")):
        path = tmp_path / place / name
        path.parent.mkdir()
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
        prints.append(data.manifest([path], tmp_path / "cache"))
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_file_rewritten_under_its_old_size_and_time_is_another(tmp_path, monkeypatch):
    monkeypatch.setattr("dabench.data.contents._SETTLED", 0.0)  # as if the files had lain there for long
    path = tmp_path / "picture.bmp"
    path.write_bytes(b"12")
    os.utime(path, ns=(1, 1))
    time.sleep(0.02)  # a tick of the file system's clock
    first = data.manifest([path], tmp_path / "cache")
    (remembered,) = (path for path in (tmp_path / "cache" / "fingerprints").iterdir() if path.suffix != ".lock")
    assert data.manifest([path], tmp_path / "cache") == first
    path.write_bytes(b"13")
    os.utime(path, ns=(1, 1))
    assert data.manifest([path], tmp_path / "cache") != first
    assert remembered.exists()


def test_nearest_neighbour_enlarges_and_repeats_the_channel():
    domain = Domain(np.array([[[[1, 2], [3, 4]]]], np.uint8), np.array([0]))
    large = data.fitted(domain, (3, 4, 4)).images
    assert large.shape == (1, 3, 4, 4)
    assert large[0, 2].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


# Anyone's own folders


def _toml(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_two_folders_become_a_task(tmp_path):
    _class_folders(tmp_path / "old", ("cat", "dog"), 10)
    _class_folders(tmp_path / "new", ("cat", "dog"), 5, value=150)
    text = 'name = "mine"\nsource = "old"\ntarget = "new"\nimage_size = 16\nprotocol = "transductive"\n'
    task = data.task_from_toml(_toml(tmp_path, text))
    assert task.class_names == ("cat", "dog")
    assert task.protocol(None).transductive
    domains = task.read(tmp_path / "unused", tmp_path / "cache", task.protocol("holdout"))
    parts = (domains.source_train, domains.source_test, domains.target_train, domains.target_test)
    assert [len(part) for part in parts] == [16, 4, 8, 2]
    assert domains.target_test.images.mean() > 145
    assert len(data.files_of(task, tmp_path)) == 30


def test_one_folder_and_a_camera_become_a_task(tmp_path):
    _class_folders(tmp_path / "old", ("cat", "dog"), 10)
    text = 'name = "mine"\nsource = "old"\ncamera = "rotated"\nangle = 90\nimage_size = 16\n'
    task = data.task_from_toml(_toml(tmp_path, text))
    assert task.camera == Rotated(90)
    domains = task.read(tmp_path, tmp_path / "cache", task.protocol(None))
    assert (domains.target_test.images == Rotated(90).apply(domains.source_test.images)).all()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('nam = "mine"\nsource = "old"\ntarget = "old"', "did you mean 'name'"),
        ('source = "old"\ntarget = "old"', "'name' is missing"),
        ('name = "mine"\nsource = "old"', "either target .* or camera"),
        (
            'name = "mine"\nsource = "old"\ntarget = "old"\nsteps = "many"',
            "steps = 'many' must be of type int",
        ),
        ('name = "mine"\nsource = "old"\ntarget = "old"\nsteps = 0', "must be 1 or more"),
        ('name = "mine"\nsource = "old"\ncamera = "rotatd"', "did you mean 'rotated'"),
        ('name = "mine"\nsource = "old"\ncamera = "rotated"\nexponents = [1, 2, 3]', "it takes 'angle'"),
        ('name = "mine"\nsource = "old"\ncamera = "power"\nexponents = [1, 2]', "must be 3 numbers"),
        ('name = "mine"\nsource = "old"\ncamera = "power"\nprotocol = "transductive"', "choose: holdout"),
        ('name = "../mine"\nsource = "old"\ntarget = "old"', "may hold up to 100 letters"),
        ('name = ".."\nsource = "old"\ntarget = "old"', "the first a letter or digit"),
        ('name = "mine"\nsource = "old"\ncamera = "rotated"\nangle = nan', "angle = nan must be a finite number"),
        ('name = "mine"\nsource = "old"\ncamera = "power"\nexponents = [1, -1, 1]', "finite numbers, 0 or more"),
        ('name = "mine"\nsource = "old"\ntarget = "old"\nflip = 1', "flip = 1 must be of type bool"),
        ('name = "mine"\nsource = "old"\ntarget = "old"\nimage_size = 8\ncrop = 8', "crop = 8 must be less than"),
        ('name = "mine"\nsource = "old"\ntarget = "old"\nsteps = 100_000_000', "at most 10,000,000"),
        ('name = "mine"\nsource = "o\\u0000ld"\ntarget = "old"', "is no path"),
        ('name = "mine"\nsource = "old"\ntarget = "empty"', "empty has no class folders"),
        ('name = "mine"\nsource = "nowhere"\ntarget = "old"', "nowhere is no folder"),
        ('name = "mine"\nsource = old', "cannot read the task file"),
    ],
)
def test_a_mistake_in_the_toml_is_named_with_its_remedy(tmp_path, text, complaint):
    _class_folders(tmp_path / "old", ("cat", "dog"), 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DabenchError, match=complaint):
        data.task_from_toml(_toml(tmp_path, text))


@pytest.mark.parametrize(
    ("classes", "complaint"),
    [
        (("cat", "dgo"), r"differ from those of .* in: dgo, dog; give"),
        (("cat", "Dog"), r"in: Dog, dog \(some differ in letter case alone\)"),
    ],
)
def test_classes_that_differ_are_listed_before_any_picture_is_read(tmp_path, classes, complaint):
    _class_folders(tmp_path / "old", ("cat", "dog"), 2)
    _class_folders(tmp_path / "new", classes, 2)
    with pytest.raises(DabenchError, match=complaint):
        data.task_from_toml(_toml(tmp_path, 'name = "mine"\nsource = "old"\ntarget = "new"\n'))


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({"cat": 3, "dog": 3, "emu": 0}, "class 'emu' has no pictures"),
        ({"cat": 3, "dog": 1, "emu": 1}, "one picture of: dog, emu; give every class at least two"),
        ({"cat": 3}, "one class, 'cat'; give two or more"),
    ],
)
def test_classes_too_small_to_train_and_score_are_named_before_any_work(tmp_path, counts, complaint):
    for name, count in counts.items():
        _class_folders(tmp_path / "old", (name,), count)
    with pytest.raises(DabenchError, match=complaint):
        data.task_from_toml(_toml(tmp_path, 'name = "mine"\nsource = "old"\ncamera = "power"\n'))


def test_a_byte_order_mark_and_the_home_folder_are_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    _class_folders(tmp_path / "old", ("cat", "dog"), 2)
    path = tmp_path / "deep" / "mine.toml"
    path.parent.mkdir()
    path.write_bytes(b'\xef\xbb\xbfname = "mine"\nsource = "~/old"\ncamera = "power"\n')
    assert data.task_from_toml(path).folders == (tmp_path / "old",)


def test_pictures_are_flipped_only_where_the_task_says_so(tmp_path):
    for folder in ("old", "new"):
        _class_folders(tmp_path / folder, ("left", "right"), 2)
    text = 'name = "mine"\nsource = "old"\ntarget = "new"\nimage_size = 28\n'
    recipe = data.task_from_toml(_toml(tmp_path, text)).recipe
    assert (recipe.flip, recipe.crop) == (False, 2)
    recipe = data.task_from_toml(_toml(tmp_path, text + "flip = true\ncrop = 0\n")).recipe
    assert (recipe.flip, recipe.crop) == (True, 0)


_KEYS = st.sampled_from(["name", "source", "target", "camera", "angle", "exponents", "backbone", "checkpoint", "mean"])
_MORE_KEYS = st.sampled_from(["std", "protocol", "image_size", "source_steps", "steps", "batch_size", "flip", "crop"])
_WORDS = st.sampled_from(
    ["mine", "old", "rotated", "power", "holdout", "transductive", "resnet18", "~", "..", "/", "a" * 5000]
)
_VALUES = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    _WORDS,
    st.lists(st.floats() | st.integers(), max_size=4),
)


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    return f"[{', '.join(map(_as_toml, value))}]" if isinstance(value, list) else repr(value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(declared=st.dictionaries(_KEYS | _MORE_KEYS, _VALUES), sound=st.booleans())
def test_whatever_a_task_file_says_it_is_a_task_or_one_clear_error(tmp_path, declared, sound):
    if not (tmp_path / "old").exists():
        _class_folders(tmp_path / "old", ("cat", "dog"), 2)
    if sound:
        declared = {"name": "mine", "source": "old", "camera": "power", **declared}
    path = tmp_path / "any.toml"
    text = "".join(f"{key} = {_as_toml(value)}\n" for key, value in declared.items())
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        task = data.task_from_toml(path)
    except DabenchError:
        return
    assert task.class_names == ("cat", "dog")
    assert task.recipe.crop < task.image_shape[1]


def test_what_is_left_out_of_a_persons_folders_is_said(tmp_path):
    _class_folders(tmp_path / "old", ("cat", "dog"), 2)
    (tmp_path / "old" / "cat" / "notes.txt").write_text("no picture")
    task = data.task_from_toml(_toml(tmp_path, 'name = "mine"\nsource = "old"\ncamera = "power"\n'))
    with pytest.warns(UserWarning, match=r"1 files are left out \(1 \.txt\)"):
        data.files_of(task, tmp_path)


def test_a_folder_without_classes_is_named(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(DabenchError, match="has no class folders"):
        data.task_from_toml(_toml(tmp_path, 'name = "mine"\nsource = "old"\ncamera = "power"\n'))
