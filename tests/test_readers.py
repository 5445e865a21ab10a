"""Official files that are damaged, repacked or hostile: arrays of the right kind, or an error that names the file."""

import bz2
import io
import os
import pickle
import signal
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from dabench import data
from dabench.core import DabenchError
from dabench.data.official import apart

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
LABELS = [3, 1, 0, 9]


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def write_mnist(root):
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(PIXELS[:, :784].reshape(4, 28, 28)))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(np.array(LABELS, np.uint8)))
    return folder / "train-images-idx3-ubyte"


def write_usps(root):
    (root / "USPS").mkdir(exist_ok=True)
    line = "7 " + " ".join(f"{place}:0.5" for place in range(1, 257)) + "\n"
    for name in ("usps.bz2", "usps.t.bz2"):
        (root / "USPS" / name).write_bytes(bz2.compress(line.encode() * 3))
    return root / "USPS" / "usps.bz2"


def write_svhn(root):
    (root / "SVHN").mkdir(exist_ok=True)
    images = PIXELS.reshape(4, 32, 32, 3).transpose(1, 2, 3, 0)
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(root / "SVHN" / name, {"X": images, "y": np.array([[1], [10], [3], [9]], np.uint8)})
    return root / "SVHN" / "train_32x32.mat"


def write_cifar10(root, content=None, protocol=2):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(exist_ok=True)
    content = {"data": PIXELS, "labels": LABELS} if content is None else content
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))
    return folder / "data_batch_1"


KINDS = {
    "mnist": (write_mnist, data.mnist),
    "usps": (write_usps, data.usps),
    "svhn": (write_svhn, data.svhn),
    "cifar10": (write_cifar10, data.cifar10),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_a_damaged_file_is_images_and_labels_or_one_clear_error(tmp_path, kind, changes, cut):
    write, read = KINDS[kind]
    path = write(tmp_path)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path.write_bytes(content if cut is None else content[: int(cut * len(content))])
    try:
        domain = read(tmp_path, "train")
    except DabenchError as error:
        told = str(error)
    else:
        told = str(path)
        assert domain.images.dtype == np.uint8
        assert domain.images.ndim == 4
        assert len(domain.images) == len(domain.labels)
        assert 0 <= domain.labels.min() <= domain.labels.max() < 10
    assert str(path.parent) in told


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("keys", [str, str.encode])
def test_cifar10_pickled_again_by_python_3_is_the_same(tmp_path, protocol, keys):
    write_cifar10(tmp_path, {keys("data"): PIXELS, keys("labels"): LABELS}, protocol)
    domain = data.cifar10(tmp_path, "test")
    assert (domain.images.reshape(4, -1) == PIXELS).all()
    assert domain.labels.tolist() == LABELS


class Asks:
    """Pickled as a call."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize(
    "content",
    [
        Asks(print, "ran"),
        Asks(eval, "print('ran')"),
        Asks(np.load, "x"),
        [1],
        {"data": 3},
    ],
)
def test_a_pickle_that_holds_more_than_arrays_is_refused_and_runs_nothing(tmp_path, content, capsys):
    write_cifar10(tmp_path, content)
    with pytest.raises(DabenchError, match="data_batch_1"):
        data.cifar10(tmp_path, "train")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [([0, 1, 2, 10], "from 0 to 10"), ([0, 1, 2], "4 images and labels"), ([-1, 0, 1, 2], "from -1")],
)
def test_labels_that_no_release_has_are_named(tmp_path, labels, complaint):
    write_cifar10(tmp_path, {"data": PIXELS, "labels": labels})
    with pytest.raises(DabenchError, match=complaint):
        data.cifar10(tmp_path, "train")


def test_a_reader_in_c_that_a_file_brings_down_is_an_error_and_no_crash():
    with pytest.raises(ValueError, match="crash"):
        apart(lambda: os.kill(os.getpid(), signal.SIGSEGV))
    with pytest.raises(KeyError, match="y"):
        apart(lambda: {}["y"])
    assert apart(lambda: {"y": PIXELS})["y"].tolist() == PIXELS.tolist()


def test_links_and_outward_paths_in_an_archive_reach_no_file(tmp_path):
    folder = tmp_path / "imagenet"
    (folder / "ILSVRC2012_devkit_t12" / "data").mkdir(parents=True)
    rows = [(1, "n01440764", 0), (2, "n01443537", 0)]
    savemat(
        folder / "ILSVRC2012_devkit_t12" / "data" / "meta.mat",
        {"synsets": np.array(rows, [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")])},
    )
    truth = folder / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("1\n1\n1\n")
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for name, kind in (("a/../../ILSVRC2012_val_00000001.JPEG", tarfile.REGTYPE), ("link.JPEG", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = 3 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    (picture,) = data.imagenet(tmp_path)
    assert picture.path == folder / "ILSVRC2012_img_val.tar"
    assert picture.name == "ILSVRC2012_val_00000001.JPEG"
    assert not list(tmp_path.glob("*.JPEG"))
