"""The attack of Carlini & Wagner 2017 for L2 (https://arxiv.org/abs/1608.04644)."""
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from core.attacks.base import Smallest, fooled, margin
from core.norms import per_image
from core.settings import setting

ROUNDS = 9  # values of c tried for an image at most, as in the paper
REFINED = 3  # rounds after the first success; more gain less than a thousandth of the distance
START = 0.95  # a start at |w| = artanh(0.95): further out, where black and white pixels are, tanh is flat
DECAY = 100  # the learning rate falls to a hundredth of itself in each round


@dataclass(frozen=True)
class CarliniWagner(Smallest):
    """Minimises |x' - x|_2^2 + c * max(margin(x') + confidence, 0) with Adam over w, x' = (tanh(w) + 1) / 2.

    margin(x') = z_y - max_k!=y z_k, or max_k!=t z_k - z_t towards a target t. c is searched for each image: it
    starts where the penalty would balance the distance on the linearised network, c = 2 margin(x) / |g|^2, and grows
    tenfold until the image is fooled. From then on each round starts from the best image found and takes its c from
    the condition that holds at a minimum, 2 |x' - x| = c |g|, which is what the paper's bisection closes in on.
    An image is done after three such rounds. At the end each perturbation is shortened along its line as far as it
    still fools. g = grad margin. https://arxiv.org/abs/1608.04644
    """

    title: ClassVar[str] = "Carlini-Wagner (L2)"
    norm: ClassVar[str] = "l2"
    paper: ClassVar[str] = "https://arxiv.org/abs/1608.04644"

    steps: int = setting(150, 10, 1000, 10)  # of Adam in each round
    learning_rate: float = setting(0.1, 0.001, 1.0, 0.01)
    confidence: float = setting(0.0, 0.0, 50.0, 0.5)

    @property
    def gradients(self) -> int:
        return ROUNDS * (self.steps + 1)

    def perturb(self, model, x, y, *, target, generator, on_step=None):
        search = _Search(model, x, y, target, self.confidence)
        steps_done = 0
        for number in range(ROUNDS):
            rows = search.unfinished()
            if not len(rows):
                break
            rate = self.learning_rate * (1 if number == 0 else 2)  # from a warm start larger steps pay
            search.round(rows, self.steps, rate, lambda k: on_step and on_step(steps_done + k))
            steps_done += self.steps
        return search.shortened(10)


class _Search:
    """The best image so far and the next c of each image of a batch."""

    def __init__(self, model, x: Tensor, y: Tensor, target: Tensor | None, confidence: float):
        self.model, self.x, self.y, self.target, self.confidence = model, x, y, target, confidence
        self.best = x.clone()
        self.distance = torch.full_like(y, torch.inf, dtype=x.dtype)  # squared
        self.rounds_after = torch.zeros_like(y)
        slope, lead = self._slope(x, slice(None), everywhere=True)
        self.c = 2 * (lead + confidence).clamp_min(1e-3) / _square(slope).clamp_min(1e-12)
        already = lead + confidence < 0  # nothing to do
        self.distance[already], self.rounds_after[already] = 0, REFINED + 1

    def unfinished(self) -> Tensor:
        return (self.rounds_after <= REFINED).nonzero()[:, 0]

    def round(self, rows: Tensor, steps: int, learning_rate: float, on_step) -> None:
        """One value of c for each image of `rows`, from the best image so far or, without one, from x."""
        known = self.distance[rows] < torch.inf
        if known.any():
            self.best[rows], _ = self._shortened(rows, 4)
            self.distance[rows] = torch.where(known, _square(self.best[rows] - self.x[rows]), torch.inf)
            slope, _ = self._slope(self.best[rows], rows, everywhere=True)
            balanced = 2 * self.distance[rows].sqrt() / _square(slope).sqrt().clamp_min(1e-12)
            # Twice that c: a penalty that only just balances lets the image slip back over the boundary.
            self.c[rows] = torch.where(known, 2 * balanced, self.c[rows])
        edge = torch.where(known, 1 - 1e-4, START).to(self.x)
        w = torch.atanh((2 * self.best[rows] - 1) * per_image(edge, self.x))
        self._descend(rows, w, self.c[rows], steps, learning_rate, on_step)
        found = self.distance[rows] < torch.inf
        self.rounds_after[rows] += found
        self.c[rows] = torch.where(found, self.c[rows], 10 * self.c[rows])

    def _descend(self, rows, w, c, steps, learning_rate, on_step) -> None:
        """Adam (https://arxiv.org/abs/1412.6980) with a cosine schedule; keeps the nearest image that fools."""
        x, first, second = self.x[rows], torch.zeros_like(w), torch.zeros_like(w)
        best, distance = self.best[rows], self.distance[rows]
        for k in range(1, steps + 1):
            adversarial = (torch.tanh(w) + 1) / 2
            slope, lead = self._slope(adversarial, rows)
            delta = adversarial - x
            size = _square(delta)
            better = (lead + self.confidence < 0) & (size < distance)
            distance, best = torch.where(better, size, distance), torch.where(per_image(better, x), adversarial, best)
            # d x' / d w = (1 - tanh^2 w) / 2 = 2 x' (1 - x')
            gradient = (2 * delta + per_image(c, x) * slope) * 2 * adversarial * (1 - adversarial)
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            cosine = (1 + math.cos(math.pi * (k - 1) / steps)) / 2
            rate = learning_rate * (1 / DECAY + (1 - 1 / DECAY) * cosine) / (1 - 0.9 ** k)
            w = w - rate * first / ((second / (1 - 0.999 ** k)).sqrt() + 1e-8)
            on_step(k)
        self.best[rows], self.distance[rows] = best, distance

    def _slope(self, adversarial: Tensor, rows, everywhere: bool = False) -> tuple[Tensor, Tensor]:
        """The gradient of max(margin + confidence, 0), or `everywhere` of the margin; and the margin."""
        adversarial = adversarial.detach().requires_grad_(True)
        lead = margin(self.model(adversarial), self.y[rows], None if self.target is None else self.target[rows])
        wanted = lead if everywhere else (lead + self.confidence).clamp_min(0)
        slope = torch.autograd.grad(wanted.sum(), adversarial)[0]
        return slope, lead.detach()

    def shortened(self, halvings: int) -> Tensor:
        """The best images, each pulled back along its line to x as far as it fools."""
        return self._shortened(torch.arange(len(self.x), device=self.x.device), halvings)[0]

    @torch.no_grad()
    def _shortened(self, rows: Tensor, halvings: int) -> tuple[Tensor, Tensor]:
        x, delta = self.x[rows], self.best[rows] - self.x[rows]
        target = None if self.target is None else self.target[rows]
        short, long = torch.zeros_like(self.distance[rows]), torch.ones_like(self.distance[rows])
        for _ in range(halvings if len(rows) else 0):
            middle = (short + long) / 2
            logits = self.model(x + per_image(middle, x) * delta)
            enough = fooled(logits, self.y[rows], target) & (margin(logits, self.y[rows], target) + self.confidence <= 0)
            short, long = torch.where(enough, short, middle), torch.where(enough, middle, long)
        return x + per_image(long, x) * delta, long


def _square(delta: Tensor) -> Tensor:
    """|delta|_2^2 of each image: [N]"""
    return delta.flatten(1).square().sum(dim=1)
