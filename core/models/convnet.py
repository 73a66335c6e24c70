"""Report R3's CIFAR-10 network: (convolution + ReLU + max-pool) x 3, average pool, fc, ReLU, fc."""
import torch
from torch import nn

from core.models.conv_pool import Features


class ConvNet3(nn.Module):
    """Three 3x3 convolutions (64, 128, 256 channels) on 32 x 32 RGB: 437,066 parameters. Logits out."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width in (64, 128, 256):
            layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        self.features = Features(*layers, nn.AvgPool2d(2))
        self.classifier = nn.Sequential(nn.Linear(4 * channels, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))
