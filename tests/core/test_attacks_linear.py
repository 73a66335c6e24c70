"""Attacks where the answer is known in closed form: linear models f(x) = W x + b."""
import pytest
import torch
from torch import nn

from core.attacks import FGM, FGSM, PGD, PGDL2
from core.evaluation import epsilon_path

SIDE = 6


class Linear(nn.Module):
    """Logits W x + b, in float64 inside so that the margins below are exact to the last float32 digit."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)

    def forward(self, x):
        return (x.flatten(1).double() @ self.weight.double().T + self.bias.double()).float()


def binary(margin, seed=0):
    """A two-class model whose logit difference at x = 0.5 (everywhere) is `margin` for class 0, and w = W0 - W1."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(SIDE * SIDE, generator=generator)
    x = torch.full((1, 1, SIDE, SIDE), 0.5)
    offset = margin - (w.double() @ x.flatten().double()).item()
    model = Linear(torch.stack([w / 2, -w / 2]), torch.tensor([offset / 2, -offset / 2]))
    return model, x, torch.zeros(1, dtype=torch.int64), w


def as_image(w):
    return w.view(1, 1, SIDE, SIDE)


def test_fgsm_step_by_hand():
    # CE of y = 0: the gradient is p_1 (W_1 - W_0), so the step is eps * sign(W_1 - W_0) = eps * sign(-1, 2, 0, -3).
    model = Linear(torch.tensor([[1.0, -1.0, 0.0, 2.0], [0.0, 1.0, 0.0, -1.0]]), torch.zeros(2))
    x = torch.tensor([0.5, 0.2, 0.9, 0.05]).view(1, 1, 2, 2)
    result = FGSM(eps=0.1)(model, x, torch.tensor([0]))
    expected = torch.tensor([0.4, 0.3, 0.9, 0.0]).view(1, 1, 2, 2)  # the last one is clamped at black
    assert torch.allclose(result.adversarial, expected, atol=1e-7)
    assert result.l0.item() == 3 and result.linf.item() == pytest.approx(0.1, abs=1e-6)
    assert result.l2.item() == pytest.approx((0.1 ** 2 * 2 + 0.05 ** 2) ** 0.5, abs=1e-6)


def test_fgm_step_by_hand():
    model = Linear(torch.tensor([[0.0, 0.0, 0.0, 0.0], [3.0, 0.0, -4.0, 0.0]]), torch.zeros(2))
    x = torch.full((1, 1, 2, 2), 0.5)
    adversarial = FGM(eps=0.2)(model, x, torch.tensor([0])).adversarial
    assert torch.allclose(adversarial.flatten(), torch.tensor([0.5 + 0.2 * 0.6, 0.5, 0.5 - 0.2 * 0.8, 0.5]), atol=1e-7)


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), FGM(eps=0.1)])
def test_a_targeted_step_goes_down_the_targets_loss(attack):
    """With two classes, going up class 0's loss and going down class 1's are the same step."""
    model, x, y, _ = binary(margin=1.0)
    assert torch.allclose(attack(model, x, y).adversarial, attack(model, x, y, target=1 - y).adversarial, atol=1e-6)


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("kind", [PGD, PGDL2])
def test_pgd_reaches_the_balls_optimum(kind, random_start):
    """The loss grows along -w, so the best point of the ball is x - eps sign(w), or x - eps w / |w|_2."""
    eps = 0.3
    model, x, y, w = binary(margin=1.0)
    best = x - eps * as_image(w.sign() if kind is PGD else w / w.norm())
    found = kind(eps=eps, steps=60, random_start=random_start)(model, x, y).adversarial
    # In L2 the iterates approach the optimum along the sphere; 60 steps of a quarter of eps leave nothing visible.
    assert torch.allclose(found, best, atol=1e-6 if kind is PGD else 1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("kind", "dual"), [(FGSM, 1), (FGM, 2)])
def test_minimal_epsilon_is_the_margin_over_the_dual_norm(kind, dual, seed):
    """A linear classifier flips exactly at eps* = margin / |w|_1 (L-inf) or margin / |w|_2 (L2)."""
    margin = 0.5
    model, x, y, w = binary(margin, seed)
    minimal = margin / w.double().norm(p=dual).item()
    assert minimal < 0.5, "the box must not bind"
    assert not kind(eps=minimal * 0.999)(model, x, y).success.item()
    assert kind(eps=minimal * 1.001)(model, x, y).success.item()
    epsilons = [2 * minimal * k / 10 for k in range(11)]
    path = epsilon_path(model, kind(), x, y, epsilons, refine=10)
    assert path.flip_step == pytest.approx(minimal / 50)
    assert -1e-6 <= path.flip - minimal <= path.flip_step * (1 + 1e-6), "the first point of the grid above eps*"


def test_loss_grows_with_epsilon_by_the_closed_form():
    """The logit margin at eps is margin - eps |w|_1: the whole path is known."""
    model, x, y, w = binary(margin=1.0)
    epsilons = [0.0, 0.05, 0.1, 0.2, 0.4]
    logits = model(FGSM().path(model, x, y, epsilons)[:, 0])
    expected = [1.0 - eps * w.norm(p=1).item() for eps in epsilons]
    assert torch.allclose(logits[:, 0] - logits[:, 1], torch.tensor(expected), atol=1e-4)
