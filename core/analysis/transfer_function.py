"""How strongly a network answers to each spatial frequency: Bode's diagram of a network, after report R2.

Gratings A cos(2 pi (u x / W + v y / H) + phase) of every frequency that an image carries lie over a background, and

    gain(u, v) = sqrt(2) RMS(response(background + grating) - response(background)) / A,

the root mean square over places, phases and backgrounds. For phases 2 pi k / P, P >= 3, the mean of cos^2 over them is
1/2 at every place, so for a linear filter the gain is |H(u, v)| exactly, at Nyquist too.
"""
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.analysis.spectrum import gratings, half_plane, radial
from core.analysis.twin import twin
from core.defenses.jpeg_steps import LUMINANCE, dct, quantization_table, to_blocks

BATCH = 256  # images that a forward pass takes
LOGITS = "logits"


@dataclass(frozen=True)
class Transfer:
    """Gains are in units of the layer's output for one unit of pixel value (0 black, 1 white)."""

    gain: Tensor  # [F, H, W]: of each of the layer's filters or units, zero frequency in the middle
    left: Tensor  # [H, W]: amplitude behind the defense / amplitude in; 1 without a defense
    erased: float  # share of the gratings, other than constant ones, of which the defense leaves nothing

    @property
    def mean(self) -> Tensor:
        """Mean gain over filters: [H, W]"""
        return self.gain.mean(dim=0)


class _Reached(Exception):
    """The layer has answered; what lies behind it need not be computed."""


def layers(model: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    """The convolutions and linear layers in the order in which they compute for images [C, H, W], then LOGITS."""
    copied, names = twin(model), []
    for name, module in copied.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(lambda module, given, result, name=name: names.append(name))
    with torch.no_grad():
        copied(torch.full((1, *shape), 0.5, device=next(model.parameters()).device))
    return [*dict.fromkeys(names), LOGITS]


def first_layer(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """The first convolution, or the first linear layer of a dense network: the first of `layers`."""
    return layers(model, shape)[0]


@torch.no_grad()
def transfer_function(model: nn.Module, shape: tuple[int, int, int], layer: str | None = None, *, phases: int = 4,
                      amplitude: float = 0.1, backgrounds: Tensor | None = None,
                      defense: nn.Module | None = None) -> Transfer:
    """The gain of `layer` (a module's name, LOGITS, or None for the first layer) for images [C, H, W].

    Gratings of `amplitude` A (in [0, 1], at most 0.5), the same in all channels, at `phases` (at least 3) phases over
    mid-grey, or over `backgrounds` [B, C, H, W] in [0, 1], which are squeezed into [A, 1 - A]: nothing is clipped.
    A layer of maps answers at all places; only of the first convolution those places that zero padding reaches are left
    out. `defense` (image -> image) comes before the network. Raises ValueError for other numbers or an unknown layer.
    """
    if phases < 3 or not 0 < amplitude <= 0.5:
        raise ValueError("three phases at least, and an amplitude in (0, 0.5]")
    device, (height, width) = next(model.parameters()).device, shape[1:]
    names = layers(model, shape)
    layer = layer or names[0]
    copied = twin(model)
    respond = _response(copied, layer, inside=layer == names[0])
    frequencies, places = half_plane(height, width)
    ground = torch.full((1, *shape), 0.5)
    if backgrounds is not None:
        ground = amplitude + (1 - 2 * amplitude) * backgrounds.cpu()
    defend = defense if defense is not None else nn.Identity()
    quiet = defend(ground)
    silence = respond(quiet.to(device))
    angles = 2 * math.pi * torch.arange(phases) / phases
    gain, left, erased = [], [], []
    per_batch = max(1, BATCH // (phases * len(ground)))
    for some in frequencies.split(per_batch):
        waves = amplitude * gratings(some, angles, height, width)  # [f, P, H, W]
        images = (ground + waves[:, :, None, None]).clamp(0, 1)  # against rounding: [f, P, B, C, H, W]
        seen = defend(images.flatten(0, 2)).view(images.shape)
        response = respond(seen.flatten(0, 2).to(device)).unflatten(0, images.shape[:3]) - silence
        gain.append(_rms(response, (1, 2, 4, 5)) * math.sqrt(2) / amplitude)
        change = seen - quiet
        left.append(_rms(change, (1, 2, 3, 4, 5)) * math.sqrt(2) / amplitude)
        there = waves.abs().amax(dim=(2, 3)) > 1e-3 * amplitude  # half of Nyquist's phases are 0 everywhere
        gone = (change.abs().amax(dim=(3, 4, 5)) == 0).float().mean(dim=2)
        erased.append((gone * there).sum(dim=1) / there.sum(dim=1))
    gone = torch.cat(erased)[places]
    gone[height // 2, width // 2] = 0
    return Transfer(torch.cat(gain).cpu().movedim(0, 1)[:, places], torch.cat(left)[places],
                    float(gone.sum() / (height * width - 1)))


def bode(gain: Tensor) -> Tensor:
    """The root mean square of gains [..., H, W] over each ring (`spectrum.radial`): [..., R]"""
    return radial(gain.square()).sqrt()


def tilt(gain: Tensor) -> float:
    """The gain [H, W] above half of Nyquist against that below, in dB: both root mean squares over rings, without the
    constant. Above 0 the high frequencies are answered more strongly."""
    curve = bode(gain).square()
    half = (len(curve) - 1) // 2
    low, high = curve[1:half + 1].mean(), curve[half + 1:].mean()
    return float(10 * torch.log10(high.clamp_min(1e-24) / low.clamp_min(1e-24)))


@torch.no_grad()
def jpeg_survival(quality: int, amplitude: float, height: int, width: int, *, phases: int = 4) -> Tensor:
    """How many quantisation steps the largest DCT coefficient of a grating of each frequency is, over blocks and
    phases, in JPEG's luminance at `quality`: centred [H, W]. Below 1/2 all of them are rounded to zero."""
    frequencies, places = half_plane(height, width)
    angles = 2 * math.pi * torch.arange(phases) / phases
    waves = 255 * amplitude * gratings(frequencies, angles, height, width)
    coefficients = dct(to_blocks(waves.flatten(0, 1).double())).abs()
    steps = coefficients / quantization_table(LUMINANCE, quality)
    return steps.view(len(frequencies), -1).amax(dim=1)[places].float()


def _response(copied: nn.Module, layer: str, inside: bool):
    """The function images -> what `layer` says to them, [N, F, h, w]; h and w are 1 for a layer without maps."""
    if layer == LOGITS:
        return lambda images: copied(images)[:, :, None, None]
    try:
        module = copied.get_submodule(layer)
    except AttributeError as error:
        raise ValueError(f"no layer {layer!r}") from error
    caught = []

    def catch(module, given, result):
        caught.append(result)
        raise _Reached

    module.register_forward_hook(catch)

    def respond(images: Tensor) -> Tensor:
        try:
            copied(images)
        except _Reached:
            pass
        result = caught.pop()
        if inside and isinstance(module, nn.Conv2d):
            return _without_border(module, result, images.shape[2:])
        return result if result.ndim == 4 else result[:, :, None, None]

    return respond


def _without_border(convolution: nn.Conv2d, result: Tensor, size: tuple[int, int]) -> Tensor:
    """The outputs [N, F, h, w] whose window lies within the image; all where none does, or nothing is filled with 0."""
    if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
        return result
    kept = []
    for axis, side in enumerate(size):
        begins = torch.arange(result.shape[2 + axis]) * convolution.stride[axis] - convolution.padding[axis]
        reach = convolution.dilation[axis] * (convolution.kernel_size[axis] - 1)
        within = ((begins >= 0) & (begins + reach < side)).nonzero()[:, 0].tolist()
        if not within:
            return result
        kept.append(slice(within[0], within[-1] + 1))
    return result[:, :, kept[0], kept[1]]


def _rms(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The root mean square over `dims`."""
    return torch.linalg.vector_norm(values, dim=dims) / math.sqrt(math.prod(values.shape[dim] for dim in dims))
