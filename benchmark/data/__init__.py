"""Pictures and data sets as arrays: what tasks load their domains with."""

from dabench.data.arrays import domain_print, drawn, fingerprint, fitted, manifest, seen_by
from dabench.data.datasets import (
    DATASETS,
    IMAGENETTE_CLASSES,
    PACS_CLASSES,
    PACS_DOMAINS,
    cifar10,
    files_of,
    imagenet,
    imagenette,
    imagenette_resize,
    mnist,
    pacs,
    pacs_partial,
    svhn,
    usps,
)
from dabench.data.folders import load_folders, task_from_toml
from dabench.data.pictures import HOLDOUT, TRANSDUCTIVE, Picture, classes_in, decoded, held_out, pictures_in, split

__all__ = [
    "DATASETS",
    "HOLDOUT",
    "IMAGENETTE_CLASSES",
    "PACS_CLASSES",
    "PACS_DOMAINS",
    "TRANSDUCTIVE",
    "Picture",
    "cifar10",
    "classes_in",
    "decoded",
    "domain_print",
    "drawn",
    "files_of",
    "fingerprint",
    "fitted",
    "held_out",
    "imagenet",
    "imagenette",
    "imagenette_resize",
    "load_folders",
    "manifest",
    "mnist",
    "pacs",
    "pacs_partial",
    "pictures_in",
    "seen_by",
    "split",
    "svhn",
    "task_from_toml",
    "usps",
]
