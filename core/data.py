"""Data sets: the bundled samples, a local directory, downloads. `python -m core.data download mnist`.

A data directory holds torchvision's layouts (MNIST/raw, cifar-10-batches-py) and files
`<name>_<split>.npz` with `images` (uint8, N x H x W [x 3]) and `labels`; `<name>.json` beside one may
name its classes, as a list of strings. It is EPSILON_LAB_DATA, or `data/` beside this package.
"""
import json
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "assets" / "samples"
DIGITS = tuple("0123456789")
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES = {"mnist": DIGITS, "cifar10": CIFAR10_CLASSES}
PARTS = {"mnist-37": ("mnist", (3, 7))}  # data sets that are some classes of another
OFFICIAL = {  # name -> class in torchvision.datasets, and its folder in a data directory
    "mnist": ("MNIST", "MNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
}
MAX_CLASSES = 1000
SHAPES = {28: (1, 28, 28), 32: (3, 32, 32)}  # side -> what a network sees: digits are grey, photos are RGB


@dataclass(frozen=True)
class Entry:
    """One data set that is here: where it would be read from, nothing read yet."""

    name: str
    split: str
    source: str  # "bundled", "torchvision" or "npz"
    path: Path


@dataclass(frozen=True)
class DataSet:
    """uint8 images [N, H, W] or [N, H, W, 3] and int64 labels [N], with the names of the classes."""

    name: str
    split: str
    source: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image as a network sees it."""
        return SHAPES[self.images.shape[1]]

    def at(self, indices) -> "DataSet":
        """The images at `indices` (a slice, integers or bools) as a data set."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def only(self, labels: tuple[int, ...]) -> "DataSet":
        """The images of these classes; all of them for an empty tuple."""
        return self.at(np.isin(self.labels, labels) if labels else slice(None))

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All images uint8 [N, C, H, W] and labels int64 [N]."""
        images = self.images[..., None] if self.images.ndim == 3 else self.images
        return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(self.labels)

    def batch(self, indices) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float32 [n, C, H, W] in [0, 1] and labels int64 [n] at `indices` (a slice or integers)."""
        x, y = self.at(indices).tensors()
        return x.float().div_(255), y

    def one(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One image as a batch of one. Raises UserError when there is no such index."""
        if not 0 <= index < len(self):
            raise UserError("data.index", name=self.name, split=self.split, index=index, last=len(self) - 1)
        return self.batch(slice(index, index + 1))


def data_directory(given: str | os.PathLike | None = None) -> Path:
    """The data directory: as given, else EPSILON_LAB_DATA, else `data/` in the project. It need not exist
    unless it was given, in which case a UserError says so."""
    if given is not None and not Path(given).expanduser().is_dir():
        raise UserError("data.directory", path=given)
    return Path(given or os.environ.get("EPSILON_LAB_DATA") or ROOT / "data").expanduser()


def available(directory: Path) -> list[Entry]:
    """Every data set here, the bundled samples first. The official layout wins over an npz of its name."""
    entries = [Entry(name, "sample", "bundled", SAMPLES / f"{name}_sample.npz") for name in CLASSES]
    for name, (_, folder) in OFFICIAL.items():
        if (directory / folder).is_dir():
            entries += [Entry(name, split, "torchvision", directory) for split in ("test", "train")]
    taken = {(entry.name, entry.split) for entry in entries}
    for path in sorted(directory.glob("*_*.npz")) if directory.is_dir() else ():
        name, _, split = path.stem.rpartition("_")
        # macOS leaves ._NAME.npz beside NAME.npz on foreign disks: no data sets
        if name and split and not name.startswith(".") and (name, split) not in taken:
            entries.append(Entry(name, split, "npz", path))
    here = {(entry.name, entry.split) for entry in entries}
    parts = [replace(entry, name=name) for name, (whole, _) in PARTS.items() for entry in entries
             if entry.name == whole and (name, entry.split) not in here]
    return entries + parts


def load(name: str, split: str, directory: Path) -> DataSet:
    """Read one data set into memory. Raises UserError when it is not here or is damaged."""
    entries = available(directory)
    entry = next((e for e in entries if (e.name, e.split) == (name, split)), None)
    if entry is None:
        raise UserError("data.missing", name=name, split=split,
                        available=", ".join(f"{e.name} ({e.split})" for e in entries))
    if name in PARTS and not entry.path.name.startswith(f"{name}_"):  # else it is a file of that name
        whole, labels = PARTS[name]
        part = replace(load(whole, split, directory).only(labels), name=name)
        if not len(part):
            raise UserError("data.bad_file", path=entry.path, reason=f"it has no images of {labels}")
        return part
    images, labels = (_read_official if entry.source == "torchvision" else _read_npz)(entry)
    _require_contract(entry, images, labels)
    labels = labels.astype(np.int64)
    return DataSet(name, split, entry.source, _as_networks_see(images), labels, _class_names(entry, labels))


def _read_official(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """Through torchvision; its CIFAR-10 pickles are opened only after their checksums have matched."""
    from core.vision import torchvision

    kind, folder = OFFICIAL[entry.name]
    try:
        read = getattr(torchvision().datasets, kind)(str(entry.path), train=entry.split == "train", download=False)
    except Exception as error:  # torchvision's readers raise many kinds on damaged files
        again = f"a file is missing or damaged; get it again with `python -m core.data download {entry.name}`"
        raise UserError("data.bad_file", path=entry.path / folder, reason=again) from error
    return np.asarray(read.data), np.asarray(read.targets)


def _read_npz(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    if not zipfile.is_zipfile(entry.path):
        raise UserError("data.bad_file", path=entry.path, reason="it is no .npz archive, or it is cut off")
    try:
        with np.load(entry.path, allow_pickle=False) as archive:
            missing = {"images", "labels"} - set(archive.files)
            if not missing:
                return archive["images"], archive["labels"]
    except Exception as error:  # numpy's, zipfile's and zlib's readers raise many kinds on damaged files
        raise UserError("data.bad_file", path=entry.path, reason=str(error) or type(error).__name__) from error
    raise UserError("data.bad_file", path=entry.path, reason=f"it has no array {' and no '.join(sorted(missing))}")


def _require_contract(entry: Entry, images: np.ndarray, labels: np.ndarray) -> None:
    def refuse(reason: str):
        raise UserError("data.bad_file", path=entry.path, reason=reason)

    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        refuse(f"images must be uint8, N x H x W or N x H x W x 3, not {images.dtype} {images.shape}")
    if images.shape[1] != images.shape[2] or images.shape[1] not in SHAPES:
        refuse(f"images must be 28 x 28 or 32 x 32, not {images.shape[1]} x {images.shape[2]}")
    if len(images) == 0:
        refuse("it has no images")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        refuse(f"labels must be one integer an image ({len(images)}), not {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        refuse(f"labels must be from 0 to {MAX_CLASSES - 1}, not from {labels.min()} to {labels.max()}")


def _as_networks_see(images: np.ndarray) -> np.ndarray:
    """28 x 28 colour becomes grey (ITU-R BT.601 luma, as Pillow's mode L), 32 x 32 grey becomes RGB."""
    if images.shape[1] == 28 and images.ndim == 4:
        return np.rint(images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    if images.shape[1] == 32 and images.ndim == 3:
        return np.repeat(images[..., None], 3, axis=3)
    return images


def _class_names(entry: Entry, labels: np.ndarray) -> tuple[str, ...]:
    named = entry.path.with_name(f"{entry.name}.json") if entry.source == "npz" else None
    if named is not None and named.is_file():
        try:
            names = json.loads(named.read_text("utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise UserError("data.bad_file", path=named, reason=f"it is no JSON ({error})") from error
        if not (isinstance(names, list) and all(isinstance(n, str) for n in names) and len(names) > labels.max()):
            raise UserError("data.bad_file", path=named, reason=f"it must list {labels.max() + 1} class names")
        return tuple(names)
    if entry.name in CLASSES and labels.max() < 10:
        return CLASSES[entry.name]
    return tuple(str(k) for k in range(max(10, labels.max() + 1)))


def whole_of(name: str) -> str:
    """The data set of which `name` is some classes, or `name` itself."""
    return PARTS.get(name, (name,))[0]


def rank_in_class(labels: np.ndarray) -> np.ndarray:
    """int64 [N]: how many images of its class come before each image."""
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        rank[places] = np.arange(len(places))
    return rank


def in_turns(labels: np.ndarray, rounds: int | None = None) -> np.ndarray:
    """Indices in which classes take turns: the first image of each class, the second of each ... (`rounds` of them)."""
    rank = rank_in_class(labels)
    order = np.lexsort((labels, rank))
    return order if rounds is None else order[rank[order] < rounds]


def held_out(name: str, images: np.ndarray) -> np.ndarray:
    """bool [N]: which of `images` are among the bundled samples, and so must not be trained on."""
    sample = load(name, "sample", SAMPLES)
    known = {image.tobytes() for image in sample.images}
    return np.fromiter((image.tobytes() in known for image in images), bool, len(images))


if __name__ == "__main__":
    from core.downloads import main

    raise SystemExit(main())
