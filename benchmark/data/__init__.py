"""Pictures and data sets as arrays: what tasks load their domains with."""

from dabench.data.arrays import domain_print, drawn, fingerprint, fitted, seen_by
from dabench.data.cifar10c import cifar10c
from dabench.data.contents import manifest
from dabench.data.datasets import DATASETS, files_of
from dabench.data.domain_folders import PACS, RELEASES, REST, DomainFolders, load_domain_folders
from dabench.data.folders import check_task_name, load_folders, task_from_toml
from dabench.data.imagenets import (
    IMAGENETTE_CLASSES,
    imagenet,
    imagenette,
    imagenette_resize,
    load_imagenet,
    load_imagenette,
)
from dabench.data.mnistm import mnistm, mnistm_partial
from dabench.data.pictures import (
    HOLDOUT,
    TRANSDUCTIVE,
    Picture,
    classes_in,
    decoded,
    held_out,
    left_out,
    pictures_in,
    split,
)
from dabench.data.small_images import cifar10, cifar10_partial, mnist, svhn, usps

__all__ = [
    "DATASETS",
    "HOLDOUT",
    "IMAGENETTE_CLASSES",
    "PACS",
    "RELEASES",
    "REST",
    "TRANSDUCTIVE",
    "DomainFolders",
    "Picture",
    "check_task_name",
    "cifar10",
    "cifar10_partial",
    "cifar10c",
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
    "left_out",
    "load_domain_folders",
    "load_folders",
    "load_imagenet",
    "load_imagenette",
    "manifest",
    "mnist",
    "mnistm",
    "mnistm_partial",
    "pictures_in",
    "seen_by",
    "split",
    "svhn",
    "task_from_toml",
    "usps",
]
