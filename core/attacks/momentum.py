"""The momentum iterative method of Dong et al. 2018 (https://arxiv.org/abs/1710.06081)."""
from dataclasses import dataclass
from typing import ClassVar

import torch

from core.attacks.base import Bounded, Rows, fooled, gradient_and_logits
from core.norms import per_image
from core.settings import setting


@dataclass(frozen=True)
class MIFGSM(Bounded):
    """Iterated FGSM along an average of the gradients, which leaves poor maxima and transfers better.

    m_k+1 = decay * m_k + g / |g|_1, g = grad CE(f(x_k), y);  x_k+1 = clamp(P(x_k + eps / steps * sign(m_k+1))), m_0 =
    0, x_0 = x. With a target t, minus the gradient of CE(f(x_k), t). https://arxiv.org/abs/1710.06081
    """

    title: ClassVar[str] = "MI-FGSM"
    norm: ClassVar[str] = "linf"
    paper: ClassVar[str] = "https://arxiv.org/abs/1710.06081"
    iterated: ClassVar[bool] = True

    steps: int = setting(10, 1, 200, 1)
    decay: float = setting(1.0, 0.0, 2.0, 0.1)

    @property
    def gradients(self) -> int:
        return self.steps

    def perturb(self, model, x, y, eps, *, target, generator, on_step=None, early=False):
        rows, adversarial, average = Rows(x, y, eps, target), x, torch.zeros_like(x)
        for k in range(self.steps):
            gradient, logits = gradient_and_logits(model, adversarial, rows.y, rows.target)
            if early:
                kept = rows.leave(fooled(logits, rows.y, rows.target), adversarial)
                if kept is not None:
                    adversarial, average, gradient = adversarial[kept], average[kept], gradient[kept]
                if not len(adversarial):
                    break
            size = gradient.flatten(1).abs().sum(dim=1)
            average = self.decay * average + torch.where(per_image(size > 0, gradient),
                                                         gradient / per_image(size, gradient), 0)
            bound = per_image(rows.eps, rows.x)
            adversarial = adversarial + bound / self.steps * average.sign()
            adversarial = (rows.x + (adversarial - rows.x).clamp(-bound, bound)).clamp(0, 1)
            if on_step:
                on_step(k + 1)
        return rows.put_back(adversarial)
