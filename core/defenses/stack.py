"""Several defenses, one behind the other."""
from torch import Tensor, nn

from core.defenses.base import Defense


class Stack(Defense):
    """Each defense on what the one before it left. No settings of its own, so it is in no registry."""

    title = "Stack"
    paper = "https://arxiv.org/abs/1711.00117"
    slider = ""

    def __init__(self, *defenses: Defense):
        nn.Module.__init__(self)
        self.defenses = defenses
        self.differentiable = all(each.differentiable for each in defenses)
        self.randomized = any(each.randomized for each in defenses)

    def forward(self, x: Tensor) -> Tensor:
        return self.drawn(x, 0)

    def drawn(self, x: Tensor, k: int) -> Tensor:
        for each in self.defenses:
            x = each.drawn(x, k)
        return x

    def secret(self) -> "Stack":
        return Stack(*(each.secret() for each in self.defenses))

    @property
    def draws(self) -> int:
        return max((each.draws for each in self.defenses), default=1)
