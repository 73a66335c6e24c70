"""What a card says a network can do: clean accuracy, and accuracy under FGSM, PGD-20 and the strong evaluation."""
from collections.abc import Iterator
import torch
from torch import nn

from core.attacks import ATTACKS
from core.data import DataSet
from core.evaluation import accuracy_curve
from core.models.cards import ModelCard
from core.settings import values_of
from core.statistics import wilson

SIZES = {"fgsm": None, "pgd": None, "strong": 500}  # images; None: the whole test set
RESTARTS = 3


def threat(card: ModelCard) -> tuple[float, ...]:
    """The L-inf radii at which a network is measured: the reports' for digits, 8/255 for photos."""
    return (0.1, 0.25, 0.3) if card.dataset == "mnist" else (2 / 255, 8 / 255)


def attack_of(name: str):
    """The attack of a card's line, at settings that every card shares."""
    return ATTACKS[name](**({"steps": 20, "restarts": RESTARTS} if name == "pgd" else {}))


def clean(model: nn.Module, dataset: DataSet, device: torch.device, batch_size: int = 500) -> dict:
    """Clean accuracy in float32: split, correct, n, share and 95 % Wilson interval."""
    correct = 0
    for start in range(0, len(dataset), batch_size):
        x, y = dataset.batch(slice(start, start + batch_size))
        with torch.no_grad():
            correct += (model(x.to(device)).argmax(1).cpu() == y).sum().item()
    return {"split": dataset.split, **share(correct, len(dataset))}


def robust(model: nn.Module, card: ModelCard, dataset: DataSet) -> Iterator[dict]:
    """A line for each attack and radius: how it was measured, correct, n, share, interval. Seed 0."""
    for name, size in SIZES.items():
        attack = attack_of(name)
        limit = None if size is None else min(size, len(dataset))
        for points in accuracy_curve(model, attack, dataset, threat(card), limit=limit):
            pass
        settings = {key: value for key, value in values_of(attack).items() if key != "eps"}
        for point in points:
            yield {"attack": name, "norm": attack.norm, "eps": point.epsilon, "settings": settings, "seed": 0,
                   "split": dataset.split, **share(point.correct, point.total)}


def share(correct: int, n: int) -> dict:
    """How a card states a share: correct, n, accuracy and its 95 % Wilson interval."""
    low, high = wilson(correct, n)
    return {"correct": correct, "n": n, "accuracy": correct / n, "low": low, "high": high}
