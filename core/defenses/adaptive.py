"""The attacker who knows the defense: exact forward pass, usable gradient."""
from collections.abc import Callable

import torch
from torch import Tensor, nn

from core.defenses.base import Defense
from core.defenses.stack import Stack

DRAWS = 8  # of a randomized defense, that an attacker averages over for each gradient


class _StraightThrough(torch.autograd.Function):
    """The defense forward; backward the identity, or the smooth twin."""

    @staticmethod
    def forward(ctx, x: Tensor, defense: Callable[[Tensor], Tensor], twin: Callable[[Tensor], Tensor] | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.twin = twin
        return defense(x.detach())

    @staticmethod
    def backward(ctx, gradient: Tensor):
        if ctx.twin is None:
            return gradient, None, None
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_(True)
            return torch.autograd.grad(ctx.twin(x), x, gradient)[0], None, None


class _Seen(nn.Module):
    """`defense` with a gradient, and its draws."""

    def __init__(self, defense: Defense, smooth: bool):
        super().__init__()
        self.defense, self.smooth = defense, smooth

    def forward(self, x: Tensor) -> Tensor:
        return self.drawn(x, 0)

    def drawn(self, x: Tensor, k: int) -> Tensor:
        if isinstance(self.defense, Stack):
            for each in self.defense.defenses:
                x = _Seen(each, self.smooth).drawn(x, k)
            return x
        if self.defense.differentiable:
            return self.defense.drawn(x, k)
        twin = self.defense.twin if self.smooth and has_twin(self.defense) else None
        return _StraightThrough.apply(x, lambda images: self.defense.drawn(images, k), twin)


class _Expected(nn.Module):
    """log of the mean softmax over draws: its cross-entropy is that of the smoothed network (expectation over
    transformation, Athalye et al. 2018, https://arxiv.org/abs/1707.07397; Salman et al. 2019,
    https://arxiv.org/abs/1906.04584)."""

    def __init__(self, seen: _Seen, model: nn.Module, samples: int):
        super().__init__()
        self.seen, self.model, self.samples = seen, model, samples

    def forward(self, x: Tensor) -> Tensor:
        logs = [self.model(self.seen.drawn(x, k)).log_softmax(dim=1) for k in range(self.samples)]
        return torch.stack(logs).logsumexp(dim=0)


def has_twin(defense: Defense) -> bool:
    """Whether a smooth stand-in exists for it, or for one of a stack."""
    if isinstance(defense, Stack):
        return any(has_twin(each) for each in defense.defenses)
    return type(defense).twin is not Defense.twin


def adaptive(defense: Defense, smooth: bool = False) -> nn.Module:
    """`defense` with a gradient: itself where it is differentiable, else the identity's in the backward pass
    (BPDA, Athalye et al. 2018, https://arxiv.org/abs/1802.00420), for it moves an image only a little; with `smooth`
    that of its differentiable twin, where it has one."""
    return defense if defense.differentiable else _Seen(defense, smooth)


def attackers(defense: Defense, model: nn.Module, samples: int = DRAWS) -> list[nn.Module]:
    """The defended network as attackers who know the defense see it, one for each way to a gradient: BPDA, and the
    smooth twin where there is one. An image counts as right only against all of them.

    Of a randomized defense they know everything but the draws: they average over `samples` of their own.
    """
    own = defense.secret()
    ways = (False, True) if has_twin(defense) else (False,)
    if defense.randomized:
        return [_Expected(_Seen(own, smooth), model, samples) for smooth in ways]
    return [nn.Sequential(adaptive(own, smooth), model) for smooth in ways]
