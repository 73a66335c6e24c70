"""What every attack has in common: settings in the constructor, images in the call, and a base that judges."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import norms, settings
from core.norms import NORMS, per_image

BATCH = 512  # images a forward pass takes at most: bounds memory whatever the number of epsilons


@dataclass(frozen=True)
class AttackResult:
    """N attacked images and how they were judged: `success` on the model's own logits, norms of adversarial - x."""

    adversarial: Tensor  # [N, C, H, W] in [0, 1]
    success: Tensor  # bool [N]: another class than y, or the target where there is one
    linf: Tensor  # [N]
    l2: Tensor  # [N]
    l0: Tensor  # int [N], pixels changed
    logits: Tensor  # [N, K] of the adversarial images
    gradients: int  # gradient computations spent on each image


@dataclass(frozen=True)
class Attack(ABC):
    """An attack bounded by eps in its norm. Subclasses are frozen dataclasses whose fields are their settings."""

    title: ClassVar[str]
    norm: ClassVar[str]
    paper: ClassVar[str]
    black_box: ClassVar[bool] = False
    iterated: ClassVar[bool] = False  # its curve may count an image fooled at a smaller eps at every larger one

    eps: float = settings.setting(0.1, 0.0, 1000.0, 0.001)

    def __post_init__(self):
        settings.check(self)

    @property
    @abstractmethod
    def gradients(self) -> int:
        """Gradient computations spent on each image."""

    @abstractmethod
    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor, *, target: Tensor | None,
                generator: torch.Generator, on_step: Callable[[int], None] | None = None) -> Tensor:
        """Adversarial images for x [N, C, H, W], y [N] with a radius each, eps [N]."""

    @final
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, *, target: Tensor | None = None, seed: int = 0,
                 on_step: Callable[[int], None] | None = None) -> AttackResult:
        """Attack x [N, C, H, W] in [0, 1] with labels y [N]; towards `target` [N] when given.

        The same seed gives the same result; the model is not changed. Raises ValueError for images outside
        [0, 1] or shapes that do not fit together.
        """
        _validate(x, y, target)
        eps = torch.full((len(x),), float(self.eps), device=x.device)
        generator = torch.Generator().manual_seed(seed)
        adversarial = self.perturb(model, x, y, eps, target=target, generator=generator, on_step=on_step)
        adversarial = self._confine(x, adversarial, eps)
        with torch.no_grad():
            logits = model(adversarial)
        predicted, delta = logits.argmax(dim=1), adversarial - x
        success = predicted != y if target is None else predicted == target
        return AttackResult(adversarial, success, NORMS["linf"].measure(delta), NORMS["l2"].measure(delta),
                            norms.l0(delta), logits, self.gradients)

    def path(self, model: nn.Module, x: Tensor, y: Tensor, epsilons: Sequence[float], *,
             target: Tensor | None = None, seed: int = 0) -> Tensor:
        """The attack at every eps of `epsilons`: [E, N, C, H, W]. Randomness is drawn once an image and scaled
        with eps, so that neighbouring values of eps differ by eps alone."""
        _validate(x, y, target)
        if not len(epsilons):
            return x.new_empty(0, *x.shape)
        checked = [replace(self, eps=float(eps)).eps for eps in epsilons]
        return torch.stack(self._path(model, x, y, checked, target, seed))

    def _path(self, model, x, y, epsilons: list[float], target, seed: int) -> list[Tensor]:
        """All epsilons side by side in one batch, in slices of at most BATCH images."""
        many = max(1, BATCH // max(1, len(x)))
        result = []
        for start in range(0, len(epsilons), many):
            some = epsilons[start:start + many]
            wide = x.repeat(len(some), 1, 1, 1)
            eps = torch.tensor(some, device=x.device).repeat_interleave(len(x))
            adversarial = self.perturb(model, wide, y.repeat(len(some)), eps,
                                       target=None if target is None else target.repeat(len(some)),
                                       generator=_Repeating(seed, len(some)))
            result += self._confine(wide, adversarial, eps).view(len(some), *x.shape).unbind()
        return result

    def _confine(self, x: Tensor, adversarial: Tensor, eps: Tensor) -> Tensor:
        """Into the ball and the pixel range: no attack is trusted to have stayed inside."""
        return (x + NORMS[self.norm].project(adversarial - x, eps)).clamp(0, 1)


@dataclass(frozen=True)
class OneStep(Attack):
    """x + eps * direction, clamped: the direction serves every eps, so a whole path costs one gradient."""

    @abstractmethod
    def direction(self, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None,
                  generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The unit perturbation [N, C, H, W], and the logits of x where they came up on the way."""

    @final
    def perturb(self, model, x, y, eps, *, target, generator, on_step=None):
        direction, _ = self.direction(model, x, y, target, generator)
        if on_step:
            on_step(1)
        return (x + per_image(eps, x) * direction).clamp(0, 1)

    @final
    def _path(self, model, x, y, epsilons, target, seed):
        direction, _ = self.direction(model, x, y, target, torch.Generator().manual_seed(seed))
        return [(x + eps * direction).clamp(0, 1) for eps in epsilons]


class _Repeating:
    """Stands in for a generator over `times` copies of a batch: draws for one copy and repeats the draw."""

    def __init__(self, seed: int, times: int):
        self.generator, self.times = torch.Generator().manual_seed(seed), times


def draw(norm: str, like: Tensor, generator) -> Tensor:
    """Uniform noise in the unit ball for each image of `like`, the same for each copy on an epsilon path."""
    if isinstance(generator, _Repeating):
        one = NORMS[norm].random(like[:len(like) // generator.times], generator.generator)
        return one.repeat(generator.times, 1, 1, 1)
    return NORMS[norm].random(like, generator)


def loss_gradient(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """The gradient of what the attacker wants more of: the cross-entropy of y, or minus that of the target."""
    return gradient_and_logits(model, x, y, target)[0]


def gradient_and_logits(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
    """`loss_gradient`, and the logits of x that the same forward pass gave.

    Only the input's gradient is computed and nothing is stored on the model, so threads may share it.
    """
    x = x.detach().requires_grad_(True)
    logits = model(x)
    loss = F.cross_entropy(logits, y if target is None else target, reduction="sum")
    return torch.autograd.grad(loss if target is None else -loss, x)[0], logits.detach()


def _validate(x: Tensor, y: Tensor, target: Tensor | None) -> None:
    if x.ndim != 4 or x.dtype != torch.float32:
        raise ValueError(f"images must be float32 [N, C, H, W], not {x.dtype} {tuple(x.shape)}")
    for name, labels in (("y", y), ("target", target)):
        if labels is not None and (labels.shape != (len(x),) or labels.dtype != torch.int64):
            raise ValueError(f"{name} must be int64 [{len(x)}], not {labels.dtype} {tuple(labels.shape)}")
        if labels is not None and (labels < 0).any():  # cross-entropy would take -100 for "leave this one out"
            raise ValueError(f"{name} must not be negative")
    if x.numel() and not (0 <= x.min() and x.max() <= 1):  # also False for NaN
        raise ValueError("images must lie in [0, 1]")
