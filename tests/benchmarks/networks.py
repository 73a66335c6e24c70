"""How long loading each shipped network takes, and a live training of LeNet-5.

    python -m tests.benchmarks.networks

Loading is from the file to a model that can read images, SHA-256 included; the training is 3 epochs on the bundled digits
on one core with all its reports, as on the Train page. Results stand in the README.
"""
import statistics
import time

import torch

from core.data import SAMPLES, load
from core.models import loading
from core.models.cards import MODELS
from core.training.live import Live, live_recipe

ROUNDS = 9


def milliseconds(name: str) -> list[float]:
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        loading.load(name)
        found.append(1000 * (time.perf_counter() - began))
    return found


def main() -> None:
    loading.load("softmax")  # what the first load of a process imports
    print(f"{'network':20} {'first':>8} {'median':>8} {'longest':>8}  ms")
    for name, card in MODELS.items():
        if card.weights.is_file():
            found = milliseconds(name)
            print(f"{name:20} {found[0]:8.1f} {statistics.median(found):8.1f} {max(found):8.1f}")
    torch.set_num_threads(1)
    for method in ("none", "fgsm", "pgd"):
        live = Live(MODELS["lenet5"], live_recipe("lenet5", method, 3, eps=0.1), load("mnist", "sample", SAMPLES), None, 0.1)
        began = time.perf_counter()
        for _ in live:
            pass
        last = live.reports[-1]
        print(f"lenet5, 3 epochs, {method:4}: {time.perf_counter() - began:5.1f} s, {last.clean:.1%} clean, "
              f"{last.robust:.1%} under PGD-10 at 0.1")


if __name__ == "__main__":
    main()
