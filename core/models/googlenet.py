"""GoogLeNet (Szegedy et al. 2015, https://arxiv.org/abs/1409.4842): torchvision's, with one input channel."""
from torch import nn

from core.vision import torchvision


def googlenet() -> nn.Module:
    """Inception v1 for 28 x 28 digits, without its auxiliary classifiers: 5,603,882 parameters. Logits out."""
    network = torchvision().models.GoogLeNet(num_classes=10, aux_logits=False, init_weights=False)
    network.conv1.conv = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network
