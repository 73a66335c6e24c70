"""PGD-40 over six epsilons, Carlini-Wagner and the strong evaluation beside the reference libraries: by hand, no test.

    python -m tests.benchmarks.attacks pgd --data-dir D [--checkpoint F]
    python -m tests.benchmarks.attacks cw --data-dir D [--checkpoint F]
    python -m tests.benchmarks.attacks strong --data-dir D

pgd: L-inf, 40 steps of eps / 12 without a random start, 1,000 test digits, six epsilons; how many stay right. The
libraries get the network as the tutorial writes and loads it, at the better of two batch sizes.
cw: the first 100 test digits; foolbox with nine values of c and up to 1,000 steps each, torchattacks with c = 1, its
default, and 1,000 steps (it has no search). ART's takes many minutes for the same and is left out.
strong: how many of the first test images each shipped network keeps right under APGD-CE (50 steps), APGD-T (50 steps, nine
targets) and Square (500 queries), one after the other on what is left: ours and torchattacks' ports of the official code.
"""
import argparse
import os
import time
from pathlib import Path

import torch

from core.attacks import PGD, CarliniWagner, Strong, StrongL2
from core.data import data_directory, load
from core.device import best_device
from core.evaluation import accuracy_curve
from core.models import loading
from core.vision import torchvision
from tests.benchmarks.sweep import AsInTheTutorial, processor

EPSILONS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
STEPS = 40


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def batches(x, y, size, attack, right):
    return sum(int(right(attack(x[k:k + size], y[k:k + size]), y[k:k + size])) for k in range(0, len(x), size))


def pgd_rows(ours, plain, dataset, x, y):
    def own():
        attack = PGD(steps=STEPS, step_size=1 / 12, random_start=False)
        for points in accuracy_curve(ours, attack, dataset, EPSILONS, limit=len(x)):
            pass
        return [point.correct for point in points]

    def right(images, labels):
        with torch.no_grad():
            return (plain(torch.as_tensor(images)).argmax(dim=1) == labels).sum()

    def foolbox(size):
        import foolbox as fb
        model = fb.PyTorchModel(plain, bounds=(0, 1))
        attack = fb.attacks.LinfProjectedGradientDescentAttack(rel_stepsize=1 / 12, steps=STEPS, random_start=False)
        return [batches(x, y, size, lambda a, b, e=eps: attack(model, a, b, epsilons=e)[1], right) for eps in EPSILONS]

    def torchattacks(size):
        import torchattacks as ta
        attacks = [ta.PGD(plain, eps=eps, alpha=eps / 12, steps=STEPS, random_start=False) for eps in EPSILONS]
        return [batches(x, y, size, attack, right) for attack in attacks]

    def art(size):
        from art.attacks.evasion import ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier
        classifier = PyTorchClassifier(plain, loss=torch.nn.CrossEntropyLoss(), input_shape=(1, 28, 28), nb_classes=10,
                                       clip_values=(0.0, 1.0), device_type="cpu")
        found = []
        for eps in EPSILONS:
            attack = ProjectedGradientDescent(classifier, eps=eps, eps_step=eps / 12, max_iter=STEPS, num_random_init=0,
                                              batch_size=size, verbose=False)
            found.append(int(right(attack.generate(x.numpy(), y.numpy()), y)))
        return found

    rows = {"Epsilon Lab": min(timed(own) for _ in range(2))}
    for name, library in (("foolbox", foolbox), ("ART", art), ("torchattacks", torchattacks)):
        rows[name] = min(timed(lambda s=size, f=library: f(s)) for size in (250, 500))
    return rows


def cw_rows(ours, plain, x, y):
    def judged(images):
        images = torch.as_tensor(images)
        with torch.no_grad():
            success = plain(images).argmax(dim=1) != y
        distance = (images - x).flatten(1).norm(dim=1)
        return f"{int(success.sum())} %, mean L2 {distance[success].mean():.3f}"

    def foolbox():
        import foolbox as fb
        attack = fb.attacks.L2CarliniWagnerAttack(binary_search_steps=9, steps=1000)
        return judged(attack(fb.PyTorchModel(plain, bounds=(0, 1)), x, y, epsilons=None)[1])

    def torchattacks():
        import torchattacks as ta
        return judged(ta.CW(plain, c=1, steps=1000)(x, y))

    rows = {"Epsilon Lab": min(timed(lambda: judged(CarliniWagner()(ours, x, y).adversarial)) for _ in range(2))}
    for name, library in (("foolbox", foolbox), ("torchattacks, c = 1", torchattacks)):
        rows[name] = timed(library)
        print(name, rows[name], flush=True)
    return rows


STRONG = (("tutorial-cnn", "mnist", 400), ("lenet5", "mnist", 400), ("convnet3", "cifar10", 200),
          ("resnet20", "cifar10", 200))  # the epsilons below leave some images right and some not
RADII = {"mnist": {"Linf": 0.1, "L2": 1.2}, "cifar10": {"Linf": 1 / 255, "L2": 0.15}}


def strong_rows(data_dir, only):
    import torchattacks as ta

    print("| network | norm, epsilon | n | Epsilon Lab: right, seconds | torchattacks: right, seconds |\n|---|---|---|---|---|")
    for name, data, count in STRONG:
        dataset, model = load(data, "test", data_directory(data_dir)), loading.load(name, best_device())
        x, y = dataset.batch(slice(0, count))
        x = x.contiguous()
        for norm, eps in RADII[data].items():
            if only not in f"{name} {norm}":
                continue
            def own(kind=Strong if norm == "Linf" else StrongL2, eps=eps):
                for points in accuracy_curve(model, kind(steps=50, queries=500), dataset, (eps,), limit=count):
                    pass
                return points[0].correct

            def theirs(norm=norm, eps=eps):
                torch.manual_seed(0)
                with torch.no_grad():
                    left = (model(x).argmax(dim=1) == y).nonzero()[:, 0]
                for attack in (ta.APGD(model, norm=norm, eps=eps, steps=50),
                               ta.APGDT(model, norm=norm, eps=eps, steps=50, n_classes=10),
                               ta.Square(model, norm=norm, eps=eps, n_queries=500)):
                    if len(left):
                        images = attack(x[left], y[left])
                        with torch.no_grad():
                            left = left[model(images).argmax(dim=1) == y[left]]
                return len(left)

            (ours, right), (other, reference) = timed(own), timed(theirs)
            print(f"| {name} | {norm}, {eps:.4g} | {count} | {right}, {ours:.0f} s | {reference}, {other:.0f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.attacks", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pgd", "cw", "strong"))
    parser.add_argument("--data-dir", required=True, help="where MNIST is, in torchvision's layout")
    parser.add_argument("--checkpoint", help="weights for tutorial-cnn; the bundled ones by default")
    parser.add_argument("--only", default="", help="strong: only rows that contain this, as 'convnet3 L2'")
    arguments = parser.parse_args()
    torchvision()  # before the libraries import it
    if arguments.what == "strong":
        strong_rows(arguments.data_dir, arguments.only)
        return
    dataset = load("mnist", "test", data_directory(arguments.data_dir))
    ours = loading.load("tutorial-cnn", best_device(), arguments.checkpoint)
    plain = AsInTheTutorial().eval()
    plain.load_state_dict(ours.network.state_dict())
    x, y = dataset.batch(slice(0, 1000 if arguments.what == "pgd" else 100))
    x = x.contiguous()
    rows = pgd_rows(ours, plain, dataset, x, y) if arguments.what == "pgd" else cw_rows(ours, plain, x, y)
    own = rows["Epsilon Lab"][0]
    print(f"\n{arguments.checkpoint and Path(arguments.checkpoint).name or 'bundled weights'}, {len(x)} digits\n")
    print("| | seconds | times Epsilon Lab's | result |\n|---|---:|---:|---|")
    for name, (seconds, result) in rows.items():
        shown = ", ".join(map(str, result)) if isinstance(result, list) else result
        print(f"| {name} | {seconds:.1f} | {seconds / own:.1f} | {shown} |")
    print(f"\n{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
