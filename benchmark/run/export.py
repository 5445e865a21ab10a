"""Takes a stored cell's adapted model home: its weights, its adapter, and the lines that load them anywhere."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from dabench import __version__, models, registry
from dabench.core import DabenchError, Setting
from dabench.models import own
from dabench.models.networks import classifying_layer, size_of, timm_network
from dabench.nn import Classifier, InputAdapted
from dabench.results import store
from dabench.results.row import GROUP
from dabench.run import cell
from dabench.run.images import predict
from dabench.run.plan import Cell, Environment, Start
from dabench.run.task_data import labels_of

_PROVED = 16  # test images on which the saved model must answer as the adapted one
_ALIKE = 1e-3  # of the largest logit: another process may sum in another order
_CHOICES = tuple(name for name in GROUP if name != "family")  # the conditions of a cell beside its task


@dataclass(frozen=True)
class Stored:
    """A stored row, and the cell that computes it again."""

    row: dict[str, Any]
    cell: Cell


@dataclass(frozen=True)
class Exported:
    """The files written, the rerun's accuracy beside the stored one, and the lines of Python that load the model."""

    files: tuple[Path, ...]
    accuracy: float
    stored_accuracy: float | None
    snippet: str


def find(what: str, results: Path, seed: int, key: str) -> Stored:
    """The stored cell that TASK/METHOD names, the task perhaps a file's path; `key` begins the key of one of several.

    Raises DabenchError where no row or more than one is meant.
    """
    task_words, method_words = _parts(what)
    if not method_words:
        raise DabenchError(f"cannot read '{what}'; write TASK/METHOD, such as mnist-usps/adapternet")
    (words, task), *others = registry.tasks(task_words)
    (variant, *more) = registry.methods(method_words)
    if others or more:
        raise DabenchError(f"'{what}' names more than one cell; give one task and one method")
    rows = [
        row for row in store.load(results).to_pylist() if (row["task"], row["variant"]) == (task.name, variant.label)
    ]
    rows = [row for row in rows if row["status"] == "ok" and row["seed"] == seed and row["key"].startswith(key)]
    if not rows:
        raise DabenchError(
            f"no result of '{variant.label}' on '{task.name}' with seed {seed} in {results}; first: "
            f"dabench run --tasks {task_words} --methods {method_words} --seeds {seed},"
        )
    if len(rows) > 1:
        differing = [name for name in _CHOICES if len({row[name] for row in rows}) > 1] or ["created"]
        listed = "; ".join(
            f"{row['key'][:8]} ({', '.join(f'{name} {row[name]}' for name in differing)})" for row in rows
        )
        raise DabenchError(f"{len(rows)} stored results are '{what}'; choose one with --key: {listed}")
    (row,) = rows
    given = {name: row[name] for name in _CHOICES} | {"start": Start(row["start"])}
    return Stored(row, Cell(task=words, variant=variant, seed=seed, **given))


def _parts(what: str) -> tuple[str, str]:
    """Task and method, of which either may be a path."""
    for suffix in (".toml/", ".py/"):
        if suffix in what:
            task, _, method = what.partition(suffix)
            return task + suffix[:-1], method
    task, _, method = what.partition("/")
    return task, method


def export(
    stored: Stored, place: Environment, output: Path, onnx: Path | None, on_step: Callable[[str, int, int, float], None]
) -> Exported:
    """Adapts the cell anew and writes its model, and the adapter alone where it has one, beside it.

    The printed lines are run in a process of their own, and must give the adapted model's answers. Raises DabenchError
    where weights alone would not make the model that was measured.
    """
    setting = stored.row["setting"]
    name = stored.cell.variant.label
    if setting == Setting.TEST_TIME:
        raise DabenchError(f"'{name}' goes on learning from every picture, so there is no finished model to export")
    if stored.cell.frozen:
        raise DabenchError(f"'{name}' was adapted on frozen features; export a cell that was run without --frozen")
    # As many threads as then: with others the source model would be another draw of the same recipe.
    run = cell.adapt(stored.cell, replace(place, threads=stored.row["threads"]), on_step)
    logits, _ = predict(run.adapted, run.data.target_test)
    accuracy = run.data.accuracy(logits.cpu(), labels_of(run.data.target_test))
    # What was measured in bfloat16 is taken home in float32, which every machine computes alike.
    adapted = run.adapted.cpu().eval()
    classifier, adapter = (adapted.model, adapted.adapter) if isinstance(adapted, InputAdapted) else (adapted, None)
    if not isinstance(classifier, Classifier):
        raise DabenchError(
            f"'{name}' returns a {type(classifier).__name__}, which weights alone do not make; export a method that "
            "returns the classifier itself, or an adapter before it"
        )
    _check_hooks(adapted, name)
    classifier.precision = torch.float32
    shape = run.data.task.image_shape
    facts = {
        "backbone": stored.cell.backbone,
        "classes": json.dumps(run.data.task.class_names),
        "image_shape": json.dumps(shape),
        "mean": json.dumps(_short(classifier.mean)),
        "std": json.dumps(_short(classifier.std)),
        "task": stored.row["task"],
        "method": name,
        "seed": str(stored.cell.seed),
        "dabench": __version__,
        "key": stored.row["key"],
    }
    weights = _weights(classifier, stored.cell.backbone, shape, name)
    adapter_code = "" if adapter is None else _code(adapter)
    files = [_save(weights, output, facts)]
    adapter_file = output.with_name(f"adapter{output.suffix or '.safetensors'}")
    if adapter is not None:
        if adapter_file == output:
            raise DabenchError(f"--output {output} is the name of the adapter's own file; choose another")
        files.append(_save(adapter.state_dict(), adapter_file, facts))
    lines = _snippet(classifier, stored.cell.backbone, shape, output, adapter_code, adapter_file)
    try:
        _prove(lines, adapted, run.data.target_test.take(torch.arange(min(_PROVED, len(run.data.target_test)))).cpu())
    except DabenchError:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    if onnx is not None:
        files.append(_onnx(adapted, shape, onnx))
    return Exported(tuple(files), accuracy, stored.row["accuracy"], lines)


def _check_hooks(adapted: nn.Module, name: str) -> None:
    """Raises DabenchError where a layer answers by more than its weights."""
    for path, module in adapted.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            raise DabenchError(
                f"'{name}' changes what the layer '{path}' answers by a hook, which weights do not hold, so the saved "
                "model would not be the measured one; export another method"
            )


@torch.no_grad()
def _prove(lines: str, adapted: nn.Module, images: Tensor) -> None:
    """Runs the printed lines in a fresh process; raises DabenchError where their model answers otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, answers = Path(folder) / "images.safetensors", Path(folder) / "logits.safetensors"
        safetensors.torch.save_file({"images": images.contiguous()}, pictures)
        program = f"""{lines}
import torch
from safetensors.torch import save_file
with torch.no_grad():
    save_file({{"logits": model(load_file({json.dumps(str(pictures))})["images"])}}, {json.dumps(str(answers))})
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "without a message").rpartition("\n")[2]
            raise DabenchError(f"the saved model cannot be loaded by the lines that load it: {reason}; nothing is kept")
        logits = safetensors.torch.load_file(answers)["logits"]
    wanted = adapted(images)
    scale = wanted.abs().max().item()
    if logits.shape != wanted.shape or not torch.allclose(logits, wanted, rtol=_ALIKE, atol=_ALIKE * scale):
        raise DabenchError(
            "the saved model, loaded in a fresh process, does not answer as the adapted one: it does something that "
            "its weights do not hold; nothing is kept, export another method"
        )


def _save(weights: dict[str, Tensor], path: Path, facts: dict[str, str]) -> Path:
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(contiguous, path, facts)
    except (OSError, safetensors.SafetensorError) as error:
        raise DabenchError(f"cannot write {path}: {error}; choose another place with --output") from error
    return path


# --------------------------------------------------------------------------------- the network as its makers name it


def _architecture(backbone: str) -> str:
    """The name by which timm knows the network, also where a checkpoint filled it."""
    checkpoint = own.of_backbone(backbone)
    if checkpoint is None:
        return backbone
    if not checkpoint.architecture:
        raise DabenchError(
            f"the source model is the TorchScript file {checkpoint.file}, whose weights have no network to be loaded "
            "into elsewhere; declare a checkpoint of weights and its backbone"
        )
    return checkpoint.architecture


def _weights(classifier: Classifier, backbone: str, shape: tuple[int, int, int], method: str) -> dict[str, Tensor]:
    """The state of the network: in timm's own names for timm's networks, else as dabench.models.build has it.

    Raises DabenchError where a fresh network of that name could not take it.
    """
    state = classifier.state_dict()
    if backbone in models.OWN_NETS:
        expected = models.build(backbone, classifier.num_classes, shape).state_dict()
    else:
        network = timm_network(_architecture(backbone), classifier.num_classes, shape)
        expected = network.state_dict()
        place, _ = classifying_layer(backbone, network)
        heads = {name: value for name, value in state.items() if name.startswith("head.")}
        state = {name.removeprefix("backbone."): value for name, value in state.items() if name not in heads}
        for of_head, value in heads.items():
            # A head that is a 1x1 convolution in timm is a linear map here.
            there = f"{place}.{of_head.removeprefix('head.')}"
            state[there] = value.view(expected[there].shape) if there in expected else value
    different = [name for name in expected.keys() | state.keys() if _shape(expected, name) != _shape(state, name)]
    if different:
        raise DabenchError(
            f"'{method}' changes the layers of '{backbone}' ({len(different)} weights, such as '{min(different)}'), so "
            "its weights alone do not make the model; export another method"
        )
    return state


def _shape(state: dict[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


# ---------------------------------------------------------------------------------------------------- the snippet


def _code(module: nn.Module) -> str:
    """The expression that makes this module of torch.nn anew, its weights aside; raises DabenchError for others."""
    kind = type(module)
    if getattr(nn, kind.__name__, None) is not kind:
        raise DabenchError(
            f"the adapter holds a {kind.__name__}, which torch.nn has not, so that no other program could load its "
            "weights; export another method"
        )
    if isinstance(module, nn.Sequential):
        return f"nn.Sequential({', '.join(_code(layer) for layer in module)})"
    given = []
    for name, parameter in inspect.signature(kind).parameters.items():
        value = getattr(module, name, parameter.default)
        if name == "bias":
            value = value is not None
        if value != parameter.default and name not in ("device", "dtype"):
            given.append(f"{name}={value!r}")
    return f"nn.{kind.__name__}({', '.join(given)})"


def _snippet(
    classifier: Classifier,
    backbone: str,
    shape: tuple[int, int, int],
    file: Path,
    adapter_code: str,
    adapter_file: Path,
) -> str:
    """Python that defines `model`: float images in [0, 1] to logits."""
    imports = ["from safetensors.torch import load_file", "from torch import nn"]
    if backbone in models.OWN_NETS:
        imports = ["import torch", "from dabench import models", *imports]
        lines = [
            f'network = models.build("{backbone}", {classifier.num_classes}, {shape})',
            "network.precision = torch.float32",
        ]
        parts = ["network"]
    else:
        imports = ["import timm", *imports, "from torchvision.transforms import Normalize"]
        name = _architecture(backbone)
        facts = {"num_classes": classifier.num_classes, "in_chans": shape[0], **size_of(name, shape)}
        given = ", ".join(f"{key}={value}" for key, value in facts.items())
        lines = [f'network = timm.create_model("{name}", {given})']
        parts = [f"Normalize({_short(classifier.mean)}, {_short(classifier.std)})", "network"]
    lines.append(f"network.load_state_dict(load_file({json.dumps(str(file))}))")
    if adapter_code:
        lines += [f"adapter = {adapter_code}", f"adapter.load_state_dict(load_file({json.dumps(str(adapter_file))}))"]
        parts = ["adapter", *parts]
    lines.append(f"model = nn.Sequential({', '.join(parts)}).eval()")
    lines.append(f"# model(images): float images in [0, 1], (batch, {', '.join(map(str, shape))}), to logits")
    return "\n".join([*imports, "", *lines])


def _short(values: Tensor) -> list[float]:
    """Float32 values as they were typed."""
    return [float(f"{value:.6g}") for value in values.flatten().tolist()]


def _onnx(adapted: nn.Module, shape: tuple[int, int, int], path: Path) -> Path:
    """Writes the whole model, images in [0, 1] to logits, for any batch size."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise DabenchError(f"ONNX needs two more packages ({error}): pip install 'dabench[onnx]'") from error
    images = torch.rand(2, *shape)
    try:
        program = torch.onnx.export(
            adapted, (images,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False
        )
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DabenchError(f"this model has no ONNX form: {reason}; leave out --onnx") from error
    assert program is not None  # dynamo always gives one
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(path)
    return path
