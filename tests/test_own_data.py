"""A practitioner's own pictures and own network: from a TOML file to rows."""

import itertools

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from dabench import cli, data
from dabench.core import DabenchError
from dabench.results import store

CLASSES = ("one", "three", "zero")
DIGITS = (1, 3, 0)
NUMBERS = itertools.count()
BACKBONE = "test_resnet"  # timm's smallest residual network
TOML = """
name = "camera"
source = "bright"
target = "dark"
image_size = 32
source_steps = 10
steps = 5
batch_size = 16
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two folders of real digits by class, the second as a dark camera sees them."""
    folder = tmp_path_factory.mktemp("pictures")
    stored = load_digits()
    for name, digit in zip(CLASSES, DIGITS, strict=True):
        images = stored.images[stored.target == digit][:80] * 15.9
        for place, seen in (("bright", images[:40]), ("dark", images[40:] / 4)):
            (folder / place / name).mkdir(parents=True)
            for number, image in enumerate(seen):
                Image.fromarray(image.astype(np.uint8)).resize((32, 32)).save(folder / place / name / f"{number}.png")
    return folder


def train(pictures, backbone=BACKBONE):
    """A network that somebody trained on the bright pictures, and nothing of dabench in it."""
    domain = data.decoded(data.pictures_in(pictures / "bright", CLASSES), pictures / "cache", (3, 32, 32))
    images, labels = torch.from_numpy(domain.images) / 255, torch.from_numpy(domain.labels)
    torch.manual_seed(0)
    network = timm.create_model(backbone, num_classes=3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(network((images - 0.5) / 0.5), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def trained(pictures):
    return train(pictures)


@pytest.fixture
def declared(pictures):
    """Writes a task file beside the pictures, with lines of its own."""
    written = []

    def write(*lines):
        # A task is read once in a process, so each has a file of its own.
        file = pictures / f"camera{next(NUMBERS)}.toml"
        file.write_text(TOML + "\n".join(lines))
        written.append(file)
        return file

    yield write
    for file in written:
        file.unlink()


@pytest.fixture
def run(capsys, pictures, tmp_path):
    """`dabench run` on a task file with one worker: gives exit code, stdout and stderr."""

    def call(file, *arguments):
        fixed = ["run", "--tasks", file, "--workers", "1", "--seeds", "1", "--results", tmp_path / "results"]
        places = ["--cache", pictures / "cache", "--data", pictures]
        with pytest.raises(SystemExit) as ended:
            cli.main([str(part) for part in (*fixed, *places, *arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return call


def rows(tmp_path):
    return {row["method"]: row for row in store.load(tmp_path / "results").to_pylist()}


def test_two_folders_and_a_toml_file_are_a_task(declared, run, tmp_path):
    file = declared('backbone = "lenet_bn"')
    code, out, err = run(file, "--methods", "source_only,adabn,adapternet,dann", "--labels", "10")
    assert code == 0, err
    assert "On camera" in out
    found = rows(tmp_path)
    assert {row["status"] for row in found.values()} == {"ok"}
    assert found["adapternet"]["labels"] == 10


@pytest.mark.parametrize("camera", ['camera = "rotated"\nangle = 180', 'camera = "fog"\nseverity = 2'])
def test_one_folder_and_a_camera_are_a_task(camera, declared, run, tmp_path):
    file = declared('backbone = "lenet_bn"')
    file.write_text(file.read_text().replace('target = "dark"', camera))
    assert run(file, "--methods", "source_only")[0] == 0
    assert rows(tmp_path)["source_only"]["task"] == "camera"


def saved(network, folder, kind):
    if kind == "model.safetensors":
        save_file(network.state_dict(), folder / kind)
    elif kind == "weights.pt":
        torch.save(
            {"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, folder / kind
        )
    return folder / kind


@pytest.mark.parametrize("kind", ["model.safetensors", "weights.pt"])
def test_a_checkpoint_is_the_source_model_and_nothing_is_trained(kind, pictures, trained, declared, run, tmp_path):
    saved(trained, pictures, kind)
    file = declared(
        f'backbone = "{BACKBONE}"', f'checkpoint = "{kind}"', "mean = [0.5, 0.5, 0.5]", "std = [0.5, 0.5, 0.5]"
    )
    code, _, err = run(file, "--methods", "source_only,dann,tent")
    assert code == 0, err
    found = rows(tmp_path)
    assert {row["status"] for row in found.values()} == {"ok"}
    assert np.isnan(found["source_only"]["seconds_source"])
    assert found["source_only"]["trained_parameters"] == 0
    task = data.task_from_toml(file)
    domains = task.read(pictures, pictures / "cache", task.protocol(None))
    with torch.no_grad():
        answers = trained((torch.from_numpy(domains.target_test.images) / 255 - 0.5) / 0.5).argmax(1)
    accuracy = (answers == torch.from_numpy(domains.target_test.labels)).float().mean().item()
    assert found["source_only"]["accuracy"] == pytest.approx(accuracy)


def test_another_checkpoint_is_another_cell(pictures, trained, declared, run, tmp_path):
    save_file(trained.state_dict(), pictures / "changing.safetensors")
    file = declared(f'backbone = "{BACKBONE}"', 'checkpoint = "changing.safetensors"')
    assert run(file, "--methods", "source_only")[0] == 0
    assert "0 run, 1 cached" in run(file, "--methods", "source_only", "--dry-run")[1]
    save_file({name: value + 1 for name, value in trained.state_dict().items()}, pictures / "changing.safetensors")
    assert "1 run, 0 cached" in run(file, "--methods", "source_only", "--dry-run")[1]
    assert "names its own checkpoint" in run(file, "--backbone", "resnet18")[2]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
def test_a_torchscript_network_answers_as_it_does_alone(pictures, trained, declared, run, tmp_path):
    torch.jit.trace(trained, torch.rand(2, 3, 32, 32)).save(pictures / "scripted.pt")
    file = declared('checkpoint = "scripted.pt"')
    code, _, err = run(file, "--methods", "source_only,adapternet,adabn")
    assert code == 0, err
    found = rows(tmp_path)
    assert found["source_only"]["status"] == found["adapternet"]["status"] == "ok"
    assert found["adabn"]["status"] == "refused"
    task = data.task_from_toml(file)
    domains = task.read(pictures, pictures / "cache", task.protocol(None))
    with torch.no_grad():
        answers = trained(torch.from_numpy(domains.target_test.images) / 255).argmax(1)
    accuracy = (answers == torch.from_numpy(domains.target_test.labels)).float().mean().item()
    assert found["source_only"]["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (['checkpoint = "absent.pt"'], "no checkpoint .*absent.pt; give the path"),
        ([f'backbone = "{BACKBONE}"', 'checkpoint = "text.pt"'], "cannot read the checkpoint .*text.pt"),
        (['backbone = "resnet18"', 'checkpoint = "fine.safetensors"'], "does not fill 'resnet18' with 3 classes"),
        (['backbone = "lenet"', 'checkpoint = "fine.safetensors"'], "'lenet' is none; set backbone"),
        (["mean = [0.5, 0.5, 0.5]"], "mean belongs to a checkpoint"),
        (['checkpoint = "fine.safetensors"', "std = [1]"], "must be 3 numbers"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_one_clear_line(lines, complaint, pictures, trained, declared):
    save_file(trained.state_dict(), pictures / "fine.safetensors")
    (pictures / "text.pt").write_text("no weights")
    with pytest.raises(DabenchError, match=complaint):
        data.task_from_toml(declared(*lines))


@pytest.mark.parametrize(
    ("backbone", "complaint"),
    [("resnet9000", "no backbone 'resnet9000'"), ("test_vit", "'test_vit' cannot take images of shape 3x33x33")],
)
def test_a_network_that_the_task_cannot_have_is_one_line_before_any_work(backbone, complaint, declared, run, tmp_path):
    file = declared(f'backbone = "{backbone}"')
    file.write_text(file.read_text().replace("image_size = 32", "image_size = 33"))
    code, out, err = run(file, "--methods", "source_only", "--device", "cpu")
    assert (code, out) == (2, "")
    assert complaint in err
    assert not (tmp_path / "results").exists()


def test_a_pickle_that_would_run_code_is_refused(pictures, declared):
    torch.save({"state_dict": torch.nn.Linear(2, 2)}, pictures / "module.pt")
    with pytest.raises(DabenchError, match="cannot read the checkpoint"):
        data.task_from_toml(declared(f'backbone = "{BACKBONE}"', 'checkpoint = "module.pt"'))


def test_the_same_folder_twice_is_no_change_of_domain(declared):
    file = declared()
    text = file.read_text()
    source = next(line for line in text.splitlines() if line.startswith("source"))
    target = next(line for line in text.splitlines() if line.startswith("target"))
    file.write_text(text.replace(target, "target" + source.removeprefix("source")))
    with pytest.raises(DabenchError, match="source and target are the same folder"):
        data.task_from_toml(file)
