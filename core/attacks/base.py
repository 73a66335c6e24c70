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
    gradients: int  # gradient computations spent on each image at most
    queries: Tensor | None = None  # int [N]: images shown to the model by an attack that searches by asking


@dataclass(frozen=True)
class Attack(ABC):
    """Subclasses are frozen dataclasses whose fields are their settings: `Bounded` attacks stay within eps,
    `Smallest` ones look for the smallest perturbation that fools."""

    title: ClassVar[str]
    norm: ClassVar[str]
    paper: ClassVar[str]
    black_box: ClassVar[bool] = False
    iterated: ClassVar[bool] = False  # its curve may count an image fooled at a smaller eps at every larger one
    bounded: ClassVar[bool]

    def __post_init__(self):
        settings.check(self)

    @property
    @abstractmethod
    def gradients(self) -> int:
        """Gradient computations spent on each image, at most."""

    @final
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, *, target: Tensor | None = None, seed: int = 0,
                 on_step: Callable[[int], None] | None = None, early: bool = False) -> AttackResult:
        """Attack x [N, C, H, W] in [0, 1] with labels y [N]; towards `target` [N] when given.

        The same seed gives the same result; the model is not changed. With `early`, an image that is fooled on
        the way is done, which is all that an accuracy needs. Raises ValueError for images outside [0, 1] or
        shapes that do not fit together.
        """
        _validate(x, y, target)
        generator = torch.Generator().manual_seed(seed)
        adversarial, queries = self._attacked(model, x, y, target, generator, on_step, early)
        with torch.no_grad():
            logits = model(adversarial)
        delta = adversarial - x
        return AttackResult(adversarial, fooled(logits, y, target), NORMS["linf"].measure(delta),
                            NORMS["l2"].measure(delta), norms.l0(delta), logits, self.gradients, queries)

    @abstractmethod
    def _attacked(self, model, x, y, target, generator, on_step, early) -> tuple[Tensor, Tensor | None]:
        """Images that keep what the attack promises, and the queries that they took where these are counted."""

    @abstractmethod
    def path(self, model: nn.Module, x: Tensor, y: Tensor, epsilons: Sequence[float], *,
             target: Tensor | None = None, seed: int = 0, on_step: Callable[[int], None] | None = None) -> Tensor:
        """The images for every position of a slider: [E, N, C, H, W]."""


@dataclass(frozen=True)
class Bounded(Attack):
    """An attack that stays within eps of the image in its norm."""

    bounded: ClassVar[bool] = True

    eps: float = settings.setting(0.1, 0.0, 1000.0, 0.001)

    @abstractmethod
    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor, *, target: Tensor | None,
                generator: torch.Generator, on_step: Callable[[int], None] | None = None,
                early: bool = False) -> Tensor:
        """Adversarial images for x [N, C, H, W], y [N] with a radius each, eps [N]."""

    def within(self, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor, *, seed: int = 0,
               early: bool = False) -> Tensor:
        """Adversarial images with a radius for each image, eps [N], in place of the setting."""
        _validate(x, y, None)
        adversarial = self.perturb(model, x, y, eps, target=None, generator=torch.Generator().manual_seed(seed),
                                   early=early)
        return self._confine(x, adversarial, eps)

    def _attacked(self, model, x, y, target, generator, on_step, early):
        eps = torch.full((len(x),), float(self.eps), device=x.device)
        adversarial = self.perturb(model, x, y, eps, target=target, generator=generator, on_step=on_step, early=early)
        return self._confine(x, adversarial, eps), None

    def path(self, model, x, y, epsilons, *, target=None, seed=0, on_step=None):
        """The attack at every eps of `epsilons`. Randomness is drawn once an image and scaled with eps, so that
        neighbouring values of eps differ by eps alone."""
        _validate(x, y, target)
        if not len(epsilons):
            return x.new_empty(0, *x.shape)
        checked = [replace(self, eps=float(eps)).eps for eps in epsilons]
        return torch.stack(self._path(model, x, y, checked, target, seed, on_step))

    def _path(self, model, x, y, epsilons: list[float], target, seed: int, on_step) -> list[Tensor]:
        """All epsilons side by side in one batch, in slices of at most BATCH images."""
        many = max(1, BATCH // max(1, len(x)))
        result = []
        for start in range(0, len(epsilons), many):
            some = epsilons[start:start + many]
            wide = x.repeat(len(some), 1, 1, 1)
            eps = torch.tensor(some, device=x.device).repeat_interleave(len(x))
            adversarial = self.perturb(model, wide, y.repeat(len(some)), eps,
                                       target=None if target is None else target.repeat(len(some)),
                                       generator=_Repeating(seed, len(some)), on_step=on_step)
            result += self._confine(wide, adversarial, eps).view(len(some), *x.shape).unbind()
        return result

    def _confine(self, x: Tensor, adversarial: Tensor, eps: Tensor) -> Tensor:
        """Into the ball and the pixel range: no attack is trusted to have stayed inside."""
        return (x + NORMS[self.norm].project(adversarial - x, eps)).clamp(0, 1)


@dataclass(frozen=True)
class Smallest(Attack):
    """An attack that looks for the smallest perturbation in its norm; an image that it cannot fool stays as it is."""

    bounded: ClassVar[bool] = False

    @abstractmethod
    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, *, target: Tensor | None, generator: torch.Generator,
                on_step: Callable[[int], None] | None = None) -> Tensor:
        """Adversarial images for x [N, C, H, W], y [N]."""

    def _attacked(self, model, x, y, target, generator, on_step, early):
        adversarial = self.perturb(model, x, y, target=target, generator=generator, on_step=on_step).clamp(0, 1)
        with torch.no_grad():
            success = fooled(model(adversarial), y, target)
        return torch.where(per_image(success, x), adversarial, x), None

    def path(self, model, x, y, epsilons, *, target=None, seed=0, on_step=None):
        """The perturbation that was found at each strength of `epsilons`: clamp(x + strength * delta), 1 is delta
        itself."""
        return along(x, self(model, x, y, target=target, seed=seed, on_step=on_step).adversarial - x, epsilons)


@dataclass(frozen=True)
class Searched(Bounded):
    """A black-box attack that asks the model for its logits, image after image, and counts how often."""

    black_box: ClassVar[bool] = True
    iterated: ClassVar[bool] = True
    gradients: ClassVar[int] = 0

    queries: int = settings.setting(1000, 1, 20_000, 100)

    @abstractmethod
    def search(self, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor, *, target: Tensor | None,
               generator: torch.Generator, on_step: Callable[[int], None] | None = None) -> "Search":
        """At most `queries` questions for each image; an image that is fooled asks no more."""

    @final
    def traced(self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 0) -> "Search":
        """The search with its trace, at the eps of the settings."""
        _validate(x, y, None)
        eps = torch.full((len(x),), float(self.eps), device=x.device)
        return self.search(model, x, y, eps, target=None, generator=torch.Generator().manual_seed(seed))

    @final
    def perturb(self, model, x, y, eps, *, target, generator, on_step=None, early=False):
        return self.search(model, x, y, eps, target=target, generator=generator, on_step=on_step).adversarial

    @final
    def _attacked(self, model, x, y, target, generator, on_step, early):
        eps = torch.full((len(x),), float(self.eps), device=x.device)
        found = self.search(model, x, y, eps, target=target, generator=generator, on_step=on_step)
        return self._confine(x, found.adversarial, eps), found.queries


@dataclass(frozen=True)
class Search:
    """What a black-box search came to, and its way there."""

    adversarial: Tensor  # [N, C, H, W]
    queries: Tensor  # int [N], asked until the image was fooled, or in all
    trace: Tensor  # [Q, N] after each query: the best probability so far of the true class, or of the target


@dataclass(frozen=True)
class OneStep(Bounded):
    """x + eps * direction, clamped: the direction serves every eps, so a whole path costs one gradient."""

    @abstractmethod
    def direction(self, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None,
                  generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The unit perturbation [N, C, H, W], and the logits of x where they came up on the way."""

    @final
    def perturb(self, model, x, y, eps, *, target, generator, on_step=None, early=False):
        direction, _ = self.direction(model, x, y, target, generator)
        if on_step:
            on_step(1)
        return (x + per_image(eps, x) * direction).clamp(0, 1)

    @final
    def _path(self, model, x, y, epsilons, target, seed, on_step):
        direction, _ = self.direction(model, x, y, target, torch.Generator().manual_seed(seed))
        return [(x + eps * direction).clamp(0, 1) for eps in epsilons]


def along(x: Tensor, delta: Tensor, strengths: Sequence[float]) -> Tensor:
    """clamp(x + strength * delta) for each strength: [E, N, C, H, W]"""
    images = [(x + strength * delta).clamp(0, 1) for strength in strengths]
    return torch.stack(images) if images else x.new_empty(0, *x.shape)


class Rows:
    """The images of a batch that an attack still works on: x, y, eps, target, row by row.

    A fooled image keeps the pixels that fooled first. Its row is dropped together with others, when a quarter of the
    batch has been fooled: oneDNN compiles its kernels for each size of batch anew.
    """

    def __init__(self, x: Tensor, y: Tensor, eps: Tensor, target: Tensor | None):
        self.x, self.y, self.eps, self.target = x, y, eps, target
        self._result, self.places = x.clone(), torch.arange(len(x), device=x.device)
        self.finished = torch.zeros(len(x), dtype=torch.bool, device=x.device)  # fooled, but not dropped yet

    def leave(self, is_fooled: Tensor, adversarial: Tensor) -> Tensor | None:
        """Keep `adversarial` of the rows that are fooled. The rows (bool) that go on, if now some are dropped."""
        new = is_fooled & ~self.finished
        self._result[self.places[new]] = adversarial[new]
        self.finished = self.finished | new
        if 4 * int(self.finished.sum()) < max(1, len(self.finished)):
            return None
        kept = ~self.finished
        self.x, self.y, self.eps, self.places = (part[kept] for part in (self.x, self.y, self.eps, self.places))
        self.target = None if self.target is None else self.target[kept]
        self.finished = self.finished[kept]
        return kept

    def put_back(self, adversarial: Tensor) -> Tensor:
        """The whole batch: what fooled first, and `adversarial` for the rows that nothing fooled."""
        left = ~self.finished
        self._result[self.places[left]] = adversarial[left]
        return self._result


class _Repeating:
    """Stands in for a generator over `times` copies of a batch: draws for one copy and repeats the draw."""

    def __init__(self, seed: int, times: int):
        self.generator, self.times = torch.Generator().manual_seed(seed), times


def plain(generator) -> torch.Generator:
    """The generator itself, for an attack that goes on with some of the images only: theirs are draws of their own."""
    return generator.generator if isinstance(generator, _Repeating) else generator


def draw(norm: str, like: Tensor, generator) -> Tensor:
    """Uniform noise in the unit ball for each image of `like`, the same for each copy on an epsilon path."""
    if isinstance(generator, _Repeating):
        one = NORMS[norm].random(like[:len(like) // generator.times], generator.generator)
        return one.repeat(generator.times, 1, 1, 1)
    return NORMS[norm].random(like, generator)


def uniform(count: int, shape: tuple[int, ...], generator) -> Tensor:
    """[count, *shape] uniform in [0, 1), on the CPU; the same for each copy of a batch on an epsilon path."""
    if isinstance(generator, _Repeating):
        one = torch.rand(count // generator.times, *shape, generator=generator.generator)
        return one.repeat(generator.times, *[1] * len(shape))
    return torch.rand(count, *shape, generator=generator)


def fooled(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """Which images [N] are read as something else than y, or as their target where there is one."""
    predicted = logits.argmax(dim=1)
    return predicted != y if target is None else predicted == target


def margin(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """How far each image is from fooled, in logits [N]: below 0 it is. The true class's lead over the best other,
    or the best other's over the target."""
    wanted = y if target is None else target
    own = logits.gather(1, wanted[:, None])[:, 0]
    other = logits.scatter(1, wanted[:, None], -torch.inf).amax(dim=1)
    return own - other if target is None else other - own


def log_odds(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """log(p / (1 - p)) of the true class, or of the target: [N]. Rises and falls with p, and still moves where p is
    1 or 0 to float precision."""
    wanted = (y if target is None else target)[:, None]
    return logits.gather(1, wanted)[:, 0] - logits.scatter(1, wanted, -torch.inf).logsumexp(dim=1)


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
