"""Random noise of the same norm: the baseline which shows that direction matters."""
from dataclasses import dataclass
from typing import ClassVar

from core.attacks.base import OneStep, draw
from core.norms import NORMS


@dataclass(frozen=True)
class UniformNoise(OneStep):
    """x' = clamp(x + eps * u), u uniform in [-1, 1] for every value (section 6 of https://arxiv.org/abs/1412.6572)."""

    title: ClassVar[str] = "Uniform noise (L-inf)"
    norm: ClassVar[str] = "linf"
    paper: ClassVar[str] = "https://arxiv.org/abs/1412.6572"
    black_box: ClassVar[bool] = True
    gradients: ClassVar[int] = 0

    def direction(self, model, x, y, target, generator):
        return draw(self.norm, x, generator), None


@dataclass(frozen=True)
class UniformNoiseL2(UniformNoise):
    """x' = clamp(x + eps * u), u uniform on the unit sphere of L2."""

    title: ClassVar[str] = "Uniform noise (L2)"
    norm: ClassVar[str] = "l2"

    def direction(self, model, x, y, target, generator):
        return NORMS["l2"].steepest(draw("l2", x, generator)), None
