"""Our max-pooling is PyTorch's: to the bit without gradients, and with its choice at ties with them."""
import pytest
import torch
from torch.nn import functional as F

from core.models.pooling import MaxPool2


@pytest.mark.parametrize("size", [(3, 5, 8, 8), (2, 1, 7, 9), (1, 10, 24, 24)])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values_and_gradients_are_pytorchs(size, memory_format):
    x = torch.randint(0, 3, size, generator=torch.Generator().manual_seed(0)).float()  # three values: many ties
    x = x.contiguous(memory_format=memory_format)
    with torch.no_grad():
        assert torch.equal(MaxPool2()(x), F.max_pool2d(x, 2))
    gradients = []
    for pool in (MaxPool2(), lambda each: F.max_pool2d(each, 2)):
        leaf = x.clone().requires_grad_(True)
        gradients.append(torch.autograd.grad((pool(leaf) ** 2).sum(), leaf)[0])
    assert torch.equal(*gradients)
