"""Random noise of the same norm: the baseline which shows that direction matters."""
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from core.attacks.base import OneStep, draw, uniform
from core.norms import NORMS, per_image
from core.settings import setting

KINDS = ("uniform", "gaussian", "sign")


@dataclass(frozen=True)
class Noise(OneStep):
    """x' = clamp(x + eps * u), u independent for every value (section 6 of https://arxiv.org/abs/1412.6572).

    uniform: u ~ U(-1, 1); sign: u = -1 or 1, FGSM's step in a random direction; gaussian: u ~ N(0, 1) divided by the
    largest |u| of the image, so that it keeps to the same ball.
    """

    title: ClassVar[str] = "Random noise (L-inf)"
    norm: ClassVar[str] = "linf"
    paper: ClassVar[str] = "https://arxiv.org/abs/1412.6572"
    black_box: ClassVar[bool] = True
    gradients: ClassVar[int] = 0

    kind: str = setting("uniform", choices=KINDS)

    def direction(self, model, x, y, target, generator):
        noise = _noise(self.kind, x, generator)
        return (noise / per_image(NORMS["linf"].measure(noise), noise) if self.kind == "gaussian" else noise), None


@dataclass(frozen=True)
class NoiseL2(Noise):
    """x' = clamp(x + eps * u / |u|_2): of one length, whatever the kind. Gaussian is uniform on the sphere."""

    title: ClassVar[str] = "Random noise (L2)"
    norm: ClassVar[str] = "l2"

    kind: str = setting("gaussian", choices=KINDS)

    def direction(self, model, x, y, target, generator):
        return NORMS["l2"].steepest(_noise(self.kind, x, generator)), None


def _noise(kind: str, x: Tensor, generator) -> Tensor:
    """Independent values of one kind, of any length in the case of gaussian (its callers scale it)."""
    if kind == "gaussian":
        return draw("l2", x, generator)
    drawn = uniform(len(x), tuple(x.shape[1:]), generator).to(x)
    return 2 * drawn - 1 if kind == "uniform" else torch.where(drawn < 0.5, -1.0, 1.0)
