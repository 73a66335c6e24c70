"""The shortcut through oneDNN's layout gives what PyTorch's own operations give, and steps aside where it must."""
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.models.conv_pool import WORTH_IT, Features, conv_pool_relu


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [1, WORTH_IT, 100])
@pytest.mark.parametrize("channels, filters, size, padding, side", [(1, 10, 5, 0, 28), (3, 64, 3, 1, 32), (2, 4, 3, 0, 11)])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values_are_pytorchs(count, channels, filters, size, padding, side, memory_format):
    conv = nn.Conv2d(channels, filters, size, padding=padding).to(memory_format=memory_format)
    x = images(count, channels, side, side).contiguous(memory_format=memory_format)
    with torch.no_grad():
        expected = F.max_pool2d(F.conv2d(x, conv.weight, conv.bias, padding=padding), 2).relu()
        torch.testing.assert_close(conv_pool_relu(conv, x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("filters, size, padding", [(10, 5, 0), (6, 5, 2), (4, 3, 1), (3, 1, 0)])
@pytest.mark.parametrize("flat", [False, True])
def test_the_gradient_of_grey_images_is_pytorchs(filters, size, padding, flat):
    """Also where whole areas are flat, so that every window is a tie and only the first pixel may count."""
    conv = nn.Conv2d(1, filters, size, padding=padding).requires_grad_(False)
    x = images(WORTH_IT, 1, 28, 28)
    x = (x > 0.97).float() * 0.3 if flat else x
    gradients = []
    for forward in (conv_pool_relu, lambda layer, each: F.relu(F.max_pool2d(layer(each), 2))):
        leaf = x.clone().requires_grad_(True)
        result = forward(conv, leaf)
        gradients.append(torch.autograd.grad((result * torch.arange(result.numel()).view(result.shape).cos()).sum(), leaf)[0])
    assert type(conv_pool_relu(conv, leaf).grad_fn).__name__ == "ConvPoolReLUBackward", "else nothing is compared"
    torch.testing.assert_close(*gradients, rtol=0, atol=2e-6)


def test_features_are_the_sequence_with_its_names_gradient_and_hooks():
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AvgPool2d(2)]
    fast, plain = Features(*layers), nn.Sequential(*copy.deepcopy(layers))
    assert fast.state_dict().keys() == plain.state_dict().keys()
    x = images(WORTH_IT, 1, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-5)
    gradients = []
    for network in (fast, plain):
        leaf = x.clone().requires_grad_(True)
        gradients.append(torch.autograd.grad((network(leaf) ** 2).sum(), leaf)[0])
    assert torch.equal(*gradients)
    seen = []
    for layer in fast:
        layer.register_forward_hook(lambda module, given, result: seen.append(type(module)))
    with torch.no_grad():
        fast(x)
    assert seen == [type(layer) for layer in layers]
