"""Where a network looks: maps of what each pixel counts for the score (logit) of a class.

The gradient is that of Simonyan et al. 2014 (https://arxiv.org/abs/1312.6034); METHODS has the others. Nothing is
stored on the model, so threads may share it.
"""
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.analysis.grad_cam import grad_cam

BATCH = 256  # images a forward pass takes at most
SAMPLES, SIGMA = 50, 0.15  # of SmoothGrad: the paper finds little gain above 50, and 10 to 20 % noise best
STEPS, TOLERANCE, MOST = 64, 0.01, 5184  # of integrated gradients: the first sum, its error, the last sum


def gradient(model: nn.Module, x: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """d logit_c / d x for x [N, C, H, W] and a class each [N], the predicted one by default.

    Returns the gradient [N, C, H, W] and the logits [N, K] that the same forward pass gave.
    """
    x = x.detach().requires_grad_(True)
    logits = model(x)
    classes = logits.argmax(dim=1) if classes is None else classes
    score = logits.gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0], logits.detach()


def smooth_grad(model: nn.Module, x: Tensor, classes: Tensor, *, samples: int = SAMPLES, sigma: float = SIGMA,
                generator: torch.Generator | None = None) -> Tensor:
    """SmoothGrad (Smilkov et al. 2017, https://arxiv.org/abs/1706.03825): mean over k of d logit_c / d x at x + n_k.

    x [N, C, H, W] in [0, 1], classes [N] -> [N, C, H, W]. n_k is Gaussian with deviation `sigma`, a share of the pixel
    range. All images get the same n_k, so that a map depends neither on its batch nor, from one image to the next, on
    the luck of a draw. The generator is on the CPU; seed 0 by default.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    noise = sigma * torch.randn(samples, 1, *x.shape[1:], generator=generator).to(x.device)
    return _summed(model, lambda some: x + noise[some], samples, classes) / samples


def integrated_gradients(model: nn.Module, x: Tensor, classes: Tensor, *, baseline: Tensor | None = None,
                         steps: int = STEPS, tolerance: float = TOLERANCE) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365), from `baseline` b, black or
    images [1 or N, C, H, W]: (x - b) * integral over a from 0 to 1 of d logit_c / d x at b + a (x - b).

    x [N, C, H, W], classes [N] -> [N, C, H, W]. Completeness: the attributions sum to logit_c(x) - logit_c(b). The
    integrand of a ReLU network jumps, so the midpoint rule is as good as any: Gauss-Legendre needs more steps. `steps`
    are tripled, which keeps those already taken, for images whose sum misses by more than `tolerance` of that
    difference (of one logit where it is smaller), to at most MOST steps.
    """
    baseline = torch.zeros_like(x) if baseline is None else baseline.expand_as(x)
    with torch.no_grad():
        rise = (model(x) - model(baseline)).gather(1, classes[:, None])[:, 0]
    total, attributions, rows = torch.zeros_like(x), torch.zeros_like(x), torch.arange(len(x), device=x.device)
    taken = (torch.arange(steps, dtype=x.dtype, device=x.device) + 0.5) / steps
    while len(rows):
        start, way = baseline[rows], x[rows] - baseline[rows]
        total[rows] += _summed(model, lambda some: start + taken[some].view(-1, 1, 1, 1, 1) * way, len(taken),
                               classes[rows])
        attributions[rows] = way * total[rows] / steps
        missing = (attributions.flatten(1).sum(dim=1) - rise).abs() > tolerance * rise.abs().clamp_min(1)
        rows, steps = rows[missing[rows]], 3 * steps
        if steps > MOST:
            break
        finer = torch.arange(steps, dtype=x.dtype, device=x.device)
        taken = (finer[finer % 3 != 1] + 0.5) / steps  # the middle of each three is taken already
    return attributions


def _summed(model: nn.Module, copies: Callable[[slice], Tensor], count: int, classes: Tensor) -> Tensor:
    """The sum of the gradients at `count` copies of a batch, where copies(a slice) gives some: [k, N, C, H, W]."""
    total, many = torch.zeros((), device=classes.device), max(1, BATCH // max(1, len(classes)))
    for start in range(0, count, many):
        some = copies(slice(start, min(start + many, count)))
        found, _ = gradient(model, some.flatten(0, 1), classes.repeat(len(some)))
        total = total + found.view_as(some).sum(dim=0)
    return total


def saliency(gradients: Tensor) -> Tensor:
    """Simonyan et al.'s map of gradients [N, C, H, W]: the largest magnitude over the channels, [N, H, W]."""
    return gradients.abs().amax(dim=1)


def signed(attributions: Tensor) -> Tensor:
    """The sum over the channels of [N, C, H, W]: [N, H, W], above 0 what speaks for the class."""
    return attributions.sum(dim=1)


@dataclass(frozen=True)
class Maps:
    """One attribution of N images, drawn in two ways."""

    signed: Tensor  # [N, H, W]: above 0 speaks for the class, below 0 against it
    magnitude: Tensor  # [N, H, W]: how much each pixel counts. For Grad-CAM what is above 0 of it


Method = Callable[..., Maps]  # (model, x, classes, *, layer, seed)


def _of_pixels(attribute: Callable[[nn.Module, Tensor, Tensor, int], Tensor]) -> Method:
    def method(model: nn.Module, x: Tensor, classes: Tensor, *, layer: str | None = None, seed: int = 0) -> Maps:
        attributions = attribute(model, x, classes, seed)
        return Maps(signed(attributions), saliency(attributions))
    return method


def _of_layer(model: nn.Module, x: Tensor, classes: Tensor, *, layer: str | None = None, seed: int = 0) -> Maps:
    found = grad_cam(model, x, classes, layer)
    return Maps(found, found.clamp_min(0))


# name -> (model, x [N, C, H, W], classes [N], *, layer, seed) -> Maps. Each uses what it needs of layer and seed.
METHODS: dict[str, Method] = {
    "gradient": _of_pixels(lambda model, x, classes, seed: gradient(model, x, classes)[0]),
    "smoothgrad": _of_pixels(lambda model, x, classes, seed: smooth_grad(
        model, x, classes, generator=torch.Generator().manual_seed(seed))),
    "integrated": _of_pixels(lambda model, x, classes, seed: integrated_gradients(model, x, classes)),
    "grad-cam": _of_layer,
}
NEEDS_CONVOLUTION = ("grad-cam",)
