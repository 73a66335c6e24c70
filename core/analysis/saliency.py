"""Where a network looks: the gradient of a class score (Simonyan et al. 2014, https://arxiv.org/abs/1312.6034)."""
import torch
from torch import Tensor, nn


def gradient(model: nn.Module, x: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """d logit_c / d x for x [N, C, H, W] and a class each [N], the predicted one by default.

    Returns the gradient [N, C, H, W] and the logits [N, K] that the same forward pass gave.
    """
    x = x.detach().requires_grad_(True)
    logits = model(x)
    classes = logits.argmax(dim=1) if classes is None else classes
    score = logits.gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0], logits.detach()


def saliency(gradients: Tensor) -> Tensor:
    """The paper's map of gradients [N, C, H, W]: the largest magnitude over the channels, [N, H, W]."""
    return gradients.abs().amax(dim=1)
