"""First layers as images."""
import pytest
import torch
from torch import nn

from core.analysis.weights import first_layer, smoothness
from core.models.cards import MODELS

SHAPES = {"lenet5": (6, 1, 5, 5), "tutorial-cnn": (10, 1, 5, 5), "convnet3": (64, 3, 3, 3), "resnet20": (16, 3, 3, 3),
          "softmax": (10, 1, 28, 28), "logistic37": (10, 1, 28, 28), "maxout": (1200, 1, 28, 28),
          "rbf": (300, 1, 28, 28), "lenet5-ensemble": (6, 1, 5, 5), "convnet6-bn": (32, 3, 3, 3), "cnn-pgd": (16, 1, 5, 5)}


@pytest.mark.parametrize("name", SHAPES)
def test_each_unit_is_an_image(name):
    found = first_layer(MODELS[name].build())
    assert found.shape == SHAPES[name] and not found.requires_grad


def test_linear_networks_show_what_a_pixel_does_to_a_class():
    network = MODELS["logistic37"].build()
    images = first_layer(network)
    assert torch.equal(images[3], -images[7]) and not images[[0, 1, 2, 4, 5, 6, 8, 9]].any()
    x = torch.rand(1, 1, 28, 28)
    changed = x.clone()
    changed[0, 0, 10, 11] += 1
    difference = (network(changed) - network(x))[0, 3]
    assert torch.allclose(difference, images[3, 0, 10, 11], atol=1e-4)


def test_other_shapes_are_refused():
    for network in (nn.Sequential(nn.Flatten(), nn.Linear(100, 3)), nn.ReLU()):
        with pytest.raises(ValueError, match="drawn"):
            first_layer(network)


def test_smoothness_tells_noise_from_strokes():
    noise = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 1, 28).expand(3, 1, 28, 28)
    board = ((torch.arange(28)[:, None] + torch.arange(28)) % 2).float().expand(3, 1, 28, 28)
    assert abs(smoothness(noise)) < 0.05 and smoothness(ramp) > 0.99 and smoothness(board) < -0.99
