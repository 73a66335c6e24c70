"""What a recipe minimises on one batch."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.attacks import PGD
from core.attacks.base import draw, gradient_and_logits
from core.training.recipes import Recipe


def adversarial_batch(network: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, eps: float,
                      generator: torch.Generator) -> Tensor:
    """x' [N, C, H, W]: `recipe.steps` steps of PGD within eps of x on the network as it is now; for "noisy" one step
    of eps from noise of 2 eps, clamped to [0, 1]."""
    if recipe.method == "noisy":
        noisy = (x + 2 * eps * draw("linf", x, generator)).clamp(0, 1)
        gradient, _ = gradient_and_logits(network, noisy, y, None)
        return (noisy + eps * gradient.sign()).clamp(0, 1).detach()
    attack = PGD(steps=recipe.steps, step_size=recipe.step_size, random_start=recipe.random_start)
    radii = torch.full((len(x),), eps, device=x.device)
    return attack.perturb(network, x, y, radii, target=None, generator=generator).detach()


def adversarial_loss(network: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, eps: float,
                     generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """alpha CE(f(x), y) + (1 - alpha) CE(f(x'), y), and the logits of what the network was shown last: x'."""
    attacked = adversarial_batch(network, x, y, recipe, eps, generator)
    logits = network(attacked).float()
    loss = cross_entropy(logits, y, recipe)
    if recipe.alpha:
        loss = recipe.alpha * cross_entropy(network(x).float(), y, recipe) + (1 - recipe.alpha) * loss
    return loss, logits


def worst_case_loss(network: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, eps: float) -> tuple[Tensor, Tensor]:
    """The cross-entropy of a linear network at its worst point of the L-inf ball, without an attack.

    The margin of class k over y, z_k - z_y = (w_k - w_y)ᵀx + b_k - b_y, grows by at most eps ‖w_k - w_y‖₁ (pixels'
    own range left aside), so CE is evaluated at z_k + eps ‖w_k - w_y‖₁. For two classes with s = wᵀx + b and
    t = ±1 this is E softplus(-t s + eps ‖w‖₁), for the attacker's best step is -eps t sign(w), which takes
    eps ‖w‖₁ from t s. Goodfellow et al. (2015, section 5) print softplus(y (eps ‖w‖₁ - wᵀx - b)), which agrees for
    y = 1 and rewards large weights for y = -1; report R4 copies that sign. For more than two classes it is an upper
    bound: each rival gets a perturbation of its own.
    """
    logits = network(x)
    weight = network.network.class_weights()  # [K, D], in units of pixels
    distance = torch.cdist(weight, weight, p=1)  # ‖w_k - w_y‖₁
    return cross_entropy(logits + eps * distance[y], y, recipe), logits


def cross_entropy(logits: Tensor, y: Tensor, recipe: Recipe) -> Tensor:
    return F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)


def batch_loss(network: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, eps: float,
               generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(loss, logits [N, K]) of one batch by the method of the recipe; `eps` is where its ramp stands."""
    if recipe.adversarial:
        return adversarial_loss(network, x, y, recipe, eps, generator)
    if recipe.method == "worst-case":
        return worst_case_loss(network, x, y, recipe, eps)
    logits = network(x).float()
    loss = cross_entropy(logits, y, recipe)
    if recipe.method == "l1":
        loss = loss + recipe.strength * first_weights(network).abs().sum()
    return loss, logits


def first_weights(network: nn.Module) -> Tensor:
    """The weights of the first layer that has any."""
    return next(parameter for name, parameter in network.named_parameters() if name.endswith("weight"))
