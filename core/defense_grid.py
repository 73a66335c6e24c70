"""Defenses over eps, against an attacker who does not know it; and an image that it mends."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.attacks import Attack
from core.data import DataSet
from core.defenses import Defense
from core.evaluation import BATCH
from core.workers import side_by_side


@dataclass(frozen=True)
class Grid:
    """Counts of `total` images, at E eps (from 0) and behind V defenses."""

    epsilons: tuple[float, ...]
    total: int
    bare: np.ndarray  # [E] right without the defense
    correct: np.ndarray  # [V, E] right behind the defense; an image must be right there unattacked, too
    fooled: np.ndarray  # [E] right at eps = 0 and wrong at eps, without the defense
    recovered: np.ndarray  # [V, E] of these, right behind the defense
    spoiled: np.ndarray  # [V] right without the defense and wrong behind it, at eps = 0


def defense_grid(model: nn.Module, attack: Attack, defenses: Sequence[Defense], dataset: DataSet,
                 epsilons: Sequence[float], *, limit: int | None = None, seed: int = 0) -> Iterator[Grid]:
    """The first `limit` images, attacked once on the bare network at each of `epsilons` (the first is 0), then behind
    each of `defenses`: one defense with its slider at several places, say. Yields the counts so far after each batch."""
    device = next(model.parameters()).device
    total = len(dataset) if limit is None else min(limit, len(dataset))

    def count(start: int) -> tuple[np.ndarray, ...]:
        x, y = (part.to(device) for part in dataset.batch(slice(start, min(start + BATCH, total))))
        attacked = attack.path(model, x, y, epsilons, seed=seed + start)
        bare = torch.stack([_right(model, images, y) for images in attacked])  # [E, n]
        bare &= bare[0].clone()
        behind = torch.stack([torch.stack([_right(one.defend(model), images, y) for images in attacked])
                              for one in defenses])  # [V, E, n]
        fooled = bare[0] & ~bare
        spoiled = (bare[0] & ~behind[:, 0]).sum(dim=1)
        kept = behind & behind[:, :1]
        return tuple(part.cpu().numpy() for part in (
            bare.sum(dim=1), kept.sum(dim=2), fooled.sum(dim=1), (behind & fooled).sum(dim=2), spoiled))

    so_far, done = None, 0
    for found in side_by_side(count, range(0, total, BATCH), device):
        so_far = found if so_far is None else tuple(a + b for a, b in zip(so_far, found))
        done = min(done + BATCH, total)
        yield Grid(tuple(epsilons), done, *so_far)


@dataclass(frozen=True)
class Mended:
    """An image that an attack fools and a defense mends: its index, the classes (with confidence in [0, 1]), and the
    image clean, attacked and defended, [3, C, H, W] on the CPU."""

    index: int
    label: int
    read_as: int
    sure_fooled: float
    sure_mended: float
    images: Tensor


def mended_example(model: nn.Module, attack: Attack, defense: Defense, dataset: DataSet, *, limit: int = 1000,
                   seed: int = 0) -> Mended | None:
    """Of the first `limit` images, the one where attack and defense are both surest: right, fooled at the attack's
    eps, right again behind the defense; None where there is none."""
    device = next(model.parameters()).device
    total = min(limit, len(dataset))

    def best(start: int) -> tuple[float, Mended] | None:
        x, y = (part.to(device) for part in dataset.batch(slice(start, min(start + BATCH, total))))
        attacked = attack(model, x, y, seed=seed + start).adversarial
        with torch.no_grad():
            clean, fooled, after = (network(images).softmax(dim=1) for network, images in (
                (model, x), (model, attacked), (defense.defend(model), attacked)))
        told = (clean.argmax(1) == y) & (fooled.argmax(1) != y) & (after.argmax(1) == y)
        true = after.gather(1, y[:, None])[:, 0]
        score = torch.where(told, fooled.amax(dim=1) * true, -1.0)
        k = int(score.argmax())
        if score[k] <= 0:
            return None
        images = torch.cat([x[k:k + 1], attacked[k:k + 1], defense(attacked[k:k + 1])]).cpu()
        return float(score[k]), Mended(start + k, int(y[k]), int(fooled[k].argmax()), float(fooled[k].max()),
                                       float(true[k]), images)

    found = [each for each in side_by_side(best, range(0, total, BATCH), device) if each]
    return max(found, key=lambda each: each[0])[1] if found else None


def _right(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x).argmax(dim=1) == y
