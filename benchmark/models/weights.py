"""Finds a network's weights in whatever a training script saved, and says in words why a file does not fill it."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from dabench.core import DabenchError

_COUNTER = "num_batches_tracked"  # nothing at inference needs it, and torch before 0.4.1 had none
_DEEPEST = 5  # dictionaries in dictionaries in which weights are looked for
_REMEDY = "save model.state_dict() as safetensors or with torch.save, or the whole model as TorchScript"
# Beside its weights a script keeps its options and its best score; these classes hold values and run nothing.
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    *(argparse.Namespace, np.dtype, _NUMPY_SCALAR, (_NUMPY_SCALAR, "numpy.core.multiarray.scalar")),
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]


def fill(network: nn.Module, file: Path, called: str, num_classes: int) -> None:
    """Loads the weights that the file holds for the network, in whatever dictionaries and under whatever prefix.

    Half precision becomes the network's own. `called` and `num_classes` are for the words. Raises DabenchError where
    the file is unreadable, fills the network not or in two ways, or holds numbers that are not finite.
    """
    wanted = network.state_dict()
    fits: list[tuple[str, dict[str, Tensor]]] = []
    nearest: tuple[int, str, dict[str, Tensor]] = (len(wanted) + 1, "", {})
    for place, state in _states(read(file), ""):
        for prefix in _prefixes(state, wanted):
            named = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
            different = _differing(named, wanted)
            if not different:
                fits.append((f"{place}{prefix}", named))
            elif len(different) < nearest[0]:
                nearest = (len(different), different[0], named)
    if not fits:
        raise DabenchError(f"{file} does not fill '{called}' with {num_classes} classes: {_why(*nearest, network)}")
    places = [place for place, _ in fits]
    chosen = fits[0][1]
    if any(not _equal(state, chosen) for _, state in fits[1:]):
        raise DabenchError(
            f"{file} holds different weights for '{called}' under {' and '.join(map(repr, places))}; save the one "
            "state_dict that is meant"
        )
    spoilt = [name for name in wanted if name in chosen and not chosen[name].isfinite().all()]
    if spoilt:
        raise DabenchError(
            f"{file} holds numbers that are not finite in {len(spoilt)} of its weights, such as '{spoilt[0]}': the "
            "training diverged; give a checkpoint from before"
        )
    network.load_state_dict({name: chosen.get(name, tensor) for name, tensor in wanted.items()})


def read(file: Path) -> Any:
    """What the file holds, its tensors on the CPU; raises DabenchError for one that is no checkpoint.

    Reading runs no code of the file's: a pickle may hold tensors, plain values and options alone.
    """
    try:
        if _is_safetensors(file):
            return safetensors.torch.load_file(file)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle's age; what cannot be read raises
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text would advise to load it all the same.
        reason = "it is damaged, or holds objects other than tensors, which are not loaded since that could run code"
        raise DabenchError(f"cannot read the checkpoint {file}: {reason}; {_REMEDY}") from error
    except (
        *(OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError),
        *(ArithmeticError, MemoryError, safetensors.SafetensorError),
    ) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        if "weights_only" in reason:
            reason = "it is no checkpoint of tensors"
        raise DabenchError(f"cannot read the checkpoint {file}: {reason}; {_REMEDY}") from error


def _is_safetensors(file: Path) -> bool:
    with file.open("rb") as opened:
        head = opened.read(9)
    return head[8:] == b"{" or file.suffix == ".safetensors"


def _states(content: Any, place: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary that holds tensors by name, the outer ones first, and where it lies."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for name, value in content.items():
        yield from _states(value, f"{place}{name}/", depth + 1)


def _prefixes(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What may stand before every name: module., model., _orig_mod. and their like, in any nesting."""
    first = next(name for name in wanted if not name.endswith(_COUNTER))
    found = [name.removesuffix(first) for name in state if name == first or name.endswith(f".{first}")]
    return found or [""]


def _differing(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Names that one of the two lacks, or that are of another shape or kind; a counter may be missing."""
    missing = [name for name in wanted if name not in state and not name.endswith(_COUNTER)]
    unlike = [name for name in wanted if name in state and not _alike(state[name], wanted[name])]
    return [*missing, *unlike, *(name for name in state if name not in wanted)]


def _alike(tensor: Tensor, wanted: Tensor) -> bool:
    return (
        tensor.shape == wanted.shape
        and tensor.is_floating_point() == wanted.is_floating_point()
        and tensor.layout == wanted.layout
    )


def _equal(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(state[name], other[name]) for name in state.keys() & other.keys())


def _why(count: int, first: str, state: Mapping[str, Tensor], network: nn.Module) -> str:
    wanted = network.state_dict()
    if not state:
        return f"it holds no weights by name; {_REMEDY}"
    different = _differing(state, wanted)
    head = str(getattr(network, "pretrained_cfg", {}).get("classifier"))
    in_head = all(name.rpartition(".")[0] == head for name in different) and f"{head}.weight" in state
    if in_head and len(state[f"{head}.weight"]) != len(wanted[f"{head}.weight"]):
        return f"its head '{head}' gives {len(state[f'{head}.weight'])} logits; make one folder for each of its classes"
    if all("pos_embed" in name or "relative_position" in name for name in different):
        return (
            f"its position embeddings ('{first}', {_shape(state, first)}) are those of another image size "
            f"({_shape(wanted, first)} here); set image_size to the one it was trained at"
        )
    return (
        f"{count} of its weights differ, first '{first}' ({_shape(state, first)} in the file, {_shape(wanted, first)} "
        "in the network); give the backbone it was trained as, and one folder for each of its classes"
    )


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return f"{tuple(state[name].shape)} {state[name].dtype}".replace("torch.", "") if name in state else "nothing"
