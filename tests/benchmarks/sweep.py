"""How long the tutorial's FGSM sweep takes here and in the reference libraries: run by hand, no test.

    python -m tests.benchmarks.sweep --data-dir D [--checkpoint F]

Seven epsilons, 10,000 test digits, one network, one device, as many threads as torch takes by itself. Each library
is called in the way it is meant to be fast: batches, eval mode, all data in tensors (arrays for ART) beforehand, and
the best of a few batch sizes; once with the network as the tutorial writes and loads it, and once with ours (frozen,
channels_last, oneDNN's layout between convolution and pooling), which nothing in the libraries does. The counts must
be equal: an image counts as right when it is right both clean and attacked.
"""
import argparse
import os
import platform
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from core.attacks import FGSM
from core.data import data_directory, load
from core.device import best_device, device_name
from core.evaluation import accuracy_curve
from core.models import loading
from core.models.tutorial_cnn import TutorialCNN
from core.vision import torchvision

EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
BATCH_SIZES = (250, 500)
RUNS = 3


class AsInTheTutorial(TutorialCNN):
    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(F.dropout(x, training=self.training))


def ours(model, dataset):
    def sweep():
        points = []
        for points in accuracy_curve(model, FGSM(), dataset, EPSILONS):
            pass
        return [point.correct for point in points]
    return sweep


def by_batch(x, y, size, judge):
    """Counts at each epsilon from `judge(x, y)` -> bool [E, n], summed over batches."""
    counts = torch.zeros(len(EPSILONS), dtype=torch.int64, device=x.device)
    for start in range(0, len(x), size):
        counts += judge(x[start:start + size], y[start:start + size]).sum(dim=1)
    return counts.tolist()


def foolbox(model, x, y, size):
    import foolbox

    wrapped, attack = foolbox.PyTorchModel(model, bounds=(0, 1)), foolbox.attacks.LinfFastGradientAttack()

    def judge(x, y):
        _, _, success = attack(wrapped, x, y, epsilons=EPSILONS)  # success at eps 0: wrong clean
        return ~success & ~success[0]
    return lambda: by_batch(x, y, size, judge)


def torchattacks(model, x, y, size):
    import torchattacks

    attacks = [torchattacks.FGSM(model, eps=eps) for eps in EPSILONS[1:]]

    def judge(x, y):
        images = [x, *(attack(x, y) for attack in attacks)]
        with torch.no_grad():
            right = torch.stack([model(each).argmax(dim=1) == y for each in images])
        return right & right[0]
    return lambda: by_batch(x, y, size, judge)


def art(model, x, y, size):
    import numpy as np
    from art.attacks.evasion import FastGradientMethod
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(model, loss=torch.nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]),
                                   nb_classes=10, clip_values=(0.0, 1.0),
                                   device_type="gpu" if x.device.type == "cuda" else "cpu")
    attacks = [FastGradientMethod(classifier, eps=eps, batch_size=size) for eps in EPSILONS[1:]]
    x, y = x.cpu().numpy(), y.cpu().numpy()

    def sweep():  # ART makes its own batches
        right = np.stack([classifier.predict(images, batch_size=size).argmax(axis=1) == y
                          for images in (x, *(attack.generate(x, y) for attack in attacks))])
        return (right & right[0]).sum(axis=1).tolist()
    return sweep


def timed(sweep):
    start = time.perf_counter()
    counts = sweep()
    return time.perf_counter() - start, counts


def best(candidates):
    """(seconds, counts, batch size): each candidate once to warm up and to choose, the fastest then RUNS times."""
    first = {size: timed(sweep)[0] for size, sweep in candidates.items()}
    size = min(first, key=first.get)
    return (*min(timed(candidates[size]) for _ in range(RUNS)), size)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.is_file() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="where MNIST is, in torchvision's layout")
    parser.add_argument("--checkpoint", help="weights for tutorial-cnn; the bundled ones by default")
    arguments = parser.parse_args()
    torchvision()  # before the libraries import it
    dataset = load("mnist", "test", data_directory(arguments.data_dir))
    device = best_device()
    model = loading.load("tutorial-cnn", device, arguments.checkpoint)
    x, y = (part.to(device) for part in dataset.batch(slice(None)))

    rows = {"Epsilon Lab": best({None: ours(model, dataset)})}
    plain = AsInTheTutorial().to(device).eval()
    plain.load_state_dict(model.network.state_dict())
    for how, network in (("", plain), (", our network", model)):
        for name, library in (("foolbox", foolbox), ("ART", art), ("torchattacks", torchattacks)):
            rows[name + how] = best({size: library(network, x, y, size) for size in BATCH_SIZES})
    own_seconds, own_counts, _ = rows["Epsilon Lab"]
    print(f"\nFGSM at {len(EPSILONS)} epsilons on {len(dataset)} digits, tutorial-cnn "
          f"({arguments.checkpoint and Path(arguments.checkpoint).name or 'bundled weights'}), best of {RUNS}\n")
    print("| | batch | seconds | times Epsilon Lab's | right at each epsilon |")
    print("|---|---:|---:|---:|---|")
    for name, (seconds, counts, size) in rows.items():
        same = "" if counts == own_counts else " (differ!)"
        print(f"| {name} | {size or 'own'} | {seconds:.2f} | {seconds / own_seconds:.2f} | "
              f"{', '.join(map(str, counts))}{same} |")
    where = "" if device.type == "cpu" else f"{device_name(device)}; "
    print(f"\n{where}{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
          f"Python {platform.python_version()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
