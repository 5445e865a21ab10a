"""ImageNet's classes in other pictures: ImageNet-R (renditions), ImageNet-Sketch and ImageNet-V2 (collected anew)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dabench.core import MissingData
from dabench.data.imagenets import imagenet, wnids
from dabench.data.official import Dataset, names_in
from dabench.data.pictures import Picture, pictures_in

_R_CLASSES = names_in(
    """
    1 2 4 6 8 9 11 13 22 23 26 29 31 39 47 63 71 76 79 84 90 94 96 97 99 100 105 107 113 122 125 130 132 144 145 147
    148 150 151 155 160 161 162 163 171 172 178 187 195 199 203 207 208 219 231 232 234 235 242 245 247 250 251 254
    259 260 263 265 267 269 276 277 281 288 289 291 292 293 296 299 301 308 309 310 311 314 315 319 323 327 330 334
    335 337 338 340 341 344 347 353 355 361 362 365 366 367 368 372 388 390 393 397 401 407 413 414 425 428 430 435
    437 441 447 448 457 462 463 469 470 471 472 476 483 487 515 546 555 558 570 579 583 587 593 594 596 609 613 617
    621 629 637 657 658 701 717 724 763 768 774 776 779 780 787 805 812 815 820 824 833 847 852 866 875 883 889 895
    907 928 931 932 933 934 936 937 943 945 947 948 949 951 953 954 957 963 965 967 980 981 983 988
    """
)


@dataclass(frozen=True, kw_only=True)
class ImageNetShift:
    """A release of pictures of ImageNet's classes; `numbered` means that its folders bear their indices."""

    name: str
    folder: str
    classes: tuple[int, ...]
    numbered: bool
    count: int
    remedy: str

    def pictures(self, root: Path) -> list[Picture]:
        """Its pictures in a mixed order, labelled by the class's place in `classes`; raises MissingData."""
        known = wnids()
        names = tuple(str(index) if self.numbered else known[index] for index in self.classes)
        for name in names:
            if not (root / self.folder / name).is_dir():
                raise MissingData(f"{self.name}: {root / self.folder / name} is missing; {self.remedy}")
        return pictures_in(root / self.folder, names)

    def undistorted(self, root: Path) -> list[Picture]:
        """ImageNet's own validation pictures of the same classes, labelled alike."""
        place = {index: label for label, index in enumerate(self.classes)}
        return [replace(one, label=place[one.label]) for one in imagenet(root) if one.label in place]


IMAGENET_SHIFTS = (
    ImageNetShift(
        name="imagenet_r",
        folder="imagenet-r",
        classes=tuple(map(int, _R_CLASSES)),
        numbered=False,
        count=30_000,
        remedy="fetch imagenet-r.tar from its page and unpack it into the data root",
    ),
    ImageNetShift(
        name="imagenet_sketch",
        folder="sketch",
        classes=tuple(range(1000)),
        numbered=False,
        count=50_889,
        remedy="fetch ImageNet-Sketch.zip from its page and unpack it into the data root",
    ),
    ImageNetShift(
        name="imagenet_v2",
        folder="imagenetv2-matched-frequency-format-val",
        classes=tuple(range(1000)),
        numbered=True,
        count=10_000,
        remedy="fetch imagenetv2-matched-frequency.tar.gz from its page and unpack it into the data root",
    ),
)


def _files(shift: ImageNetShift, root: Path) -> list[Path]:
    return [picture.path for picture in shift.pictures(root)]


_FACTS = {
    "imagenet_r": (
        "MIT",
        "Hendrycks et al., The many faces of robustness, ICCV 2021",
        "https://github.com/hendrycks/imagenet-r",
    ),
    "imagenet_sketch": (
        "MIT",
        "Wang et al., Learning robust global representations by penalizing local predictive power, NeurIPS 2019",
        "https://github.com/HaohanWang/ImageNet-Sketch",
    ),
    "imagenet_v2": (
        "MIT",
        "Recht et al., Do ImageNet classifiers generalize to ImageNet?, ICML 2019",
        "https://github.com/modestyachts/ImageNetV2",
    ),
}

SHIFTED_IMAGENETS = tuple(
    Dataset(name=shift.name, licence=licence, citation=citation, homepage=homepage, files=partial(_files, shift))
    for shift, (licence, citation, homepage) in zip(IMAGENET_SHIFTS, _FACTS.values(), strict=True)
)
