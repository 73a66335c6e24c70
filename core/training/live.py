"""Training a small network while somebody watches."""
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import safetensors.torch
import torch

from core.attacks import PGD
from core.data import OFFICIAL, PARTS, DataSet, held_out
from core.evaluation import require_fit
from core.models.cards import ModelCard
from core.models.loading import NOTE, Classifier
from core.training.loop import Progress, train
from core.training.measure import share
from core.training.recipes import RECIPES, Recipe, fgsm, pgd

SMALL = ("lenet5", "tutorial-cnn", "softmax", "logistic37", "maxout", "rbf", "cnn-pgd", "lenet5-2", "lenet5-cifar",
         "convnet3")  # cards whose architecture is quick to train
FEWEST = 200  # images below which nothing can be learnt and measured
LOOKS = 12  # reports of a training at least
BREATH = 2.0  # seconds until a pause or a stop is heard
ROBUST = 150  # test images attacked at each report; the clean ones are up to 1000


@dataclass(frozen=True)
class Report:
    """How a training stands, and what the network can do on images that it is not trained on."""

    progress: Progress
    clean: float
    robust: float


class Live:
    """A network being trained by `recipe` on `train_set` and judged on `test_set`: iterate for its reports.

    Raises UserError when the network cannot read the images.
    """

    def __init__(self, card: ModelCard, recipe: Recipe, train_set: DataSet, test_set: DataSet, eps: float):
        require_fit(card, train_set)
        self.card, self.recipe, self.eps = card, recipe, eps
        self._train_set, self.test_set = train_set, test_set
        self._judge = test_set.batch(slice(0, 1000))
        self._data = {"name": train_set.name, "split": train_set.split, "trained_on": len(train_set)}
        self.model: Classifier | None = None
        self.reports: list[Report] = []

    def __iter__(self) -> Iterator[Report | None]:
        """Its reports; None in between, at least every BREATH seconds.

        Initial weights and dropout are drawn by PyTorch's global generator: it holds this training's own state while
        this training runs, and gets its former one back before anything is handed out.
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
        x, y = self._train_set.tensors()
        self._train_set = None  # as many bytes again as the tensors, which go with this generator
        self.model = Classifier(self.card.build(), self.card.mean, self.card.std)
        if hasattr(self.model.network, "start_from"):
            self.model.network.start_from(x[:1000].float() / 255)
        steps = -(-len(y) // self.recipe.batch_size) * self.recipe.epochs
        for progress in train(self.model, x, y, self.recipe, torch.device("cpu"), every=max(1, steps // LOOKS),
                              breath=BREATH):
            if progress:
                self.reports.append(Report(progress, *self._look()))
            yield self.reports[-1] if progress else None

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
        last, n = self.reports[-1], len(self._judge[1])
        attacked = min(n, ROBUST)
        return {
            "architecture": self.card.name, "mean": list(self.card.mean), "std": list(self.card.std),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "data": self._data,
            "recipe": asdict(self.recipe), "steps": last.progress.step, "of_steps": last.progress.steps,
            "seconds": round(last.progress.seconds, 1), "trained": time.strftime("%Y-%m-%d"),
            "accuracy": {"split": self.test_set.split, **share(round(last.clean * n), n)},
            "robust": [{"attack": "pgd", "norm": "linf", "eps": self.eps, "settings": {"steps": 10},
                        "split": self.test_set.split, **share(round(last.robust * attacked), attacked)}],
        }

    def content(self) -> bytes:
        """Weights as safetensors with the card inside, so that loading needs no questions."""
        tensors = {key: value.detach().cpu().contiguous() for key, value in self.model.network.state_dict().items()}
        return safetensors.torch.save(tensors, {NOTE: json.dumps(self.facts())})


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


def split(dataset: DataSet, test: DataSet | None) -> tuple[DataSet, DataSet]:
    """What to train on and what to judge by: the training set without the bundled images and the test set, or, of a
    set that stands alone, all but the first fifth of each class, and that fifth. (Other pages go through a set from its
    beginning: of the bundled ones, whose classes take turns, they show what the network has not seen.)"""
    if test is not None:
        official = PARTS.get(dataset.name, (dataset.name,))[0] in OFFICIAL
        return dataset.at(~held_out(dataset.name, dataset.images) if official else slice(None)), test
    first = first_fifths(dataset.labels)
    return dataset.at(~first), dataset.at(first)


def first_fifths(labels: np.ndarray) -> np.ndarray:
    """bool [N]: which images are in the first fifth of their class, rounded up."""
    first = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        first[places[:-(-len(places) // 5)]] = True
    return first
