"""Batches of images side by side on a CPU."""
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")
_starting = threading.Lock()


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], device: torch.device) -> Iterator[Result]:
    """work(item) for each item, in order, as many at once as torch has threads.

    On small networks a batch for each core beats all cores in one batch, which wait for each other after every
    operation. On a GPU, one after the other. Work that was not begun is dropped when the iterator is closed.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, initializer=compute_alone)
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def compute_alone() -> None:
    """One torch thread for this Python thread, and for it alone.

    `torch.set_num_threads` also sets what threads start with that torch has not seen yet; another thread sets that
    back, since here it would undo the first call.
    """
    with _starting:
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = threading.Thread(target=torch.set_num_threads, args=(usual,))
        restoring.start()
        restoring.join()
