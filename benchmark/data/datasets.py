"""Every official data set by its name, and the files that a task's images come from."""

from __future__ import annotations

import warnings
from pathlib import Path

from dabench.core import Task
from dabench.data.camelyon17 import CAMELYON17
from dabench.data.cifar10c import CIFAR10C
from dabench.data.domain_folders import DOMAIN_FOLDERS
from dabench.data.domainnet import DOMAINNET
from dabench.data.imagenet_shifts import SHIFTED_IMAGENETS
from dabench.data.imagenets import IMAGENET
from dabench.data.mnistm import MNISTM
from dabench.data.pictures import left_out, pictures_in, unsorted_pictures_in
from dabench.data.small_images import SMALL_IMAGES

DATASETS = {
    dataset.name: dataset
    for dataset in (
        *SMALL_IMAGES,
        CIFAR10C,
        MNISTM,
        *DOMAIN_FOLDERS,
        DOMAINNET,
        CAMELYON17,
        *IMAGENET,
        *SHIFTED_IMAGENETS,
    )
}


def files_of(task: Task, root: Path) -> list[Path]:
    """Every file that the task's images come from; none for the embedded tasks."""
    files = [path for name in task.datasets for path in DATASETS[name].files(root)]
    labelled = task.folders if task.scored else task.folders[:1]
    if not task.scored:
        files += [picture.path for picture in unsorted_pictures_in(task.folders[-1])]
    for folder in dict.fromkeys(labelled):
        if said := left_out(folder, task.class_names):
            warnings.warn(said, stacklevel=2)
        files += [picture.path for picture in pictures_in(folder, task.class_names)]
    return files
