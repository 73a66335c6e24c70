import errno
import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from core import downloads
from core.data import CIFAR10_CLASSES, load
from core.downloads import ARCHIVES, Archive, download, main
from core.errors import UserError
from core.vision import torchvision

ROOT = Path(__file__).resolve().parent.parent
MNIST_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
               "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
N = 600


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Counts what is asked for and sends slowly enough to be watched."""

    def do_GET(self):
        self.server.asked.append(self.path)
        path = Path(self.directory) / self.path.strip("/")
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if "Method" in self.headers:  # torchvision's question where a file has moved to
            return None
        try:
            for start in range(0, len(content), 50_000):
                self.wfile.write(content[start:start + 50_000])
                self.server.released.wait(self.server.pause)
        except ConnectionError:
            pass  # the other side has given up, as some tests mean it to

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server over the folder `server.folder`."""
    folder = tmp_path / "www"
    folder.mkdir()
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    running.folder, running.asked, running.pause, running.released = folder, [], 0.05, threading.Event()
    running.url = f"http://127.0.0.1:{running.server_address[1]}/"
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.released.set()
    running.shutdown()
    running.server_close()


@pytest.fixture
def mnist(server, monkeypatch):
    """A small MNIST behind the server: its images [N, 28, 28]."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (N, 28, 28)).astype(np.uint8)
    labels = (np.arange(N) % 10).astype(np.uint8)
    resources = []
    for name in MNIST_FILES:
        content = gzip.compress(idx(images if "images" in name else labels), 1)
        (server.folder / name).write_bytes(content)
        resources.append((name, md5(content)))
    kind = torchvision().datasets.MNIST
    monkeypatch.setattr(kind, "mirrors", [server.url])
    monkeypatch.setattr(kind, "resources", resources)
    size = sum((server.folder / name).stat().st_size for name in MNIST_FILES)
    monkeypatch.setitem(ARCHIVES, "mnist", Archive("MNIST/raw/*.gz", size, 2 * N * 800, ("train", "test")))
    return images


@pytest.fixture
def cifar10(server, monkeypatch):
    """A small CIFAR-10 behind the server."""
    kind, sums, buffer = torchvision().datasets.CIFAR10, {}, io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for k, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch", "batches.meta"]):
            rows = np.random.default_rng(k).integers(0, 256, (20, 3072)).astype(np.uint8)
            content = pickle.dumps({"data": rows, "labels": [k] * 20, "label_names": list(CIFAR10_CLASSES)})
            sums[name] = md5(content)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (server.folder / "cifar-10-python.tar.gz").write_bytes(buffer.getvalue())
    monkeypatch.setattr(kind, "url", server.url + "cifar-10-python.tar.gz")
    monkeypatch.setattr(kind, "tgz_md5", md5(buffer.getvalue()))
    monkeypatch.setattr(kind, "train_list", [[f"data_batch_{k}", sums[f"data_batch_{k}"]] for k in range(1, 6)])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["batches.meta"]})
    monkeypatch.setitem(ARCHIVES, "cifar10", Archive("*.tar.gz", len(buffer.getvalue()), 500_000, ("test",)))


@pytest.fixture
def had(tmp_path):
    """A directory with a damaged MNIST and a person's own files: {path: content}."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        (raw / name.removesuffix(".gz")).write_bytes(b"damaged " + name.encode())
    (raw / "notes.txt").write_text("mine")
    (tmp_path / "data" / "own_test.npz").write_bytes(b"mine too")
    return contents(tmp_path / "data")


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refused(key: str, directory: Path, name: str = "mnist", on_progress=None) -> UserError:
    """The error of a download that must fail with `key` and leave no scratch folder."""
    with pytest.raises(UserError) as caught:
        download(name, directory, on_progress)
    assert caught.value.key == key, repr(caught.value.__cause__)
    assert not directory.is_dir() or not list(directory.glob(".download-*"))
    return caught.value


def gone(directory: Path, pattern: str, seconds: float = 10) -> bool:
    """Whether `pattern` has vanished, given the time that a worker needs to notice."""
    end = time.monotonic() + seconds
    while list(directory.glob(pattern)) and time.monotonic() < end:
        time.sleep(0.05)
    return not list(directory.glob(pattern))


# success

def test_sizes_are_those_of_the_official_archives():
    assert ARCHIVES["mnist"].size == 9_912_422 + 28_881 + 1_648_877 + 4_542
    assert ARCHIVES["mnist"].unpacked == 70_000 * 785 + 2 * 16 + 2 * 8
    assert ARCHIVES["cifar10"].size == 170_498_071


def test_progress_rises_to_the_total(tmp_path, mnist):
    seen = []
    download("mnist", tmp_path / "new" / "folder", lambda done, total: seen.append((done, total)))
    total = ARCHIVES["mnist"].size
    done = [each for each, _ in seen]
    assert {each for _, each in seen} == {total} and done == sorted(done) and done[-1] == total
    assert len({each for each in done if 0 < each < total}) >= 2, done
    for split in ("train", "test"):
        arrived = load("mnist", split, tmp_path / "new" / "folder")
        assert arrived.source == "torchvision" and np.array_equal(arrived.images, mnist)
    assert not list((tmp_path / "new" / "folder").glob(".*"))


def test_cifar10_arrives(tmp_path, cifar10):
    download("cifar10", tmp_path / "data")
    assert load("cifar10", "test", tmp_path / "data").labels.tolist() == [5] * 20
    assert len(load("cifar10", "train", tmp_path / "data")) == 100
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-10-batches-py"]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_an_intact_set_is_not_fetched_again(tmp_path, server, mnist, cifar10, name):
    download(name, tmp_path / "data")
    before, seen = len(server.asked), []
    assert before > 0
    download(name, tmp_path / "data", lambda *step: seen.append(step))
    assert len(server.asked) == before and seen == [(ARCHIVES[name].size, ARCHIVES[name].size)]


def test_a_damaged_set_is_replaced_and_other_files_stay(tmp_path, mnist, had):
    download("mnist", tmp_path / "data")
    assert np.array_equal(load("mnist", "test", tmp_path / "data").images, mnist)
    now = contents(tmp_path / "data")
    assert now["MNIST/raw/notes.txt"] == b"mine" and now["own_test.npz"] == b"mine too"


def test_an_npz_of_the_name_is_no_reason_to_fetch_nothing(tmp_path, mnist):
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        np.savez(tmp_path / "data" / f"mnist_{split}.npz", images=mnist, labels=np.zeros(N, np.uint8))
    download("mnist", tmp_path / "data")
    assert load("mnist", "test", tmp_path / "data").source == "torchvision"
    assert (tmp_path / "data" / "mnist_test.npz").exists()


def test_the_next_mirror_helps_and_progress_never_falls(tmp_path, server, mnist, monkeypatch):
    (server.folder / "bad").mkdir()
    for name in MNIST_FILES:
        (server.folder / "bad" / name).write_bytes(b"x" * 600_000)
    monkeypatch.setattr(torchvision().datasets.MNIST, "mirrors", [server.url + "bad/", server.url])
    done = []
    download("mnist", tmp_path / "data", lambda each, total: done.append(each))
    assert done == sorted(done) and done[-1] == ARCHIVES["mnist"].size
    assert np.array_equal(load("mnist", "test", tmp_path / "data").images, mnist)


# failure: a sentence, and everything as it was

def test_unknown_name(tmp_path):
    assert "mnist, cifar10" in str(refused("data.no_download", tmp_path / "data", "imagenet"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name, file", [("mnist", MNIST_FILES[2]), ("cifar10", "cifar-10-python.tar.gz")])
def test_wrong_checksum(tmp_path, server, mnist, cifar10, had, name, file):
    content = bytearray((server.folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (server.folder / file).write_bytes(bytes(content))
    assert name in str(refused("data.corrupt", tmp_path / "data", name))
    assert contents(tmp_path / "data") == had


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_server_down(tmp_path, server, mnist, cifar10, had, name, monkeypatch):
    monkeypatch.setattr(torchvision().datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(torchvision().datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    refused("data.no_network", tmp_path / "data", name)
    assert contents(tmp_path / "data") == had


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_file_gone_from_the_server(tmp_path, server, mnist, cifar10, name):
    (server.folder / MNIST_FILES[3]).unlink()
    (server.folder / "cifar-10-python.tar.gz").unlink()
    refused("data.no_network", tmp_path / "data", name)


def test_a_server_that_falls_silent(tmp_path, server, mnist, had, monkeypatch):
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.5)
    server.pause = 60
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        download("mnist", tmp_path / "data")
    assert caught.value.key == "data.no_network" and time.monotonic() - started < 10
    server.released.set()  # the abandoned worker goes on, and tidies up when it ends
    assert gone(tmp_path / "data", ".download-*")
    assert contents(tmp_path / "data") == had


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_an_interrupted_download(tmp_path, server, mnist, had, stop):
    def interrupt(done, total):
        if done:
            raise stop

    with pytest.raises(stop):
        download("mnist", tmp_path / "data", interrupt)
    server.released.set()
    assert gone(tmp_path / "data", ".download-*")
    while any(thread.name == "download mnist" for thread in threading.enumerate()):
        time.sleep(0.05)
    assert contents(tmp_path / "data") == had


def test_no_room_is_known_before_anything_is_fetched(tmp_path, server, mnist, had, monkeypatch):
    needed = ARCHIVES["mnist"].size + ARCHIVES["mnist"].unpacked
    usage = shutil.disk_usage(tmp_path)._replace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert f"({round(needed / 1e6)} MB)" in str(refused("data.no_room", tmp_path / "data"))
    assert not server.asked and contents(tmp_path / "data") == had
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    download("mnist", tmp_path / "data")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_disk_fills_up_on_the_way(tmp_path, mnist, had, monkeypatch, number):
    def full(*arguments, **settings):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(gzip.GzipFile, "read", full)
    refused("data.no_room", tmp_path / "data")
    assert contents(tmp_path / "data") == had


def test_the_disk_fills_up_behind_a_network_error(tmp_path):
    try:
        try:
            raise OSError(errno.ENOSPC, "full")  # torchvision then tries http instead of https
        except OSError:
            raise downloads.URLError("refused")
    except OSError as error:
        assert downloads._explained(error, "mnist", tmp_path).key == "data.no_room"


@pytest.mark.parametrize("error, key", [
    (ConnectionResetError(), "data.no_network"), (TimeoutError(), "data.no_network"),
    (downloads.http.client.IncompleteRead(b""), "data.no_network"),
    (OSError(errno.ENETUNREACH, "unreachable"), "data.no_network"),
    (RecursionError("exceeded 3 redirects"), "data.no_network"),
    (EOFError(), "data.corrupt"), (tarfile.ReadError(), "data.corrupt"),
    (PermissionError(errno.EACCES, "denied"), "data.unwritable"),
    (OSError(errno.EROFS, "read-only"), "data.unwritable"),
])
def test_what_torchvision_may_raise(tmp_path, mnist, had, monkeypatch, error, key):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr(torchvision().datasets.MNIST, "download", fail)
    assert refused(key, tmp_path / "data").__cause__ is error
    assert contents(tmp_path / "data") == had


def test_a_bug_is_not_dressed_up(tmp_path, mnist, monkeypatch):
    monkeypatch.setattr(torchvision().datasets.MNIST, "download", lambda self: self.no_such_attribute)
    with pytest.raises(AttributeError):
        download("mnist", tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_unwritable(tmp_path, server, mnist):
    (tmp_path / "file").write_text("no folder")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        assert str(directory) in str(refused("data.unwritable", directory))
    assert not server.asked and (tmp_path / "file").read_text() == "no folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unwritable for root")
def test_unwritable_by_permission(tmp_path, mnist):
    (tmp_path / "data").mkdir(mode=0o500)
    refused("data.unwritable", tmp_path / "data")


def test_a_failed_move_brings_the_old_files_back(tmp_path, mnist, had, monkeypatch):
    rename = Path.rename

    def fail(self, target):
        if self.name == "raw" and ".download-" in str(self):
            raise PermissionError(errno.EACCES, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    refused("data.unwritable", tmp_path / "data")
    assert contents(tmp_path / "data") == had


# the shell

def shell(*arguments, **environment):
    return subprocess.run([sys.executable, "-m", "core.data", *arguments], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "EPSILON_LAB_DATA": "", **environment}, timeout=120)


def test_shell_lists_what_is_here(tmp_path):
    np.savez(tmp_path / "own_v2_test.npz", images=np.zeros((3, 28, 28), np.uint8), labels=np.arange(3))
    for found in (shell("list", "--data-dir", str(tmp_path)), shell("list", EPSILON_LAB_DATA=str(tmp_path))):
        assert found.returncode == 0 and found.stderr == ""
        assert [line.split() for line in found.stdout.splitlines()] == [
            ["name", "split", "images", "source"], ["mnist", "sample", "5000", "bundled"],
            ["cifar10", "sample", "20", "bundled"], ["own_v2", "test", "3", "npz"],
            ["mnist-37", "sample", "1000", "bundled"]]


def test_list_goes_on_past_a_damaged_set(tmp_path, capsys):
    (tmp_path / "bad_test.npz").write_bytes(b"")
    np.savez(tmp_path / "own_test.npz", images=np.zeros((3, 28, 28), np.uint8), labels=np.arange(3))
    assert main(["list", "--data-dir", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "unusable" in printed.out and "own" in printed.out and printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["fetch"], ["download"], ["download", "nope"], ["list", "more"],
                                       ["list", "--data-dir"], ["list", "--data-dir", "no/such/folder"]])
def test_shell_refuses_in_one_line(arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    printed = capsys.readouterr()
    assert status == 2 and printed.out == ""
    assert printed.err.count("\n") == 1 and "core.data" in printed.err and "Traceback" not in printed.err


def test_shell_as_a_module_exits_with_its_status():
    done = shell("download", "nope")
    assert done.returncode == 2 and done.stderr == \
        "core.data: nope cannot be downloaded; choose one of: mnist, cifar10.\n"


def test_shell_downloads_with_progress_and_without_torchvisions(tmp_path, mnist, capsys):
    assert main(["download", "mnist", "--data-dir", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"mnist is in {tmp_path / 'new'}\n"
    lines = printed.err.splitlines()
    assert all(line.startswith("mnist [") for line in lines) and "100 %" in lines[-1] and len(lines) > 2
    assert len(load("mnist", "train", tmp_path / "new")) == N


def test_shell_interrupted(tmp_path, mnist, capsys, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_watch", interrupt)
    assert main(["download", "mnist", "--data-dir", str(tmp_path / "data")]) == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert gone(tmp_path / "data", ".download-*")
