"""Grad-CAM: where a layer's maps speak for a class (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391)."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.analysis.twin import twin
from core.errors import UserError


def convolutions(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, tuple[int, int]]:
    """The model's convolutions in the order in which they compute: module name -> height and width of its maps for
    images of `shape` [C, H, W]. Empty for a network without any."""
    copied, sizes = twin(model), {}

    def note(name):
        return lambda module, given, result: sizes.update({name: tuple(result.shape[2:])})

    for name, module in copied.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        copied(torch.zeros(1, *shape, device=next(model.parameters()).device))
    return sizes


def default_layer(layers: dict[str, tuple[int, int]]) -> str | None:
    """The last of `convolutions` whose map has more than one pixel; None where there is none."""
    return next((name for name, (height, width) in reversed(layers.items()) if height * width > 1), None)


def grad_cam(model: nn.Module, x: Tensor, classes: Tensor, layer: str | None = None) -> Tensor:
    """sum over k of (mean over pixels of d logit_c / d A_k) * A_k, where A_k are the maps that the convolution `layer`
    gives: x [N, C, H, W], classes [N] -> [N, H, W], scaled up bilinearly.

    Signed: the paper keeps the positive part. `layer` is one of `convolutions`, `default_layer` when None. Raises
    UserError when the network has no convolution, or none of that name.
    """
    layers = convolutions(model, x.shape[1:])
    layer = layer or default_layer(layers)
    if layer is None:
        raise UserError("saliency.no_convolution")
    if layer not in layers:
        raise UserError("saliency.layer", layer=layer, available=", ".join(layers))
    copied, kept = twin(model), []

    def cut(module, given, result):
        kept.append(result.detach().requires_grad_(True))  # only what lies behind the layer needs a gradient
        return kept[0]

    copied.get_submodule(layer).register_forward_hook(cut)
    score = copied(x.detach()).gather(1, classes[:, None]).sum()
    weights = torch.autograd.grad(score, kept[0])[0].mean(dim=(2, 3), keepdim=True)
    found = (weights * kept[0].detach()).sum(dim=1, keepdim=True)
    return F.interpolate(found, size=x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
