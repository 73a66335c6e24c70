"""ResNet for CIFAR-10 (He et al. 2015, section 4.2, https://arxiv.org/abs/1512.03385)."""
import torch
from torch import nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn plus a shortcut of kind A: subsample and pad channels with zeros, no parameters."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.padding = stride, (width - channels) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.padding:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(out + x)


class ResNet(nn.Module):
    """6n + 2 layers in three stages of w, 2w, 4w channels; n = 3, w = 16 is ResNet-20: 269,722 parameters on RGB.

    With `stride` 2 the first convolution halves the image, which pays for wide stages: n = 2, w = 64 is our ResNet-14
    wide, 2,735,946 parameters, ten times ResNet-20's for two and a half times its cost.

    Logits out. Layer names are those of the widely used public CIFAR-10 checkpoints (layer1.0.conv1 ..., linear).
    """

    def __init__(self, blocks: int = 3, width: int = 16, channels: int = 3, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(blocks, width, width, stride=1)
        self.layer2 = self._stage(blocks, width, 2 * width, stride=2)
        self.layer3 = self._stage(blocks, 2 * width, 4 * width, stride=2)
        self.linear = nn.Linear(4 * width, 10)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(blocks: int, channels: int, width: int, stride: int) -> nn.Sequential:
        first = BasicBlock(channels, width, stride)
        return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean(dim=(2, 3)))
