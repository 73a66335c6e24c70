"""Random noise before the network, and a vote over several draws."""
import zlib
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from core.defenses.base import Defense
from core.settings import setting


@dataclass(eq=False)
class RandomNoise(Defense):
    """x + N(0, deviation^2), clamped; the network's answer is the majority over `votes` draws (randomised smoothing,
    Cohen et al. 2019).

    A draw depends on the image's own values, on k and on `seed` alone, so that results do not hang on batches, and yet
    an attacker, whose seed is another, cannot know it.
    """

    title: ClassVar[str] = "Random noise, vote"
    paper: ClassVar[str] = "https://arxiv.org/abs/1902.02918"
    differentiable: ClassVar[bool] = True
    randomized: ClassVar[bool] = True
    slider: ClassVar[str] = "deviation"

    deviation: float = setting(0.2, 0.02, 1.0, 0.02)
    votes: int = setting(15, 1, 101, 2)
    seed: int = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.drawn(x, 0)

    def drawn(self, x: Tensor, k: int) -> Tensor:
        """Draw k for each image of x [N, C, H, W]."""
        which = f"{self.seed} {k}".encode()
        noise = [torch.randn(image.shape, generator=torch.Generator().manual_seed(
            zlib.crc32(which, zlib.crc32(image.numpy().tobytes())))) for image in x.detach().float().cpu()]
        return (x + self.deviation * torch.stack(noise).to(x)).clamp(0, 1) if noise else x

    def secret(self) -> "RandomNoise":
        return replace(self, seed=self.seed + 1)

    @property
    def draws(self) -> int:
        return self.votes
