"""Releases that hold a folder of pictures by class for each domain: PACS, the three Office sets, VisDA-2017."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dabench.core import DabenchError, Domains, MissingData, Protocol, Task
from dabench.data.official import Dataset, names_in
from dabench.data.pictures import HOLDOUT, Picture, mixed, pictures_in, split

REST = "rest"  # the source of a task that holds every domain but the target


@dataclass(frozen=True, kw_only=True)
class DomainFolders:
    """A release of one folder of pictures by class for each domain.

    `domains` maps a domain's short name to its folder under the data root and the number of pictures that the release
    has there; `remedy` says how the folders are had.
    """

    name: str
    class_names: tuple[str, ...]
    domains: Mapping[str, tuple[str, int]]
    remedy: str

    def pictures(self, root: Path, *domains: str) -> list[Picture]:
        """The pictures of these domains in a mixed order; raises MissingData where a class has no folder."""
        pictures = []
        for domain in domains:
            folder = root / self.domains[domain][0]
            for name in self.class_names:
                if not (folder / name).is_dir():
                    raise MissingData(f"{self.name}: {folder / name} is missing; {self.remedy}")
            pictures += pictures_in(folder, self.class_names)
        return pictures if len(domains) == 1 else mixed(pictures)

    def partial(self, root: Path, *domains: str) -> str:
        """In words, which of these domains have fewer pictures than the release; empty where none has."""
        counts = {domain: (len(self.pictures(root, domain)), self.domains[domain][1]) for domain in domains}
        short = [f"{has:,} of {all_:,} {domain} pictures" for domain, (has, all_) in counts.items() if has != all_]
        return ", ".join(short)

    def files(self, root: Path) -> list[Path]:
        """Every picture of the release; raises MissingData."""
        return [picture.path for picture in self.pictures(root, *self.domains)]

    def sources(self, task: Task) -> tuple[str, ...]:
        """The domains that a task's source holds: one, or every domain but the target."""
        return tuple(name for name in self.domains if name != task.target) if task.source == REST else (task.source,)


def load_domain_folders(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """The domains that the task's source and target name, each split by the hash of the file names."""
    release = RELEASES[task.datasets[0]]
    sources = release.sources(task)
    source_train, source_test = split(release.pictures(root, *sources), cache, task.image_shape, HOLDOUT)
    target_train, target_test = split(release.pictures(root, task.target), cache, task.image_shape, protocol)
    partial = release.partial(root, *sources, task.target)
    return Domains(source_train, source_test, target_train, target_test, partial=partial)


PACS = DomainFolders(
    name="pacs",
    class_names=("dog", "elephant", "giraffe", "guitar", "horse", "house", "person"),
    domains={
        "art": ("pacs/art_painting", 2048),
        "cartoon": ("pacs/cartoon", 2344),
        "photo": ("pacs/photo", 1670),
        "sketch": ("pacs/sketch", 3929),
    },
    remedy="`dabench data download pacs` fetches it",
)

OFFICE31 = DomainFolders(
    name="office31",
    class_names=names_in(
        """
        back_pack bike bike_helmet bookcase bottle calculator desk_chair desk_lamp desktop_computer file_cabinet
        headphones keyboard laptop_computer letter_tray mobile_phone monitor mouse mug paper_notebook pen phone
        printer projector punchers ring_binder ruler scissors speaker stapler tape_dispenser trash_can
        """
    ),
    domains={
        "amazon": ("office31/amazon/images", 2817),
        "dslr": ("office31/dslr/images", 498),
        "webcam": ("office31/webcam/images", 795),
    },
    remedy="fetch the original images from its page and unpack them, so that there is office31/amazon/images/back_pack",
)

OFFICE_HOME = DomainFolders(
    name="office_home",
    class_names=names_in(
        """
        Alarm_Clock Backpack Batteries Bed Bike Bottle Bucket Calculator Calendar Candles Chair Clipboards Computer
        Couch Curtains Desk_Lamp Drill Eraser Exit_Sign Fan File_Cabinet Flipflops Flowers Folder Fork Glasses Hammer
        Helmet Kettle Keyboard Knives Lamp_Shade Laptop Marker Monitor Mop Mouse Mug Notebook Oven Pan Paper_Clip Pen
        Pencil Postit_Notes Printer Push_Pin Radio Refrigerator Ruler Scissors Screwdriver Shelf Sink Sneakers Soda
        Speaker Spoon TV Table Telephone ToothBrush Toys Trash_Can Webcam
        """
    ),
    domains={
        "art": ("OfficeHomeDataset_10072016/Art", 2427),
        "clipart": ("OfficeHomeDataset_10072016/Clipart", 4365),
        "product": ("OfficeHomeDataset_10072016/Product", 4439),
        "real": ("OfficeHomeDataset_10072016/Real World", 4357),
    },
    remedy="fetch OfficeHomeDataset_10072016.zip from its page and unpack it there",
)

OFFICE_CALTECH = DomainFolders(
    name="office_caltech10",
    class_names=names_in(
        """
        backpack bike calculator headphones keyboard laptop monitor mouse mug projector
        """
    ),
    domains={
        "amazon": ("office_caltech10/amazon", 958),
        "caltech": ("office_caltech10/caltech10", 1123),
        "dslr": ("office_caltech10/dslr", 157),
        "webcam": ("office_caltech10/webcam", 295),
    },
    remedy="take the folder images/ of https://github.com/redhat12345/OfficeCaltechDomainAdaptation as "
    "office_caltech10/",
)

VISDA = DomainFolders(
    name="visda2017",
    class_names=names_in(
        """
        aeroplane bicycle bus car horse knife motorcycle person plant skateboard train truck
        """
    ),
    domains={"synthetic": ("visda2017/train", 152_397), "real": ("visda2017/validation", 55_388)},
    remedy="fetch train.tar and validation.tar of the classification track from its page into visda2017/ and unpack",
)

RELEASES = {release.name: release for release in (PACS, OFFICE31, OFFICE_HOME, OFFICE_CALTECH, VISDA)}


def _download_pacs(root: Path) -> None:
    from datasets import Image, load_dataset

    folders = {Path(folder).name for folder, _ in PACS.domains.values()}
    rows = load_dataset("flwrlabs/pacs", split="train").cast_column("image", Image(decode=False))
    known = rows.features["label"].names
    for index, row in enumerate(rows):
        domain, label = row["domain"], known[row["label"]]
        if domain not in folders or label not in PACS.class_names:
            raise DabenchError(f"flwrlabs/pacs holds an unknown domain or class: {domain}/{label}")
        name = Path(row["image"]["path"] or f"{index:05d}.png").name
        path = root / "pacs" / domain / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])


DOMAIN_FOLDERS = (
    Dataset(
        name="pacs",
        licence="research use, no licence stated",
        citation="Li et al., Deeper, broader and artier domain generalization, ICCV 2017",
        homepage="https://huggingface.co/datasets/flwrlabs/pacs",
        size="191 MB",
        files=PACS.files,
        download=_download_pacs,
    ),
    Dataset(
        name="office31",
        licence="research use, no licence stated",
        citation="Saenko et al., Adapting visual category models to new domains, ECCV 2010",
        homepage="https://faculty.cc.gatech.edu/~judy/domainadapt/",
        files=OFFICE31.files,
    ),
    Dataset(
        name="office_home",
        licence="non-commercial research and education",
        citation="Venkateswara et al., Deep hashing network for unsupervised domain adaptation, CVPR 2017",
        homepage="https://www.hemanthdv.org/officeHomeDataset.html",
        files=OFFICE_HOME.files,
    ),
    Dataset(
        name="office_caltech10",
        licence="research use, no licence stated",
        citation="Gong et al., Geodesic flow kernel for unsupervised domain adaptation, CVPR 2012",
        homepage="https://github.com/redhat12345/OfficeCaltechDomainAdaptation",
        files=OFFICE_CALTECH.files,
    ),
    Dataset(
        name="visda2017",
        licence="its own terms: research use",
        citation="Peng et al., VisDA: the visual domain adaptation challenge, 2017",
        homepage="https://ai.bu.edu/visda-2017/",
        files=VISDA.files,
    ),
)
