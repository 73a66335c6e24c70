"""The network of PyTorch's FGSM tutorial as it was until 2023; the page shows a larger one since.

https://docs.pytorch.org/tutorials/beginner/fgsm_tutorial.html
"""
import torch
from torch import nn
from torch.nn import functional as F

from core.models.conv_pool import conv_pool_relu


class TutorialCNN(nn.Module):
    """Two 5x5 convolutions (10 and 20 channels), dropout, 320-50-10: 21,840 parameters. Logits out.

    Layer names are those of the checkpoint published with it, so that it loads as it is. The tutorial's
    ends in log-softmax; the cross-entropy of logits is the same loss.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = conv_pool_relu(self.conv1, x)
        x = self.conv2_drop(conv_pool_relu(self.conv2, x))  # whole channels: the same before pooling and after
        x = F.dropout(F.relu(self.fc1(x.flatten(1))), training=self.training)
        return self.fc2(x)
