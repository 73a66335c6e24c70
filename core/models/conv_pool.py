"""Convolution, ReLU and 2 x 2 max-pooling in a row, fast on a CPU."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.models import grey_gradient

WORTH_IT = 64  # images: below, the preparations cost more than they save


def conv_pool_relu(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """relu(max_pool2d(conv(x), 2)): x [N, C, H, W] -> [N, O, H' // 2, W' // 2], H' x W' what the convolution gives.

    Without gradients the three stay in the layout that oneDNN, PyTorch's engine on CPUs, chooses for itself, and
    the pooling does not record where each maximum came from: a fifth to a quarter off the whole network's time. With
    them, grey images have a gradient of their own (`grey_gradient`): a fifth off too.
    """
    if len(x) < WORTH_IT or not _at_home(x, conv):
        return F.relu(F.max_pool2d(conv(x), 2))
    if torch.is_grad_enabled():
        if x.requires_grad and grey_gradient.suits(conv, x):
            return grey_gradient.ConvPoolReLU.apply(x, conv.weight, conv.bias, conv.padding[0])
        return F.relu(F.max_pool2d(conv(x), 2))
    x = torch.conv2d(x.to_mkldnn(), conv.weight.to_mkldnn(), conv.bias.to_mkldnn(), padding=conv.padding)
    return F.max_pool2d(x, 2).relu_().to_dense()


def _at_home(x: Tensor, conv: nn.Conv2d) -> bool:
    """A convolution that oneDNN takes and that nobody watches with a hook."""
    return (x.device.type == "cpu" and x.dtype == conv.weight.dtype == torch.float32 and conv.bias is not None
            and not conv._forward_hooks and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available())


class Features(nn.Sequential):
    """nn.Sequential in which Conv2d, ReLU, MaxPool2d(2) in a row are computed by `conv_pool_relu`."""

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self)
        if any(layer._forward_hooks for layer in layers):
            return super().forward(x)
        while layers:
            if [type(layer) for layer in layers[:3]] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]:
                x = conv_pool_relu(layers[0], x)
                del layers[:3]
            else:
                x = layers.pop(0)(x)
        return x
