"""The attacker who knows the defense: exact forward pass, usable gradient."""
import torch
from torch import Tensor, nn

from core.defenses.base import Defense


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, defense: Defense) -> Tensor:
        return defense(x.detach())

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient, None


class _BPDA(nn.Module):
    def __init__(self, defense: Defense):
        super().__init__()
        self.defense = defense

    def forward(self, x: Tensor) -> Tensor:
        return _StraightThrough.apply(x, self.defense)


def adaptive(defense: Defense) -> nn.Module:
    """`defense` with a gradient: itself where it is differentiable, else the identity's in the backward pass
    (BPDA, Athalye et al. 2018, https://arxiv.org/abs/1802.00420), for it moves an image only a little."""
    return defense if defense.differentiable else _BPDA(defense)
