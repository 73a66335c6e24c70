"""One gradient step: FGSM (L-inf) and FGM (L2)."""
from dataclasses import dataclass
from typing import ClassVar

from core.attacks.base import OneStep, gradient_and_logits
from core.norms import NORMS


@dataclass(frozen=True)
class _FastGradient(OneStep):
    paper: ClassVar[str] = "https://arxiv.org/abs/1412.6572"
    gradients: ClassVar[int] = 1

    def direction(self, model, x, y, target, generator):
        gradient, logits = gradient_and_logits(model, x, y, target)
        return NORMS[self.norm].steepest(gradient), logits


@dataclass(frozen=True)
class FGSM(_FastGradient):
    """The fast gradient sign method of Goodfellow et al. 2015 (https://arxiv.org/abs/1412.6572).

    x' = clamp(x + eps * sign(grad_x CE(f(x), y))); with a target t, minus the gradient of CE(f(x), t).
    """

    title: ClassVar[str] = "FGSM"
    norm: ClassVar[str] = "linf"


@dataclass(frozen=True)
class FGM(_FastGradient):
    """The fast gradient method: FGSM's step for the L2 ball (https://arxiv.org/abs/1605.07725, section 3).

    x' = clamp(x + eps * g / |g|_2), g = grad_x CE(f(x), y); with a target t, minus the gradient of CE(f(x), t).
    """

    title: ClassVar[str] = "FGM"
    norm: ClassVar[str] = "l2"
