"""Report R2's CIFAR-10 network (its appendix A)."""
import torch
from torch import nn


class ConvNet6(nn.Module):
    """Six 3x3 convolutions with batch normalisation in pairs of 32, 64, 128 channels, max-pooling and dropout
    (.2, .3, .4) behind each pair, a dense layer of 128, dropout .5: 551,466 parameters on 32 x 32 RGB, and 896
    running statistics that R2 counts too (552,362). Logits out."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width, drop in ((32, 0.2), (64, 0.3), (128, 0.4)):
            for _ in range(2):
                layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU(), nn.BatchNorm2d(width)]
                channels = width
            layers += [nn.MaxPool2d(2), nn.Dropout(drop)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(16 * channels, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))
