"""Signs that a robust accuracy is not to be believed: alarms after Carlini et al. 2019, "On evaluating adversarial
robustness" (https://arxiv.org/abs/1902.06705), and Athalye et al. 2018 (https://arxiv.org/abs/1802.00420)."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.attacks import FGM, FGSM, PGD, PGDL2, Attack, Noise, NoiseL2, Square, SquareL2
from core.attacks.base import gradient_and_logits
from core.data import DataSet
from core.defenses import Defense, attackers
from core.evaluation import Point, accuracy_curve
from core.statistics import wilson

TRACE = 0.01  # a share that is certainly above this is not "about 0"
QUERIES = 300
STEPS, MORE = 20, 80
_ATTACKS = {"linf": (FGSM, PGD, Noise, Square), "l2": (FGM, PGDL2, NoiseL2, SquareL2)}


@dataclass(frozen=True)
class Finding:
    """One check: whether its alarm goes off, and the numbers that say why (shares in [0, 1], counts)."""

    name: str  # of CHECKS
    fired: bool
    values: dict[str, float]


CHECKS = ("zero_gradients", "clean_differs", "one_step_wins", "gradient_free_wins", "more_steps_help", "never_zero")


def zero_gradients(zero: int, total: int) -> Finding:
    """`zero` of `total` images have a loss gradient that is exactly 0 everywhere: an attack cannot start there."""
    low, _ = wilson(zero, total)
    return Finding("zero_gradients", low > TRACE, {"zero": zero, "total": total})


def stuck(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """At which of the images [N, C, H, W] the loss has a gradient of exactly 0 everywhere: bool [N]."""
    return gradient_and_logits(model, x, y, target)[0].flatten(1).abs().amax(dim=1) == 0


def clean_differs(clean: int, at_zero: int, total: int) -> Finding:
    """Accuracy at eps = 0 must be the clean accuracy, image for image, or something else than eps is being moved."""
    return Finding("clean_differs", clean != at_zero, {"clean": clean / total, "at_zero": at_zero / total})


def one_step_wins(one: Point, many: Point) -> Finding:
    """One step leaves fewer images right than many steps: the many are stuck."""
    return _apart("one_step_wins", one, many)


def gradient_free_wins(free: Point, white: Point) -> Finding:
    """An attack without gradients leaves fewer images right than one with them: the gradients mislead."""
    return _apart("gradient_free_wins", free, white)


def more_steps_help(many: Point, few: Point) -> Finding:
    """More steps leave fewer images right: the shorter attack has not converged, its accuracy is too high."""
    return _apart("more_steps_help", many, few)


def never_zero(point: Point) -> Finding:
    """At an eps that allows any image, an attack must fool every one."""
    return Finding("never_zero", point.low > TRACE, {"accuracy": point.accuracy, "epsilon": point.epsilon})


def _apart(name: str, lower: Point, upper: Point) -> Finding:
    """Fires when `lower` is below `upper` and their 95 % intervals do not meet."""
    return Finding(name, lower.high < upper.low,
                   {"lower": lower.accuracy, "upper": upper.accuracy, "epsilon": upper.epsilon})


def of_curves(curves: list[tuple[Attack, list[Point]]], clean: float | None = None) -> list[Finding]:
    """What curves of one network, one defense and one norm say together: each check that they allow, at the eps where
    it is clearest. Curves over other images than each other's are compared all the same: their intervals say how far.
    `clean` is the network's clean accuracy on the same images, where it is known."""
    found: dict[str, Finding] = {}

    def note(finding: Finding) -> None:
        old = found.get(finding.name)
        if old is None or _gap(finding) > _gap(old):
            found[finding.name] = finding

    at = [(attack, {round(p.epsilon, 6): p for p in points}) for attack, points in curves]
    many = [(attack, points) for attack, points in at if attack.iterated and not attack.black_box]
    for attack, points in at:
        for other, those in many:
            for eps in points.keys() & those.keys() - {0.0}:
                if attack.black_box:
                    note(gradient_free_wins(points[eps], those[eps]))
                elif not attack.iterated and attack.bounded and other.bounded:
                    note(one_step_wins(points[eps], those[eps]))
        if clean is not None and 0.0 in points:
            start = points[0.0]
            note(clean_differs(round(clean * start.total), start.correct, start.total))
    for attack, points in many:
        if attack.bounded and max(points) >= (1.0 if attack.norm == "linf" else 28.0):
            note(never_zero(points[max(points)]))
    return [found[name] for name in CHECKS if name in found]


def of_distances(found: list[tuple[Attack, np.ndarray]], epsilons: Sequence[float]) -> list[Finding]:
    """`of_curves` for the smallest eps that fools each image (0: misread already, infinite: none did), [N] for each
    attack: an image is right at every eps below."""
    return of_curves([(attack, [Point.of(eps, int((smallest > eps).sum()), len(smallest)) for eps in epsilons])
                      for attack, smallest in found])


def _gap(finding: Finding) -> float:
    return finding.values.get("upper", 0.0) - finding.values.get("lower", 0.0) + 10 * finding.fired


def examine(model: nn.Module, dataset: DataSet, eps: float, *, norm: str = "linf", defense: Defense | None = None,
            limit: int = 100, seed: int = 0) -> Iterator[Finding]:
    """All checks on the first `limit` images, the quick ones first. With a `defense` the attacker knows it."""
    one, many, noise, square = _ATTACKS[norm]

    def point(attack: Attack, at: float) -> Point:
        *_, last = accuracy_curve(model, attack, dataset, [0.0, at], limit=limit, defense=defense,
                                  aware=defense is not None, seed=seed)
        return last[1]

    device = next(model.parameters()).device
    x, y = (part.to(device) for part in dataset.batch(slice(0, limit)))
    judged = model if defense is None else defense.defend(model)
    ways = [model] if defense is None else attackers(defense, model)
    zero = torch.stack([stuck(seen, x, y) for seen in ways])
    yield zero_gradients(int(zero.all(dim=0).sum()), len(y))
    unmoved = one(eps=0.0)(ways[0], x, y, seed=seed).adversarial
    with torch.no_grad():
        right, at_zero = (judged(images).argmax(dim=1) == y for images in (x, unmoved))
    yield clean_differs(int(right.sum()), int((right & at_zero).sum()), len(y))
    few = point(many(steps=STEPS), eps)
    yield one_step_wins(point(one(), eps), few)
    frees = [point(noise(), eps), point(square(queries=QUERIES), eps)]
    yield gradient_free_wins(min(frees, key=lambda each: each.accuracy), few)
    yield more_steps_help(point(many(steps=MORE, step_size=0.1), eps), few)
    yield never_zero(point(many(steps=MORE), 1.0 if norm == "linf" else float(x[0].numel()) ** 0.5))
