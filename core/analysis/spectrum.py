"""The Fourier transform of an image or a perturbation."""
import torch
from torch import Tensor


def magnitude(images: Tensor) -> Tensor:
    """|FFT| of [N, C, H, W], mean over channels, zero frequency in the middle: [N, H, W]."""
    return torch.fft.fftshift(torch.fft.fft2(images).abs().mean(dim=1), dim=(-2, -1))


def decibels(values: Tensor, floor: float = -60.0) -> Tensor:
    """20 log10(values / their maximum over everything), not below `floor`. All `floor` where all is zero."""
    top = values.max()
    if top == 0:
        return torch.full_like(values, floor)
    return (20 * torch.log10((values / top).clamp_min(1e-12))).clamp_min(floor)
