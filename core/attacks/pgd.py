"""Projected gradient descent (Madry et al. 2018, https://arxiv.org/abs/1706.06083) for L-inf and L2."""
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from core.attacks.base import Bounded, Rows, draw, fooled, gradient_and_logits
from core.norms import NORMS, per_image
from core.settings import setting


@dataclass(frozen=True)
class _PGD(Bounded):
    paper: ClassVar[str] = "https://arxiv.org/abs/1706.06083"
    iterated: ClassVar[bool] = True

    steps: int = setting(20, 1, 200, 1)
    step_size: float = setting(0.25, 0.001, 2.0, 0.005)  # in units of eps, so that it fits every eps of a path
    random_start: bool = setting(True)
    restarts: int = setting(1, 1, 20, 1)

    @property
    def gradients(self) -> int:
        return self.steps * self.restarts

    def perturb(self, model, x, y, eps, *, target, generator, on_step=None, early=False):
        best, best_score = x, None
        for restart in range(self.restarts):
            start = draw(self.norm, x, generator) * per_image(eps, x) if self.random_start else torch.zeros_like(x)
            adversarial = self._climb(model, x, y, eps, target, start, on_step, restart * self.steps, early)
            if self.restarts == 1:
                return adversarial
            score = _score(model, adversarial, y, target)
            better = score > best_score if restart else torch.ones_like(y, dtype=torch.bool)
            best = torch.where(per_image(better, x), adversarial, best)
            best_score = torch.where(better, score, best_score) if restart else score
        return best

    def _climb(self, model, x, y, eps, target, start, on_step, done, early):
        norm, rows = NORMS[self.norm], Rows(x, y, eps, target)
        adversarial = (x + start).clamp(0, 1)
        for k in range(self.steps):
            gradient, logits = gradient_and_logits(model, adversarial, rows.y, rows.target)
            if early:
                kept = rows.leave(fooled(logits, rows.y, rows.target), adversarial)
                if kept is not None:
                    adversarial, gradient = adversarial[kept], gradient[kept]
                if not len(adversarial):
                    break
            ascent = norm.steepest(gradient)
            step = self.step_size * per_image(rows.eps, rows.x)
            adversarial = (rows.x + norm.project(adversarial + step * ascent - rows.x, rows.eps)).clamp(0, 1)
            if on_step:
                on_step(done + k + 1)
        return rows.put_back(adversarial)


def _score(model, x, y, target):
    """How far an image has got: fooled first, then the loss. [N]"""
    with torch.no_grad():
        logits = model(x)
    loss = F.cross_entropy(logits, y if target is None else target, reduction="none")
    fooled = logits.argmax(dim=1) != y if target is None else logits.argmax(dim=1) == target
    return fooled * 1e9 + (loss if target is None else -loss)


@dataclass(frozen=True)
class PGD(_PGD):
    """Iterated FGSM with a random start, projected on the L-inf ball after every step.

    x_0 = x + U(-eps, eps);  x_k+1 = clamp(P(x_k + step_size * eps * sign(grad CE(f(x_k), y)))); the best of
    `restarts` runs. With a target t, minus the gradient of CE(f(x_k), t).
    """

    title: ClassVar[str] = "PGD (L-inf)"
    norm: ClassVar[str] = "linf"


@dataclass(frozen=True)
class PGDL2(_PGD):
    """The same in the L2 ball: x_k+1 = clamp(P(x_k + step_size * eps * g / |g|_2)), g = grad CE(f(x_k), y)."""

    title: ClassVar[str] = "PGD (L2)"
    norm: ClassVar[str] = "l2"
