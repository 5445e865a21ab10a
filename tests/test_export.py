import contextlib
import io
import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open

from dabench import cli, registry
from dabench.core import DabenchError

pytestmark = pytest.mark.timeout(300)  # each export starts a process of its own, which imports torch
PIXELS = (1, 16, 16)


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Runs the command line: gives exit code, stdout and stderr."""
    folder = tmp_path_factory.mktemp("cells")

    def run(*arguments):
        places = ["--results", folder / "results", "--cache", folder / "cache", "--data", folder]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main([str(part) for part in (*arguments, *places)])
        return ended.value.code or 0, out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="module")
def stored(call, tiny_task):
    """Two seeds of some methods, on a network of dabench's and one of timm's."""
    seeds = ["--seeds", "2", "--budget", "0.5", "--workers", "2"]
    methods = ["--methods", "source_only,adabn,adapternet,tent,finetune_last1,activation_shaping"]
    assert call("run", "--tasks", tiny_task, *seeds, *methods)[0] == 0
    return tiny_task


def measured(stored_rows, method, seed=0):
    (row,) = (row for row in stored_rows if row["method"] == method and row["seed"] == seed)
    return row


def loaded(snippet):
    """What a person gets who pastes the printed lines."""
    names = {}
    exec(snippet, names)
    return names["model"]


def printed(out):
    return out.partition("To load it:\n")[2].strip()


def answers(model, task_file):
    """The model's answers on the test stream, as the harness orders it, and the truth."""
    (task,) = (task for _, task in registry.tasks(str(task_file)))
    domain = task.read(None, None, task.protocol(None)).target_test
    with torch.no_grad():
        return model(torch.from_numpy(domain.images) / 255).argmax(1).numpy(), domain.labels


@pytest.mark.parametrize("method", ["source_only", "adabn", "adapternet", "finetune_last1"])
def test_the_printed_lines_load_the_model_that_was_measured(method, call, stored, tmp_path):
    code, out, err = call("export", f"{stored}/{method}", "--output", tmp_path / "model.safetensors", "--seed", "1")
    assert code == 0, err
    said, kept = (float(number) for number in re.search(r"([\d.]+) % of .* \(stored: ([\d.]+) %\)", out).groups())
    assert said == kept
    found, truth = answers(loaded(printed(out)), stored)
    assert 100 * (found == truth).mean() == pytest.approx(kept, abs=1.01)  # bf16 may flip one of 100
    assert (tmp_path / "adapter.safetensors").exists() == (method == "adapternet")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        facts = file.metadata()
    assert json.loads(facts["classes"]) == list("0123456789")
    assert (facts["backbone"], facts["seed"], facts["method"]) == ("lenet_bn", "1", method)


def test_a_network_of_timm_is_loaded_without_dabench(call, tiny_task, tmp_path, monkeypatch):
    # EfficientNet's head is linear, ResNet-v2's a 1x1 convolution: both leave under timm's own names.
    from dabench.run import cell, export

    ((words, _),) = registry.tasks(str(tiny_task))
    for backbone in ("test_resnet", "test_vit"):
        monkeypatch.setattr(export.cell, "source_model", source_model(backbone))
        (variant,) = registry.methods("adapternet")
        row = {"setting": "supervised", "task": "digits-turned", "accuracy": 0.5, "key": "none", "threads": 1}
        job = cell.Cell(words, variant, "holdout", backbone, 32, 0.5, -1, -1, 0)
        place = cell.Environment("cpu", 1, tmp_path, tmp_path)
        output = tmp_path / f"{backbone}.safetensors"
        done = export.export(export.Stored(row, job), place, output, None, lambda *word: None)
        assert "dabench" not in done.snippet
        run = cell.adapt(job, place, lambda *word: None)
        run.adapted.model.precision = torch.float32
        images = torch.rand(4, 1, 32, 32)
        with torch.no_grad():
            assert torch.allclose(loaded(done.snippet)(images), run.adapted.eval()(images), atol=1e-5)


def source_model(backbone):
    """A source model of fresh weights: what timm publishes would have to be downloaded."""
    from dabench import models
    from dabench.run.devices import seeded
    from dabench.run.source_model import SourceModel

    def build(job, data, environment, on_step):
        with seeded(0, torch.device("cpu")):
            model = models.build(backbone, 10, data.task.image_shape)
        return SourceModel(model, torch.zeros(1), 0.5, 0.0), False

    return build


def test_a_model_whose_saved_lines_answer_otherwise_is_refused():
    from dabench.run import export

    adapted = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    lines = "from safetensors.torch import load_file\nimport torch\nmodel = torch.nn.Sequential(torch.nn.Flatten(), "
    lines += "torch.nn.Linear(4, 2))"  # of fresh weights
    with pytest.raises(DabenchError, match="does not answer as the adapted one"):
        export._prove(lines, adapted, torch.rand(3, 1, 2, 2))
    with pytest.raises(DabenchError, match="cannot be loaded by the lines that load it: NameError"):
        export._prove("model", adapted, torch.rand(3, 1, 2, 2))


def test_onnx_gives_the_same_logits(call, stored, tmp_path):
    onnx = pytest.importorskip("onnx", "1.16", reason="ONNX is an extra: pip install 'dabench[onnx]'")
    pytest.importorskip("onnxscript", reason="ONNX is an extra: pip install 'dabench[onnx]'")
    from onnx.reference import ReferenceEvaluator

    target = tmp_path / "model.onnx"
    code, out, err = call(
        "export", f"{stored}/adapternet", "--output", tmp_path / "model.safetensors", "--onnx", target
    )
    assert code == 0, err
    session = ReferenceEvaluator(onnx.load(target))
    images = np.random.default_rng(0).random((5, *PIXELS), dtype=np.float32)
    (logits,) = session.run(None, {session.input_names[0]: images})
    with torch.no_grad():
        expected = loaded(printed(out))(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, expected, atol=0.05)


@pytest.mark.parametrize(
    ("what", "options", "complaint"),
    [
        ("activation_shaping", (), "by a hook, which weights do not hold"),
        ("tent", (), "'tent' goes on learning from every picture"),
        ("dann", (), "no result of 'dann' on 'digits-turned' with seed 0"),
        ("source_only", ("--seed", "7"), "--seeds 7,"),
        ("source_onl", (), "did you mean 'source_only'"),
        ("", (), "write TASK/METHOD"),
    ],
)
def test_what_cannot_be_exported_is_one_clear_line(what, options, complaint, call, stored, tmp_path):
    code, _, err = call("export", f"{stored}/{what}", "--output", tmp_path / "model.safetensors", *options)
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_several_results_of_one_name_are_told_apart_by_their_key(call, stored, tmp_path):
    assert call("run", "--tasks", stored, "--methods", "adabn", "--seeds", "1", "--budget", "0.25")[0] == 0
    output = ["--output", tmp_path / "model.safetensors"]
    code, _, err = call("export", f"{stored}/adabn", *output)
    assert code == 2
    key, budget = re.search(r"choose one with --key: (\w+) \(budget ([\d.]+)\)", err).groups()
    assert budget in ("0.25", "0.5")
    assert call("export", f"{stored}/adabn", *output, "--key", key)[0] == 0
