"""What every defense has in common: image in, image out, settings in the constructor."""
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from core import settings


class Defense(nn.Module, ABC):
    """A change of the image before the network sees it: [N, C, H, W] in [0, 1] in and out.

    `defend` puts it before a network. Subclasses are dataclasses (eq=False) whose fields are their settings;
    `slider` names the one that a page moves live.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    differentiable: ClassVar[bool]
    randomized: ClassVar[bool] = False
    slider: ClassVar[str]

    def __post_init__(self):
        super().__init__()
        settings.check(self)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The defended images."""

    def drawn(self, x: Tensor, k: int) -> Tensor:
        """Draw k of a randomized defense; any other has only the one answer."""
        return self(x)

    def twin(self, x: Tensor) -> Tensor | None:
        """A smooth stand-in that an attacker may differentiate in place of the defense; None where there is none."""
        return None

    def secret(self) -> "Defense":
        """The defense as an attacker has it: one that draws at random draws otherwise."""
        return self

    @property
    def draws(self) -> int:
        """How many draws the defended network takes a vote over."""
        return 1

    def defend(self, model: nn.Module) -> nn.Module:
        """The defended network: images in, logits out."""
        return nn.Sequential(self, model) if self.draws == 1 else Vote(self, model)


class Vote(nn.Module):
    """The network's answers to `defense.draws` draws, told by majority (Cohen et al. 2019,
    https://arxiv.org/abs/1902.02918)."""

    def __init__(self, defense: Defense, model: nn.Module):
        super().__init__()
        self.defense, self.model = defense, model

    def forward(self, x: Tensor) -> Tensor:
        return tally([self.model(self.defense.drawn(x, k)) for k in range(self.defense.draws)])


def tally(answers: list[Tensor]) -> Tensor:
    """Logits whose softmax is the share of the `answers` (logits [N, K] each) that name each class. A tie goes to the
    class that the answers are surer of; a single answer stays as it is."""
    if len(answers) == 1:
        return answers[0]
    shares = torch.stack(answers).softmax(dim=2)  # [draws, N, K]
    votes = nn.functional.one_hot(shares.argmax(dim=2), shares.shape[2]).to(shares).mean(dim=0)
    return torch.log(votes + 1e-3 / len(answers) * shares.mean(dim=0) + 1e-12)


def positions(kind: type[Defense]) -> tuple:
    """Where the slider of a defense can stand, from its setting's range and step."""
    each = next(each for each in settings.settings_of(kind) if each.name == kind.slider)
    count = round((each.high - each.low) / each.step)
    return tuple(each.kind(round(each.low + k * each.step, 6)) for k in range(count + 1))
