import gzip
import hashlib
import pickle
import zipfile

import numpy as np
import pytest
import torch

from core.data import CIFAR10_CLASSES, ROOT, SAMPLES, available, data_directory, held_out, load
from core.errors import UserError
from core.vision import torchvision


def refused(key, function, *arguments) -> UserError:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert caught.value.key == key, str(caught.value)
    return caught.value


def save(directory, file="own_test.npz", n=4, side=28, colour=False, **arrays):
    shape = (n, side, side, 3) if colour else (n, side, side)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    arrays = {"images": images, "labels": np.arange(n, dtype=np.uint8), **arrays}
    np.savez_compressed(directory / file, **{key: value for key, value in arrays.items() if value is not None})
    return directory / file


# the bundled samples

def test_digits_are_5000_balanced_and_interleaved():
    digits = load("mnist", "sample", SAMPLES)
    assert digits.images.shape == (5000, 28, 28) and digits.images.dtype == np.uint8
    assert digits.labels.tolist() == list(range(10)) * 500
    assert digits.shape == (1, 28, 28) and digits.classes == tuple("0123456789") and digits.source == "bundled"
    assert len({image.tobytes() for image in digits.images}) == 5000


def test_photos_are_20_of_cifar10():
    photos = load("cifar10", "sample", SAMPLES)
    assert photos.images.shape == (20, 32, 32, 3) and photos.shape == (3, 32, 32)
    assert photos.labels.tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1, 0, 9, 5, 7, 9, 8, 5, 7, 8, 6]
    assert photos.classes == CIFAR10_CLASSES


def test_every_digit_is_a_training_image_of_mnist_with_its_label(data_dir):
    sample, train, test = (load("mnist", split, data_dir) for split in ("sample", "train", "test"))
    label_of = {image.tobytes(): label for image, label in zip(train.images, train.labels)}
    assert [label_of.get(image.tobytes()) for image in sample.images] == sample.labels.tolist()
    assert not {image.tobytes() for image in test.images} & {image.tobytes() for image in sample.images}
    held = held_out("mnist", train.images)
    assert held.sum() == 5000 and len(held) == 60000
    assert not held_out("mnist", test.images).any()


def test_photos_begin_the_test_set_and_are_not_trained_on(data_dir):
    sample, train, test = (load("cifar10", split, data_dir) for split in ("sample", "train", "test"))
    assert np.array_equal(sample.images, test.images[:20]) and np.array_equal(sample.labels, test.labels[:20])
    assert not held_out("cifar10", train.images).any()
    assert held_out("cifar10", test.images).nonzero()[0].tolist() == list(range(20))


def test_full_sets_have_the_counts_their_authors_state(data_dir):
    assert np.bincount(load("mnist", "test", data_dir).labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert len(load("mnist", "train", data_dir)) == 60000


def test_batch_is_nchw_in_0_1():
    photos = load("cifar10", "sample", SAMPLES)
    x, y = photos.batch([3, 5])
    assert x.shape == (2, 3, 32, 32) and x.dtype == torch.float32 and y.tolist() == [0, 6] and y.dtype == torch.int64
    assert torch.equal((x * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(photos.images[[3, 5]]))
    x, y = load("mnist", "sample", SAMPLES).one(17)
    assert x.shape == (1, 1, 28, 28) and y.tolist() == [7] and x.max() == 1 and x.min() == 0


@pytest.mark.parametrize("index", [-1, 20, 10**9])
def test_no_such_index(index):
    error = refused("data.index", load("cifar10", "sample", SAMPLES).one, index)
    assert "from 0 to 19" in str(error)


# where data sets are looked for

def test_missing_set_names_what_is_here(tmp_path):
    save(tmp_path, "own_test.npz")
    error = refused("data.missing", load, "cifar10", "test", tmp_path)
    assert "own (test)" in str(error) and "mnist (sample)" in str(error)
    refused("data.missing", load, "mnist", "test", tmp_path / "nowhere")


def test_data_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("EPSILON_LAB_DATA", raising=False)
    assert data_directory() == ROOT / "data"
    monkeypatch.setenv("EPSILON_LAB_DATA", str(tmp_path / "env"))
    assert data_directory() == tmp_path / "env"  # need not exist
    assert data_directory(tmp_path) == tmp_path
    assert "nowhere" in str(refused("data.directory", data_directory, tmp_path / "nowhere"))
    monkeypatch.setenv("EPSILON_LAB_DATA", "")
    assert data_directory() == ROOT / "data"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EPSILON_LAB_DATA", "~/sets")
    assert data_directory() == tmp_path / "sets"


def test_available_lists_own_files_and_leaves_the_rest(tmp_path):
    for file in ("fashion_v2_test.npz", "mnist_test.npz", "nounderscore.npz", "_test.npz", "._own_test.npz", "a_.npz"):
        save(tmp_path, file)
    (tmp_path / "notes_test.txt").write_text("no data set")
    assert [(e.name, e.split, e.source) for e in available(tmp_path)] == [
        ("mnist", "sample", "bundled"), ("cifar10", "sample", "bundled"),
        ("fashion_v2", "test", "npz"), ("mnist", "test", "npz"),
        ("mnist-37", "sample", "bundled"), ("mnist-37", "test", "npz")]
    assert len(load("fashion_v2", "test", tmp_path)) == 4


def test_three_and_seven_are_a_part_of_mnist(tmp_path):
    part, whole = load("mnist-37", "sample", tmp_path), load("mnist", "sample", tmp_path)
    assert part.name == "mnist-37" and set(part.labels) == {3, 7} and part.classes == whole.classes
    assert len(part) == np.isin(whole.labels, (3, 7)).sum() == 1000
    assert (part.images[0] == whole.images[np.isin(whole.labels, (3, 7))][0]).all()
    save(tmp_path, "mnist_test.npz", labels=np.array([0, 1, 2, 4], np.uint8))
    refused("data.bad_file", load, "mnist-37", "test", tmp_path)
    save(tmp_path, "mnist-37_own.npz")
    assert len(load("mnist-37", "own", tmp_path)) == 4


# the npz contract

@pytest.mark.parametrize("wrong, says", [
    ({"images": np.zeros((4, 28, 28), np.float32)}, "float32"),
    ({"images": np.zeros((4, 28, 28), np.int64)}, "int64"),
    ({"images": np.zeros((4, 784), np.uint8)}, "(4, 784)"),
    ({"images": np.zeros((4, 28, 28, 4), np.uint8)}, "28, 4)"),
    ({"images": np.zeros((4, 3, 32, 32), np.uint8)}, "(4, 3, 32, 32)"),
    ({"images": np.zeros((4, 30, 30), np.uint8)}, "30 x 30"),
    ({"images": np.zeros((4, 28, 32), np.uint8)}, "28 x 32"),
    ({"images": np.zeros((0, 28, 28), np.uint8), "labels": np.zeros(0, np.uint8)}, "no images"),
    ({"images": None}, "no array images"),
    ({"labels": None}, "no array labels"),
    ({"images": None, "labels": None, "x": np.zeros(1)}, "images and no labels"),
    ({"labels": np.zeros(3, np.uint8)}, "(3,)"),
    ({"labels": np.zeros((4, 1), np.uint8)}, "(4, 1)"),
    ({"labels": np.zeros(4, np.float32)}, "float32"),
    ({"labels": np.array(list("0123"))}, "<U1"),
    ({"labels": np.array([0, 1, -1, 2])}, "-1"),
    ({"labels": np.array([0, 1, 10**9, 2])}, "1000000000"),
    ({"labels": np.array([0, 1, 2**63, 2], np.uint64)}, "9223372036854775808"),
])
def test_npz_refusals_say_why(tmp_path, wrong, says):
    path = save(tmp_path, **wrong)
    error = refused("data.bad_file", load, "own", "test", tmp_path)
    assert says in str(error) and str(path) in str(error)


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("key", ["images", "labels"])
def test_object_arrays_are_refused_unopened(tmp_path, key):
    save(tmp_path, **{key: np.array([Trap(tmp_path / "sprung")] * 4, dtype=object)})
    refused("data.bad_file", load, "own", "test", tmp_path)
    assert not (tmp_path / "sprung").exists()
    np.load(tmp_path / "own_test.npz", allow_pickle=True)[key]  # the trap does work
    assert (tmp_path / "sprung").exists()


def test_a_pickle_called_npz_is_refused_unopened(tmp_path):
    (tmp_path / "own_test.npz").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert "no .npz archive" in str(refused("data.bad_file", load, "own", "test", tmp_path))
    assert not (tmp_path / "sprung").exists()


def test_files_that_are_no_archive(tmp_path):
    whole = save(tmp_path, n=50).read_bytes()
    array = tmp_path / "array.npy"
    np.save(array, np.zeros((4, 28, 28), np.uint8))
    for content in (b"", b"hello", whole[:100], whole[:len(whole) // 2], whole[:-1], array.read_bytes()):
        (tmp_path / "own_test.npz").write_bytes(content)
        refused("data.bad_file", load, "own", "test", tmp_path)


def test_damaged_archives_give_an_image_or_a_sentence(tmp_path):
    path, random = save(tmp_path), np.random.default_rng(1)
    whole, refusals = path.read_bytes(), 0
    for _ in range(200):
        content = bytearray(whole)
        for position in random.integers(0, len(content), random.integers(1, 8)):
            content[position] = random.integers(256)
        path.write_bytes(bytes(content))
        try:
            assert load("own", "test", tmp_path).images.shape == (4, 28, 28)
        except UserError as error:
            assert error.key == "data.bad_file"
            refusals += 1
    assert refusals > 100
    with zipfile.ZipFile(path, "w") as archive:  # an array that claims more than any memory holds
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, "
                         b"'shape': (9999999999999, 28, 28), }".ljust(118 + 9) + b"\n")
        archive.writestr("labels.npy", b"")
    refused("data.bad_file", load, "own", "test", tmp_path)


def test_28_colour_becomes_grey_by_the_luma_weights(tmp_path):
    images = np.zeros((4, 28, 28, 3), np.uint8)
    images[0], images[1], images[2], images[3] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    save(tmp_path, images=images)
    own = load("own", "test", tmp_path)
    assert own.images.dtype == np.uint8 and own.images[:, 5, 5].tolist() == [76, 150, 29, 255]
    assert own.batch(slice(0, 4))[0].shape == (4, 1, 28, 28) and own.shape == (1, 28, 28)


def test_32_grey_becomes_rgb(tmp_path):
    save(tmp_path, side=32)
    own = load("own", "test", tmp_path)
    assert own.images.shape == (4, 32, 32, 3) and own.shape == (3, 32, 32)
    assert (own.images == np.load(tmp_path / "own_test.npz")["images"][..., None]).all()


@pytest.mark.parametrize("kind", [">i4", "<u8", "i1"])
def test_any_integer_labels_become_int64(tmp_path, kind):
    save(tmp_path, labels=np.array([3, 1, 0, 2], kind))
    assert load("own", "test", tmp_path).labels.tolist() == [3, 1, 0, 2]
    assert load("own", "test", tmp_path).labels.dtype == np.int64


def test_class_names(tmp_path):
    save(tmp_path, "my_own_test.npz")
    assert load("my_own", "test", tmp_path).classes == tuple("0123456789")
    (tmp_path / "my_own.json").write_text('["rouge", "été", "c", "d", "spare"]', "utf-8")
    assert load("my_own", "test", tmp_path).classes == ("rouge", "été", "c", "d", "spare")
    save(tmp_path, "wide_test.npz", labels=np.array([0, 1, 2, 41]))
    assert len(load("wide", "test", tmp_path).classes) == 42
    save(tmp_path, "cifar10_test.npz", side=32, colour=True)
    assert load("cifar10", "test", tmp_path).classes == CIFAR10_CLASSES


@pytest.mark.parametrize("content", [b"[", b"{}", b'"abcd"', b'["a", "b", "c"]', b'["a", "b", "c", 4]', b"\xff\xfe",
                                     b"", b"[" * 100_000])
def test_bad_class_names(tmp_path, content):
    save(tmp_path)
    (tmp_path / "own.json").write_bytes(content)
    assert "own.json" in str(refused("data.bad_file", load, "own", "test", tmp_path))


# torchvision's layouts

def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def save_mnist(directory, n=6, images=None, labels=None):
    raw = directory / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (n, 28, 28)).astype(np.uint8) if images is None else images
    labels = np.arange(n, dtype=np.uint8) if labels is None else labels
    for split in ("train", "t10k"):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    return images, labels


def test_mnist_layout_wins_over_an_npz_of_its_name(tmp_path):
    images, labels = save_mnist(tmp_path)
    save(tmp_path, "mnist_test.npz")
    for split in ("train", "test"):
        mnist = load("mnist", split, tmp_path)
        assert mnist.source == "torchvision" and np.array_equal(mnist.images, images)
        assert mnist.labels.tolist() == labels.tolist() and mnist.labels.dtype == np.int64


def test_damaged_mnist_layouts(tmp_path):
    save_mnist(tmp_path / "labels", labels=np.arange(5, dtype=np.uint8))
    save_mnist(tmp_path / "side", images=np.zeros((6, 5, 5), np.uint8))
    save_mnist(tmp_path / "flat", images=np.zeros((6, 784), np.uint8))
    save_mnist(tmp_path / "empty", n=0)
    save_mnist(tmp_path / "cut")
    cut = tmp_path / "cut" / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    save_mnist(tmp_path / "kind")
    kind = tmp_path / "kind" / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    kind.write_bytes(b"\0\0\x0a\x03" + kind.read_bytes()[4:])  # a type that does not exist
    (tmp_path / "none" / "MNIST" / "raw").mkdir(parents=True)
    for name in ("labels", "side", "flat", "empty", "kind", "none"):
        refused("data.bad_file", load, "mnist", "test", tmp_path / name)
    whole = cut.read_bytes()
    for length in (0, 3, 10, 16, 100, len(whole) - 1):
        cut.write_bytes(whole[:length])
        error = refused("data.bad_file", load, "mnist", "test", tmp_path / "cut")
    assert "python -m core.data download mnist" in str(error)


def save_cifar10(directory, monkeypatch=None, trap=None):
    """CIFAR-10's own pickles, 3 images a file; checksums are made to match only where `monkeypatch` is given."""
    folder = directory / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    sums = {}
    for k, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch", "batches.meta"]):
        rows = np.random.default_rng(k).integers(0, 256, (3, 3072)).astype(np.uint8)
        batch = {"data": rows, "labels": [k, 1, 2], "label_names": list(CIFAR10_CLASSES)}
        content = pickle.dumps(Trap(trap) if trap else batch)
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if monkeypatch:
        kind = torchvision().datasets.CIFAR10
        monkeypatch.setattr(kind, "train_list", [[f"data_batch_{k}", sums[f"data_batch_{k}"]] for k in range(1, 6)])
        monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["batches.meta"]})


def test_cifar10_layout(tmp_path, monkeypatch):
    save_cifar10(tmp_path, monkeypatch)
    train, test = load("cifar10", "train", tmp_path), load("cifar10", "test", tmp_path)
    assert train.images.shape == (15, 32, 32, 3) and train.source == "torchvision"
    assert test.labels.tolist() == [5, 1, 2] and test.classes == CIFAR10_CLASSES
    rows = np.random.default_rng(5).integers(0, 256, (3, 3072)).astype(np.uint8)  # planes of red, green and blue
    assert test.images[0, 0, 1].tolist() == [rows[0, 1], rows[0, 1025], rows[0, 2049]]


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar10_with_a_wrong_checksum_is_refused_unopened(tmp_path, split):
    save_cifar10(tmp_path, trap=tmp_path / "sprung")
    error = refused("data.bad_file", load, "cifar10", split, tmp_path)
    assert "download cifar10" in str(error)
    assert not (tmp_path / "sprung").exists()
    pickle.loads((tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes())  # the trap does work
    assert (tmp_path / "sprung").exists()


def test_gz_files_alone_are_no_mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x"))
    refused("data.bad_file", load, "mnist", "test", tmp_path)
