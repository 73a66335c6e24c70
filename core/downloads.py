"""Official data sets through torchvision, which checks their MD5 sums, and the shell behind `python -m core.data`."""
import argparse
import contextlib
import errno
import http.client
import io
import os
import shutil
import ssl
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from core.data import OFFICIAL, available, data_directory, load
from core.errors import UserError
from core.vision import torchvision

POLL_SECONDS = 0.2
STALL_SECONDS = 60  # torchvision sets no timeout; a download that brings nothing for so long has lost its server
FULL = (errno.ENOSPC, errno.EDQUOT)
NETWORK = (URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError)
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET)
DAMAGED = (ValueError, AssertionError, EOFError, tarfile.TarError, zlib.error)


@dataclass(frozen=True)
class Archive:
    """What travels for one data set: which files (below the download folder), and how many bytes."""

    pattern: str
    size: int
    unpacked: int
    splits: tuple[str, ...]  # reading these checks every file


ARCHIVES = {
    "mnist": Archive("MNIST/raw/*.gz", 11_594_722, 54_950_048, ("train", "test")),
    "cifar10": Archive("*.tar.gz", 170_498_071, 186_300_000, ("test",)),  # torchvision checks all batches each time
}


def download(name: str, directory: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Get an official data set into `directory` (made if need be), in torchvision's layout; one that is there and
    intact is left alone.

    `on_progress(done, total)` is called about every 0.2 s, in bytes. The files arrive in a folder `.download-*` and
    move into place together at the end, so what was there before stays whatever happens; other files of its folder
    are kept. Raises UserError for an unknown name, no network, damaged files, no room and an unwritable directory.
    """
    if name not in ARCHIVES:
        raise UserError("data.no_download", name=name, available=", ".join(ARCHIVES))
    archive = ARCHIVES[name]
    report = on_progress or (lambda done, total: None)
    if not _is_intact(name, directory):
        with _explaining(name, directory):
            scratch = _scratch(archive, directory)
        _fetch_and_place(name, directory, scratch, report)
    report(archive.size, archive.size)


def _is_intact(name: str, directory: Path) -> bool:
    if not (directory / OFFICIAL[name][1]).is_dir():
        return False
    try:
        for split in ARCHIVES[name].splits:
            load(name, split, directory)
    except UserError:
        return False
    return True


def _scratch(archive: Archive, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(directory).free < archive.size + archive.unpacked:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return Path(tempfile.mkdtemp(prefix=".download-", dir=directory))


def _fetch_and_place(name: str, directory: Path, scratch: Path, report: Callable[[int, int], None]) -> None:
    kind, folder = OFFICIAL[name]
    dataset = getattr(torchvision().datasets, kind)
    errors, abandoned = [], threading.Event()

    def fetch():
        try:
            dataset(str(scratch), train=False, download=True)
        except Exception as error:
            errors.append(error)
        finally:
            if abandoned.is_set():  # a thread cannot be stopped: whoever leaves last tidies up
                shutil.rmtree(scratch, ignore_errors=True)

    try:
        worker = threading.Thread(target=fetch, name=f"download {name}", daemon=True)
        worker.start()
        _watch(worker, name, scratch, report)
        with _explaining(name, directory):
            if errors:
                raise errors[0]
            _place(scratch / folder, directory / folder, scratch / "replaced")
    finally:
        abandoned.set()
        shutil.rmtree(scratch, ignore_errors=True)


def _watch(worker: threading.Thread, name: str, scratch: Path, report: Callable[[int, int], None]) -> None:
    """Report until the worker ends. Raises UserError when nothing arrives any more."""
    archive, done, everything, since = ARCHIVES[name], 0, -1, time.monotonic()
    while worker.is_alive():
        worker.join(POLL_SECONDS)
        # torchvision starts a file again from its next mirror: never report less than before
        done = max(done, min(_size(scratch, archive.pattern), archive.size))
        report(done, archive.size)
        before, everything = everything, _size(scratch, "**/*")
        if everything != before:
            since = time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            raise UserError("data.no_network", name=name)


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def _place(new: Path, target: Path, aside: Path) -> None:
    """Move folder `new` to `target` in one step; what was there goes to `aside`, and back if that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if os.path.lexists(target):
            target.rename(aside)
        new.rename(target)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(target):
            aside.rename(target)
        raise
    if aside.is_dir() and not aside.is_symlink():
        for path in aside.iterdir():  # a person's own files beside the official ones
            if not (target / path.name).exists():
                path.rename(target / path.name)


@contextlib.contextmanager
def _explaining(name: str, directory: Path):
    """Turn what a download can fail of into a UserError; anything else is a bug and stays as it is."""
    try:
        yield
    except (OSError, RuntimeError, http.client.HTTPException, *DAMAGED) as error:
        raise _explained(error, name, directory) from error


def _explained(error: Exception, name: str, directory: Path) -> UserError:
    """The sentence for what went wrong between a server, the disk and torchvision."""
    link: BaseException | None = error
    while link is not None:  # torchvision retries after a failed write, so a full disk may hide behind another error
        if getattr(link, "errno", None) in FULL:
            needed = ARCHIVES[name].size + ARCHIVES[name].unpacked
            return UserError("data.no_room", name=name, megabytes=round(needed / 1e6))
        link = link.__cause__ or link.__context__
    if isinstance(error, RuntimeError):  # torchvision names both causes in its text only
        return UserError("data.corrupt" if "corrupted" in str(error) else "data.no_network", name=name)
    if isinstance(error, NETWORK) or getattr(error, "errno", None) in UNREACHABLE:
        return UserError("data.no_network", name=name)
    return UserError("data.corrupt", name=name) if isinstance(error, DAMAGED) else \
        UserError("data.unwritable", path=directory)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: list[str] | None = None) -> int:
    """`python -m core.data download NAME` and `list`: the exit status, 2 for anything a person can put right."""
    parser = _Parser(prog="python -m core.data", description="The data sets that are here, and downloading more.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, about in (("download", "get an official data set"), ("list", "show the data sets that are here")):
        sub = commands.add_parser(command, help=about, description=about)
        sub.add_argument("--data-dir", help="the data directory (default: EPSILON_LAB_DATA, or data/)")
        if command == "download":
            sub.add_argument("name", metavar="NAME", help=" or ".join(ARCHIVES))
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "list":
            return _list(data_directory(arguments.data_dir))
        given = arguments.data_dir  # need not exist yet
        return _download(arguments.name, Path(given).expanduser() if given else data_directory())
    except UserError as error:
        print(f"core.data: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("core.data: stopped; nothing was changed", file=sys.stderr)
        return 130


def _list(directory: Path) -> int:
    status = 0
    print(f"{'name':<16} {'split':<8} {'images':>8}  source")
    for entry in available(directory):
        try:
            images = str(len(load(entry.name, entry.split, directory)))
        except UserError as error:
            print(f"core.data: {error}", file=sys.stderr)
            images, status = "unusable", 2
        print(f"{entry.name:<16} {entry.split:<8} {images:>8}  {entry.source}")
    return status


def _download(name: str, directory: Path) -> int:
    screen, shown = sys.stderr, -1
    end, step = ("\r", 1) if screen.isatty() else ("\n", 10)  # a log gets one line for every 10 %

    def show(done: int, total: int):
        nonlocal shown
        percent = done * 100 // total // step * step
        if percent > shown:
            shown = percent
            print(f"{name} [{'#' * (percent // 4):<25}] {percent:3d} %  {done / 1e6:.1f} of {total / 1e6:.1f} MB",
                  end=end, file=screen, flush=True)

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # torchvision's own bars; a shell has no other thread to hush
            download(name, directory, show)
    finally:
        if end == "\r" and shown >= 0:
            print(file=screen)
    print(f"{name} is in {directory}")
    return 0
