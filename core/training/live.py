"""Training a small network while somebody watches."""
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import safetensors.torch
import torch

from core.attacks import PGD
from core.data import OFFICIAL, DataSet, held_out, in_turns, rank_in_class, whole_of
from core.evaluation import require_fit
from core.models.cards import ModelCard
from core.models.loading import NOTE, Classifier, layers
from core.training.loop import Progress, train
from core.training.measure import share
from core.training.recipes import RECIPES, Recipe, fgsm, pgd

SMALL = ("lenet5", "tutorial-cnn", "softmax", "logistic37", "maxout", "rbf", "cnn-pgd", "lenet5-2", "lenet5-cifar",
         "convnet3")  # cards whose architecture is quick to train
FEWEST = 200  # images below which nothing can be learnt and measured
LOOKS = 12  # reports of a training at least
BREATH = 2.0  # seconds until a pause or a stop is heard
JUDGED, ROBUST = 1000, 150  # held-out images looked at in each report, clean and attacked, at most


@dataclass(frozen=True)
class Report:
    """How a training stands, and what the network can do on images that it is not trained on."""

    progress: Progress
    clean: float
    robust: float


class Live:
    """A network being trained by `recipe` on `train_set` and judged on `test_set`: iterate for its reports.

    Raises UserError when the network cannot read the images. It trains on the CPU, where
    the queue gives it one core.
    """

    def __init__(self, card: ModelCard, recipe: Recipe, dataset: DataSet, test: DataSet | None, eps: float):
        require_fit(card, dataset)
        self.card, self.recipe, self.eps, self.dataset = card, recipe, eps, dataset
        self._keep, judging = split(dataset, test)  # which images only: many trainings may wait in line
        self._judge_split = judging.split
        self._judge = judging.batch(in_turns(judging.labels)[:JUDGED])
        self.model: Classifier | None = None
        self.reports: list[Report] = []
        self._progress: Progress | None = None

    @property
    def started(self) -> bool:
        """Whether it has learnt from a batch at least."""
        return self._progress is not None

    def __iter__(self) -> Iterator[Report | None]:
        """Its reports; None in between, at least every BREATH seconds.

        Initial weights and dropout are drawn by PyTorch's global generator: it holds this training's own state while
        this training runs, and gets its former one back before anything is handed out. (Nothing else in the lab draws
        from it: attacks have generators of their own, and networks are loaded without being initialised.)
        """
        steps, own = self._train(), torch.Generator().manual_seed(self.recipe.seed).get_state()
        while True:
            others = torch.get_rng_state()
            torch.set_rng_state(own)
            try:
                report = next(steps)
            except StopIteration:
                return
            finally:
                own = torch.get_rng_state()
                torch.set_rng_state(others)
            yield report

    def _train(self) -> Iterator[Report | None]:
        x, y = self.dataset.at(self._keep).tensors()
        self.model = Classifier(self.card.build(), self.card.mean, self.card.std)
        if hasattr(self.model.network, "start_from"):
            self.model.network.start_from(x[:1000].float() / 255)
        steps = -(-len(y) // self.recipe.batch_size) * self.recipe.epochs
        for progress in train(self.model, x, y, self.recipe, torch.device("cpu"), every=max(1, steps // LOOKS),
                              breath=BREATH):
            self._progress = progress
            yield self.now() if progress.due else None

    def now(self) -> Report:
        """How it stands after the last step, looked at once. While its training runs, only for itself."""
        if not self.reports or self.reports[-1].progress.step < self._progress.step:
            self.reports.append(Report(self._progress, *self._look()))
        return self.reports[-1]

    def _look(self) -> tuple[float, float]:
        """Clean accuracy, and accuracy under PGD-10 at eps."""
        x, y = self._judge
        self.model.eval()
        with torch.no_grad():
            right = (self.model(x).argmax(dim=1) == y).float().mean().item()
        attack = PGD(eps=self.eps, steps=10)
        fooled = attack(self.model, x[:ROBUST], y[:ROBUST], early=True).success.float().mean().item()
        self.model.train()
        return right, 1 - fooled

    def facts(self) -> dict:
        """The card of the network as it is now: only while its training does not run."""
        last, n = self.now(), len(self._judge[1])
        attacked = min(n, ROBUST)
        return {
            "architecture": self.card.name, "mean": list(self.card.mean), "std": list(self.card.std),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "data": {"name": self.dataset.name, "split": self.dataset.split, "trained_on": int(self._keep.sum())},
            "recipe": asdict(self.recipe), "steps": last.progress.step, "of_steps": last.progress.steps,
            "seconds": round(last.progress.seconds, 1), "trained": time.strftime("%Y-%m-%d"),
            "accuracy": {"split": self._judge_split, **share(round(last.clean * n), n)},
            "robust": [{"attack": "pgd", "norm": "linf", "eps": self.eps, "settings": {"steps": 10},
                        "split": self._judge_split, **share(round(last.robust * attacked), attacked)}],
        }

    def content(self) -> bytes:
        """Weights as safetensors with the card inside, so that loading needs no questions."""
        return safetensors.torch.save(self._weights(), {NOTE: json.dumps(self.facts())})

    def digest(self) -> str:
        """SHA-256 of the weights alone: of the same training once more it is the same, however long that took."""
        return hashlib.sha256(safetensors.torch.save(self._weights())).hexdigest()

    def _weights(self) -> dict[str, torch.Tensor]:
        return {key: value.detach().cpu().contiguous() for key, value in self.model.network.state_dict().items()}


def methods(card: ModelCard) -> tuple[str, ...]:
    """The methods of `live_recipe` that its network can be trained with."""
    network = layers(card)
    penalty = () if hasattr(network, "centres") else ("l1",)  # an RBF network has no weights on pixels
    return "none", "fgsm", "pgd", *penalty, *(("worst-case",) if hasattr(network, "class_weights") else ())


def live_recipe(name: str, method: str, epochs: int, *, eps: float, alpha: float = 0.0, steps: int = 7,
                strength: float = 0.003, seed: int = 0) -> Recipe:
    """A recipe for the architecture of the card `name`: method "none", "fgsm", "pgd", "l1" or "worst-case"."""
    base = RECIPES[name]
    plain = Recipe(epochs, 64, base.learning_rate, base.weight_decay, clip=base.clip or 5.0, max_norm=base.max_norm,
                   seed=seed)
    if method == "fgsm":
        return fgsm(plain, eps, alpha=alpha, ramp=0.3)
    if method == "pgd":
        return pgd(plain, eps, steps, alpha=alpha, ramp=0.3)
    return replace(plain, method=method, eps=eps if method == "worst-case" else 0.0,
                   strength=strength if method == "l1" else 0.0)


def split(dataset: DataSet, test: DataSet | None) -> tuple[np.ndarray, DataSet]:
    """Which images to train on, bool [N], and the set to judge by: that is the test set or, of a set that stands alone,
    the first fifth of each class. Bundled images are not trained on where they are found in the full set. (Other pages go
    through a set from its beginning: of the bundled ones, whose classes take turns, they show what the network has not
    seen.)"""
    official = whole_of(dataset.name) in OFFICIAL and dataset.split != "sample"
    keep = ~held_out(dataset.name, dataset.images) if official else np.ones(len(dataset), bool)
    if test is not None:
        return keep, test
    first = first_fifths(dataset.labels)
    return keep & ~first, dataset.at(first)


def first_fifths(labels: np.ndarray) -> np.ndarray:
    """bool [N]: which images are in the first fifth of their class, rounded up."""
    return rank_in_class(labels) < -(-np.bincount(labels) // 5)[labels]
