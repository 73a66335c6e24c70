"""A wider network for digits, after Madry et al. 2018 (https://arxiv.org/abs/1706.06083): robustness takes capacity."""
import torch
from torch import nn

from core.models.conv_pool import Features


class WideCNN(nn.Module):
    """Two 5x5 convolutions (16 and 32 channels), each with max-pooling, 512 units: 821,706 parameters. Logits out.

    Half as wide as the network of Madry et al., with two to three times LeNet-5's channels.
    """

    def __init__(self):
        super().__init__()
        self.features = Features(
            nn.Conv2d(1, 16, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Linear(49 * 32, 512), nn.ReLU(), nn.Linear(512, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))
