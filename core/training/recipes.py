"""How each network of assets/weights was trained: RECIPES, a plain dict. Kept as data in its card."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum under a one-cycle rate (Smith & Topin 2018, https://arxiv.org/abs/1708.07120)."""

    epochs: int
    batch_size: int
    learning_rate: float  # the highest of the cycle
    weight_decay: float
    augment: str  # "none", "crop" (random shift within `pad` pixels of padding) or "crop-flip"
    pad: int = 0
    label_smoothing: float = 0.0
    momentum: float = 0.9
    warm_up: float = 0.2  # share of the steps in which the rate rises
    seed: int = 0


RECIPES = {
    "tutorial-cnn": Recipe(20, 64, 0.05, 1e-4, "none"),
    "lenet5": Recipe(20, 64, 0.05, 5e-4, "none"),
    "convnet3": Recipe(25, 128, 0.06, 5e-4, "crop-flip", pad=4, label_smoothing=0.05),
    "resnet20": Recipe(75, 128, 0.15, 5e-4, "crop-flip", pad=4),
}
