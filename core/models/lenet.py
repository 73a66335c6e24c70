"""LeNet-5 (LeCun et al. 1998, http://yann.lecun.com/exdb/publis/pdf/lecun-01a.pdf), as it is used today."""
import torch
from torch import nn

from core.models.conv_pool import Features


class LeNet5(nn.Module):
    """LeNet-5 with ReLU, max-pooling and padding 2 on 28 x 28 digits: 61,706 parameters. Logits out."""

    def __init__(self):
        super().__init__()
        self.features = Features(
            nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))
