"""The strong evaluation: several attacks one after the other, each on what the others left."""
import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch

from core.attacks.apgd import APGD, APGDL2, APGDT, APGDTL2
from core.attacks.base import Bounded, fooled, plain
from core.attacks.square import Square, SquareL2
from core.settings import setting


@dataclass(frozen=True)
class _Strong(Bounded):
    paper: ClassVar[str] = "https://arxiv.org/abs/2003.01690"
    iterated: ClassVar[bool] = True

    steps: int = setting(50, 1, 200, 10)  # of each APGD run; 100 in the paper
    queries: int = setting(1000, 1, 20_000, 100)  # of Square; 5000 in the paper

    @property
    def gradients(self) -> int:
        return sum(attack.gradients for attack in self._attacks())

    def _attacks(self) -> list[Bounded]:
        kinds = (APGD, APGDT, Square) if self.norm == "linf" else (APGDL2, APGDTL2, SquareL2)
        return [kinds[0](steps=self.steps), kinds[1](steps=self.steps), kinds[2](queries=self.queries)]

    def perturb(self, model, x, y, eps, *, target, generator, on_step=None, early=False):
        result, left = x.clone(), torch.arange(len(x), device=x.device)
        count = itertools.count(1)  # of gradients and queries together
        for attack in self._attacks():
            if not len(left):
                break
            some = None if target is None else target[left]
            result[left] = attack.perturb(
                model, x[left], y[left], eps[left], target=some, generator=plain(generator), early=True,
                on_step=on_step and (lambda _: on_step(next(count))))
            with torch.no_grad():
                left = left[~fooled(model(result[left]), y[left], some)]
        return result


@dataclass(frozen=True)
class Strong(_Strong):
    """APGD on the cross-entropy, APGD towards nine targets on the DLR loss, and Square, in the L-inf ball.

    An image counts as robust when all three leave it right: AutoAttack's recipe without its FAB
    (https://arxiv.org/abs/2003.01690). Gradient masking that stops one of them rarely stops all.
    """

    title: ClassVar[str] = "Strong evaluation (L-inf)"
    norm: ClassVar[str] = "linf"


@dataclass(frozen=True)
class StrongL2(_Strong):
    """The same three in the L2 ball."""

    title: ClassVar[str] = "Strong evaluation (L2)"
    norm: ClassVar[str] = "l2"
