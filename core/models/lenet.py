"""LeNet-5 (LeCun et al. 1998, http://yann.lecun.com/exdb/publis/pdf/lecun-01a.pdf), as it is used today."""
import torch
from torch import nn

from core.models.conv_pool import Features


class LeNet5(nn.Module):
    """LeNet-5 with ReLU and max-pooling, for 28 x 28 digits (padding 2) or 32 x 32 RGB. Logits out.

    61,706 parameters; `extra` layers of 256 units before the last make it deeper (report R2: 2, 4, 6, 10, 20 of
    them give 150,978 / 282,562 / 414,146 / 677,314 / 1,335,234). PyTorch's usual initialisation halves a signal at each
    ReLU layer, so that behind 20 of them nothing is left of it: with extra layers the dense ones start by
    He et al. 2015 (https://arxiv.org/abs/1502.01852), which keeps its variance.
    """

    def __init__(self, extra: int = 0, channels: int = 1):
        super().__init__()
        self.features = Features(
            nn.Conv2d(channels, 6, kernel_size=5, padding=2 if channels == 1 else 0), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2))
        widths = [400, 120, 84, *[256] * extra]
        dense = [layer for before, after in zip(widths, widths[1:]) for layer in (nn.Linear(before, after), nn.ReLU())]
        self.classifier = nn.Sequential(*dense, nn.Linear(widths[-1], 10))
        if extra:
            for layer in self.classifier:
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))
