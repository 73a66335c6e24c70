"""Auto-PGD of Croce & Hein 2020 (https://arxiv.org/abs/2003.01690): PGD that chooses its own step size."""
from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.attacks.base import Bounded, Rows, draw, fooled
from core.norms import NORMS, per_image
from core.settings import setting

MOMENTUM = 0.75  # alpha: how much of a step is new, the rest is the last move once more


@dataclass(frozen=True)
class _APGD(Bounded):
    paper: ClassVar[str] = "https://arxiv.org/abs/2003.01690"
    iterated: ClassVar[bool] = True

    steps: int = setting(50, 1, 200, 1)
    restarts: int = setting(1, 1, 20, 1)
    rho: float = setting(0.75, 0.01, 1.0, 0.05)

    @property
    def gradients(self) -> int:
        return (self.steps + 1) * self.restarts * self._aims

    @property
    @abstractmethod
    def _aims(self) -> int:
        """How many losses are climbed, one after the other."""

    @abstractmethod
    def _goals(self, model, x: Tensor, y: Tensor, target: Tensor | None) -> list[Tensor | None]:
        """What each climb aims at: a class for each image [N], or None for any other than y."""

    @abstractmethod
    def _loss(self, logits: Tensor, y: Tensor, goal: Tensor | None) -> Tensor:
        """What a climb raises: [N]"""

    def perturb(self, model, x, y, eps, *, target, generator, on_step=None, early=False):
        result, done = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        best = torch.full_like(eps, -torch.inf)
        counted = 0
        goals = self._goals(model, x, y, target)
        for _ in range(self.restarts):
            for goal in goals:
                start = draw(self.norm, x, generator)  # for all images, whoever is left: a draw belongs to its image
                left = (~done if early else torch.ones_like(done)).nonzero()[:, 0]
                if not len(left):
                    return result
                some = [None if part is None else part[left] for part in (x, y, eps, target, goal)]
                found, score = self._climb(model, *some, start[left], on_step, counted, early)
                better = score > best[left]
                result[left[better]], best[left] = found[better], torch.where(better, score, best[left])
                done[left] = torch.isposinf(score) if early else done[left]
                counted += self.steps + 1
        return result

    def _climb(self, model, x, y, eps, target, goal, start, on_step, counted, early) -> tuple[Tensor, Tensor]:
        """One run. Images [N, C, H, W] and their scores [N]: the loss, above every loss for what fools (infinite when
        stopped early, since nothing is left to improve)."""
        rows, at = Rows(x, y, eps, target), _Climb.begin(self, x, eps, start, goal)
        checkpoints, last = checkpoints_of(self.steps), 0
        for k in range(self.steps + 1):
            gradient, loss, hit = self._look(model, at.now, rows.y, at.goal, rows.target)
            at.see(gradient, loss, hit)
            if early:
                kept = rows.leave(hit, at.now)
                at = at if kept is None else at.keep(kept)
                if rows.finished.all():  # also when no row is left
                    break
            if on_step:
                on_step(counted + k + 1)
            if k in checkpoints:
                at.adapt(k - last, self.rho)
                last = k
            if k < self.steps:
                at.move(self, rows.x, rows.eps, first=k == 0)
        if early:
            score = torch.full_like(eps, torch.inf)
            left = ~rows.finished
            score[rows.places[left]] = at.best_loss[left]
            return rows.put_back(at.best), score
        return torch.where(per_image(at.hit_loss > -torch.inf, x), at.hit, at.best), torch.where(
            at.hit_loss > -torch.inf, at.hit_loss + 1e9, at.best_loss)

    def _look(self, model, x, y, goal, target):
        """The gradient of the loss, the loss, and who is fooled."""
        x = x.detach().requires_grad_(True)
        logits = model(x)
        loss = self._loss(logits, y, goal)
        gradient = torch.autograd.grad(loss.sum(), x)[0]
        return gradient, loss.detach(), fooled(logits.detach(), y, target)


@dataclass
class _Climb:
    """The state of a run, row by row: where it is and was, the best place seen, and its step size."""

    now: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    hit: Tensor  # of the images that fool, the one of highest loss
    hit_loss: Tensor
    step: Tensor  # eta
    rises: Tensor  # how many steps since the last checkpoint raised the loss
    checked_loss: Tensor  # best_loss at the last checkpoint
    halved: Tensor  # whether the step size was halved there
    goal: Tensor | None

    @classmethod
    def begin(cls, attack, x, eps, start, goal):
        now = (x + start * per_image(eps, x)).clamp(0, 1)
        low, zero = torch.full_like(eps, -torch.inf), torch.zeros_like(eps)
        return cls(now, now, torch.zeros_like(x), -low, now, torch.zeros_like(x), low, now, low, 2 * eps, zero, low,
                   torch.ones_like(eps, dtype=torch.bool), goal)

    def keep(self, rows: Tensor) -> "_Climb":
        return _Climb(*(None if getattr(self, each.name) is None else getattr(self, each.name)[rows]
                        for each in fields(self)))

    def see(self, gradient, loss, hit) -> None:
        """Note what was found at `now`.

        The loss after the first step is compared with 0 instead of the start's, as in the authors' code: from a random
        point any step rises. The targeted loss, below 0 until it fools, so gets its step size halved sooner, which at
        15 steps fools 1 image in 15 more of those that are left otherwise.
        """
        self.rises = self.rises + (loss > self.loss)
        better, firmer = loss > self.best_loss, hit & (loss > self.hit_loss)
        self.best = torch.where(per_image(better, gradient), self.now, self.best)
        self.best_gradient = torch.where(per_image(better, gradient), gradient, self.best_gradient)
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.hit = torch.where(per_image(firmer, gradient), self.now, self.hit)
        self.hit_loss = torch.where(firmer, loss, self.hit_loss)
        self.gradient, self.loss = gradient, torch.where(torch.isinf(self.loss), torch.zeros_like(loss), loss)

    def adapt(self, since: int, rho: float) -> None:
        """At a checkpoint: halve the step and go back to the best place, where no more than rho of the steps since
        the last one rose, or where neither the step size nor the best loss has changed since then."""
        stuck = ~self.halved & (self.best_loss <= self.checked_loss)
        self.halved = (self.rises <= rho * since) | stuck
        self.step = torch.where(self.halved, self.step / 2, self.step)
        back = per_image(self.halved, self.now)
        self.now, self.gradient = torch.where(back, self.best, self.now), torch.where(
            back, self.best_gradient, self.gradient)
        self.checked_loss, self.rises = self.best_loss, torch.zeros_like(self.rises)

    def move(self, attack, x, eps, first: bool) -> None:
        """z = P(x_k + eta * steepest);  x_k+1 = P(x_k + alpha (z - x_k) + (1 - alpha)(x_k - x_k-1))"""
        norm = NORMS[attack.norm]

        def inside(image):
            return (x + norm.project(image - x, eps)).clamp(0, 1)

        ahead = inside(self.now + per_image(self.step, x) * norm.steepest(self.gradient))
        share = 1.0 if first else MOMENTUM
        after = inside(self.now + share * (ahead - self.now) + (1 - share) * (self.now - self.before))
        self.before, self.now = self.now, after


def checkpoints_of(steps: int) -> list[int]:
    """w_1 = 0.22 steps, then intervals that start at 0.19 steps and shrink by 0.03 steps down to 0.06 steps.

    The parts are rounded down as in the authors' code; for 100 steps these are the paper's 22, 41, 57, 70, 80, 87, 93, 99.
    """
    interval, least, shrink = (max(1, int(share * steps)) for share in (0.22, 0.06, 0.03))
    found = [interval]
    while found[-1] + max(interval - shrink, least) < steps:
        interval = max(interval - shrink, least)
        found.append(found[-1] + interval)
    return found


@dataclass(frozen=True)
class _CrossEntropy(_APGD):
    _aims: ClassVar[int] = 1

    def _goals(self, model, x, y, target):
        return [target]

    def _loss(self, logits, y, goal):
        loss = F.cross_entropy(logits, y if goal is None else goal, reduction="none")
        return loss if goal is None else -loss


@dataclass(frozen=True)
class _Targeted(_APGD):
    steps: int = setting(20, 1, 200, 1)
    targets: int = setting(9, 1, 9, 1)

    @property
    def _aims(self) -> int:
        return self.targets

    def _goals(self, model, x, y, target):
        if target is not None:
            return [target]
        with torch.no_grad():
            others = model(x).scatter(1, y[:, None], -torch.inf)
        order = others.argsort(dim=1, descending=True)[:, :others.shape[1] - 1]
        return list(order[:, :self.targets].unbind(dim=1))

    def _loss(self, logits, y, goal):
        every = torch.arange(len(y), device=y.device)
        top = logits.sort(dim=1, descending=True).values
        spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2 if top.shape[1] > 3 else top[:, 0] - top[:, -1]
        return (logits[every, goal] - logits[every, y]) / (spread + 1e-12)


@dataclass(frozen=True)
class APGD(_CrossEntropy):
    """Auto-PGD on the cross-entropy in the L-inf ball (https://arxiv.org/abs/2003.01690, algorithm 1).

    From eta = 2 eps, the step size is halved at checkpoints where the loss has stopped rising, and the run goes on from
    the best place seen. z = P(x_k + eta sign(g));  x_k+1 = P(x_k + 0.75 (z - x_k) + 0.25 (x_k - x_k-1)).
    """

    title: ClassVar[str] = "APGD-CE (L-inf)"
    norm: ClassVar[str] = "linf"


@dataclass(frozen=True)
class APGDL2(_CrossEntropy):
    """The same in the L2 ball, along g / |g|_2."""

    title: ClassVar[str] = "APGD-CE (L2)"
    norm: ClassVar[str] = "l2"


@dataclass(frozen=True)
class APGDT(_Targeted):
    """Auto-PGD on the targeted difference of logits ratio, towards the likeliest wrong classes in turn.

    Raises -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), z_(k) the k-th largest logit: no scaling of the logits hides its
    gradient. With fewer than four classes the ratio is to z_(1) - z_(last). https://arxiv.org/abs/2003.01690
    """

    title: ClassVar[str] = "APGD-T (L-inf)"
    norm: ClassVar[str] = "linf"


@dataclass(frozen=True)
class APGDTL2(_Targeted):
    """The same in the L2 ball."""

    title: ClassVar[str] = "APGD-T (L2)"
    norm: ClassVar[str] = "l2"
