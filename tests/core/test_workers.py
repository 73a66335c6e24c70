"""Batches side by side: in order, each with one torch thread, nobody else's threads touched, closed when dropped."""
import threading
import time

import pytest
import torch

from core.errors import UserError
from core.workers import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def threads(request):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


def test_results_come_in_order_and_other_threads_keep_theirs(threads):
    def work(item):
        time.sleep(0.02 if item == 0 else 0)
        return item, torch.get_num_threads()

    assert list(side_by_side(work, range(8), CPU)) == [(item, 1) for item in range(8)]
    seen = []
    fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert seen == [threads] and torch.get_num_threads() == threads


def test_a_closed_iterator_drops_what_was_not_begun(threads):
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.01)

    results = side_by_side(work, range(100), CPU)
    next(results)
    results.close()
    assert len(begun) < 20


def test_an_error_reaches_the_caller(threads):
    def work(item):
        raise UserError("model.unknown", name="x", available="y")

    with pytest.raises(UserError):
        list(side_by_side(work, range(3), CPU))
