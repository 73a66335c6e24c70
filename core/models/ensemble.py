"""Several networks that vote."""
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of the members' logits: their probabilities' geometric mean, normalised."""

    def __init__(self, build: Callable[[], nn.Module], members: int):
        super().__init__()
        self.members = nn.ModuleList(build() for _ in range(members))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(dim=0)
