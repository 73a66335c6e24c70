"""A shallow network of radial basis functions: Goodfellow et al. 2015 (https://arxiv.org/abs/1412.6572, section 7)
find such networks unsure, and so hard to fool with confidence, far from what they know."""
import torch
from torch import Tensor, nn


class RBF(nn.Module):
    """h_i = exp(-b_i |x - c_i|^2 / 784), z = W h + c on 28 x 28 digits, 300 centres: 238,510 parameters. Logits out.

    The centres start on training images (`start_from`) and are learnt with the rest; b_i = exp(log_b_i).
    """

    def __init__(self, centres: int = 300):
        super().__init__()
        self.centres = nn.Parameter(torch.rand(centres, 784))
        self.log_b = nn.Parameter(torch.full((centres,), 3.0))
        self.linear = nn.Linear(centres, 10)

    def start_from(self, x: Tensor) -> None:
        """Put the centres on the first of x [N, 1, 28, 28]."""
        with torch.no_grad():
            self.centres.copy_(x[:len(self.centres)].flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        squared = x.square().sum(1, keepdim=True) - 2 * x @ self.centres.t() + self.centres.square().sum(1)
        return self.linear(torch.exp(-self.log_b.exp() * squared.clamp_min(0) / 784))
