"""A checkpoint as training scripts really write them: it fills the network, or one line says why not."""

import argparse
import pickle

import numpy as np
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from dabench.core import DabenchError
from dabench.models.own import Checkpoint

NAME, SHAPE = "test_resnet", (3, 32, 32)


def fresh(**changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {**timm.create_model(NAME, num_classes=3).state_dict(), **changes}


STATE = fresh()
HEAD = next(name for name in STATE if name.endswith("fc.weight"))


def under(prefix):
    return {f"{prefix}{name}": tensor for name, tensor in STATE.items()}


FORMS = {
    "plain": STATE,
    "beside an epoch": {**STATE, "epoch": 3},
    "model_state_dict": {"epoch": 3, "model_state_dict": STATE, "loss": 0.1},
    "net": {"net": STATE, "acc": 91.2},
    "Lightning": {"state_dict": under("model."), "epoch": 3, "hyper_parameters": {"lr": 0.1}},
    "DataParallel": under("module."),
    "compiled DataParallel in a wrapper": {"a": {"b": under("module._orig_mod.model.")}},
    "beside the weights of a loss": {**under("model."), "criterion.weight": torch.ones(3)},
    "without counters": {name: tensor for name, tensor in STATE.items() if "num_batches" not in name},
    "beside options and a score": {"state_dict": STATE, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.9)},
    "the same weights twice": {"state_dict": STATE, "state_dict_ema": dict(STATE)},
    "beside an optimizer": {"model": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
}


def build(tmp_path, content, name=NAME, shape=SHAPE, classes=3):
    torch.save(content, tmp_path / "m.pth")
    return Checkpoint(tmp_path / "m.pth", name, classes, shape).build()


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_wherever_a_script_put_them(tmp_path, form):
    built = build(tmp_path, FORMS[form]).state_dict()
    assert all(torch.equal(built[name], STATE[name]) for name in STATE if "num_batches" not in name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_becomes_the_networks_own(tmp_path, dtype):
    built = build(tmp_path, {name: t.to(dtype) if t.is_floating_point() else t for name, t in STATE.items()})
    assert {tensor.dtype for tensor in built.parameters()} == {torch.float32}
    assert torch.allclose(built.state_dict()[HEAD], STATE[HEAD], atol=1e-2)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (fresh(**{HEAD: torch.full_like(STATE[HEAD], torch.nan)}), "not finite in 1 of its weights.*diverged"),
        ({"a": STATE, "b": fresh(**{HEAD: STATE[HEAD] + 1})}, "different weights .* under 'a/' and 'b/'"),
        (fresh(**{HEAD: STATE[HEAD].to(torch.int8)}), r"int8 in the file, .*float32 in the network"),
        ({"epoch": 3}, "holds no weights by name"),
        ([STATE], "holds no weights by name"),
        (3, "holds no weights by name"),
        ({name: t for name, t in STATE.items() if name != HEAD}, "nothing in the file"),
        ({"state_dict": torch.nn.Linear(2, 2)}, "objects other than tensors"),
    ],
)
def test_what_does_not_fill_the_network_is_one_clear_line(tmp_path, content, complaint):
    with pytest.raises(DabenchError, match=complaint) as told:
        build(tmp_path, content)
    assert "weights_only" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_head_of_other_classes_and_embeddings_of_another_size_say_what_to_change(tmp_path):
    with pytest.raises(DabenchError, match="gives 3 logits; make one folder for each"):
        build(tmp_path, STATE, classes=5)
    at_160 = timm.create_model("test_vit", num_classes=3, img_size=160).state_dict()
    with pytest.raises(DabenchError, match=r"position embeddings .* set image_size to the one it was trained at"):
        build(tmp_path, at_160, "test_vit", (3, 64, 64))


class Runs:
    def __reduce__(self):
        return print, ("ran",)


def test_a_pickle_that_would_run_code_is_refused_without_torchs_advice(tmp_path, capsys):
    (tmp_path / "m.pth").write_bytes(pickle.dumps({"state_dict": Runs()}))
    with pytest.raises(DabenchError, match="cannot read the checkpoint") as told:
        Checkpoint(tmp_path / "m.pth", NAME, 3, SHAPE).build()
    assert "weights_only" not in str(told.value)
    assert "ran" not in capsys.readouterr().out


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.integers(0, 2), places=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6))
def test_a_damaged_checkpoint_is_a_network_or_one_clear_error(tmp_path, kind, places):
    path = tmp_path / "m.pth"
    small = {"fc.weight": torch.ones(3, 2), "fc.bias": torch.ones(3)}
    if kind == 0:
        save_file(small, path)
    else:
        torch.save(small, path, _use_new_zipfile_serialization=kind == 1)
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[place % len(content)] = value
    path.write_bytes(content)
    with pytest.raises(DabenchError):
        Checkpoint(path, NAME, 3, SHAPE).build()
