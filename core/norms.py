"""L-inf, L2 and L0 of perturbations: measure, project, random start, steepest ascent direction.

Perturbations are [N, C, H, W]; radii `eps` are tensors [N]. An iterated attack needs nothing else from a norm.
"""
from abc import ABC, abstractmethod

import torch
from torch import Tensor


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """[N] -> [N, 1, 1, 1], to multiply images with."""
    return values.view(-1, *[1] * (like.ndim - 1))


def l0(delta: Tensor) -> Tensor:
    """How many pixels differ, counting a pixel once whatever its channels: [N]."""
    return (delta != 0).any(dim=1).flatten(1).sum(dim=1)


class Norm(ABC):
    """What an epsilon-bounded attack asks of a norm."""

    @abstractmethod
    def measure(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation: [N]."""

    @abstractmethod
    def project(self, delta: Tensor, eps: Tensor) -> Tensor:
        """The nearest perturbation inside each ball of radius eps."""

    @abstractmethod
    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform in the unit ball, one draw an image (always drawn on the CPU: one seed, every device)."""

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """argmax of <gradient, d> over unit d: the direction of steepest ascent. 0 where the gradient is 0."""


class LInf(Norm):
    """max |delta|"""

    def measure(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).abs().amax(dim=1)

    def project(self, delta: Tensor, eps: Tensor) -> Tensor:
        eps = per_image(eps, delta)
        return delta.clamp(-eps, eps)

    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        return (2 * torch.rand(like.shape, generator=generator) - 1).to(like)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()


class L2(Norm):
    """sqrt(sum of delta squared)"""

    def measure(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).norm(dim=1)

    def project(self, delta: Tensor, eps: Tensor) -> Tensor:
        return delta * per_image((eps / self.measure(delta).clamp_min(1e-12)).clamp_max(1), delta)

    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        gaussian = torch.randn(like.shape, generator=generator)
        radius = torch.rand(len(like), generator=generator) ** (1 / like.shape[1:].numel())
        return (gaussian * per_image(radius / gaussian.flatten(1).norm(dim=1), gaussian)).to(like)

    def steepest(self, gradient: Tensor) -> Tensor:
        # Dividing by the largest entry first keeps tiny gradients of confident networks from underflowing.
        largest = per_image(gradient.flatten(1).abs().amax(dim=1), gradient)
        scaled = torch.where(largest > 0, gradient / largest, 0)
        return scaled / per_image(self.measure(scaled).clamp_min(1e-12), scaled)


NORMS: dict[str, Norm] = {"linf": LInf(), "l2": L2()}
