"""DeepFool of Moosavi-Dezfooli et al. 2016 (https://arxiv.org/abs/1511.04599)."""
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from core.attacks.base import Smallest, margin
from core.norms import per_image
from core.settings import setting

FIRM = 2e-4  # logits by which an image must be across: in another batch the network rounds in another way

@dataclass(frozen=True)
class DeepFool(Smallest):
    """Steps to the nearest boundary of the network made linear, until the image is fooled.

    For each class k: f_k = z_k - z_y, w_k = grad f_k; to the class with the smallest |f_k| / |w_k|_2 the step is
    r = |f_k| / |w_k|_2^2 * w_k. x' = clamp(x + (1 + overshoot) * sum of r). Towards a target only that class counts.
    https://arxiv.org/abs/1511.04599
    """

    title: ClassVar[str] = "DeepFool (L2)"
    norm: ClassVar[str] = "l2"
    paper: ClassVar[str] = "https://arxiv.org/abs/1511.04599"

    steps: int = setting(50, 1, 200, 1)
    overshoot: float = setting(0.02, 0.0, 1.0, 0.01)

    @property
    def gradients(self) -> int:
        return self.steps

    def perturb(self, model, x, y, *, target, generator, on_step=None):
        adversarial, total = x.clone(), torch.zeros_like(x)
        rows = torch.arange(len(x), device=x.device)
        for k in range(self.steps):
            goals = None if target is None else target[rows]
            logits, slopes = _jacobian(model, adversarial[rows])
            going = margin(logits, y[rows], goals) > -FIRM
            if not going.any():
                break
            rows, logits, slopes = rows[going], logits[going], slopes[going]
            total[rows] += _to_the_boundary(logits, slopes, y[rows], None if target is None else target[rows])
            adversarial[rows] = (x[rows] + (1 + self.overshoot) * total[rows]).clamp(0, 1)
            if on_step:
                on_step(k + 1)
        return adversarial


def _jacobian(model, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N, K] and their gradients [N, K, C, H, W]."""
    x = x.detach().requires_grad_(True)
    logits = model(x)
    slopes = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in logits.unbind(dim=1)]
    return logits.detach(), torch.stack(slopes, dim=1)


def _to_the_boundary(logits: Tensor, slopes: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """The shortest step [N, C, H, W] that would reach another class (or the target) if the network were linear."""
    every = torch.arange(len(y), device=y.device)
    leads = (logits - logits[every, y, None]).abs()
    slopes = slopes - slopes[every, y][:, None]
    lengths = slopes.flatten(2).norm(dim=2)
    distances = leads / lengths.clamp_min(1e-12)
    distances[every, y] = torch.inf
    nearest = distances.argmin(dim=1) if target is None else target
    # A little more than the distance: where a step lands on the boundary itself nothing would move any more.
    size = (leads[every, nearest] + 2 * FIRM) / lengths[every, nearest].clamp_min(1e-12) ** 2
    step = per_image(size, slopes[:, 0]) * slopes[every, nearest]
    return torch.where(per_image(lengths[every, nearest] > 1e-12, step), step, 0)
