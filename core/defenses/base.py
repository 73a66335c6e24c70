"""What every defense has in common: image in, image out, settings in the constructor."""
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from core import settings


class Defense(nn.Module, ABC):
    """A change of the image before the network sees it: [N, C, H, W] in [0, 1] in and out.

    A defended network is `nn.Sequential(defense, model)`. Subclasses are dataclasses (eq=False) whose fields
    are their settings; `slider` names the integer one that a page moves live.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    differentiable: ClassVar[bool]
    randomized: ClassVar[bool]
    slider: ClassVar[str]

    def __post_init__(self):
        super().__init__()
        settings.check(self)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The defended images."""
