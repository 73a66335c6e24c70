"""Linear networks, on which "Explaining and Harnessing Adversarial Examples" can be checked with pencil and paper
(Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572)."""
import torch
from torch import Tensor, nn

NEVER = -1e4  # the logit of a class that a network cannot name; finite, so that losses and gradients are


class SoftmaxRegression(nn.Module):
    """z = W x + b on 28 x 28 digits: 7,850 parameters. Logits out."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))

    def class_weights(self) -> Tensor:
        """What each pixel adds to each class's logit: [10, 784]."""
        return self.linear.weight


class ThreeOrSeven(nn.Module):
    """Logistic regression s = w x + b, P(3) = sigmoid(s), P(7) = 1 - P(3): 785 parameters. Ten logits out.

    s / 2 for class 3 and -s / 2 for class 7, so that their softmax is the sigmoid; the other eight are never named.
    """

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = self.linear(x.flatten(1))[:, 0] / 2
        never = torch.full_like(s, NEVER)
        return torch.stack([{3: s, 7: -s}.get(k, never) for k in range(10)], dim=1)

    def class_weights(self) -> Tensor:
        """What each pixel adds to each class's logit: [10, 784]."""
        w = self.linear.weight[0] / 2
        return torch.stack([{3: w, 7: -w}.get(k, torch.zeros_like(w)) for k in range(10)])
