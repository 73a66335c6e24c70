"""Attacks that choose their own way are not compared pixel by pixel but by what they reach: against foolbox, ART and
torchattacks on the shipped networks, and against closed forms where the network is linear."""
import dataclasses

import pytest
import torch
from torch import nn

from core.attacks import (APGD, APGDL2, APGDT, APGDTL2, MIFGSM, PGD, CarliniWagner, DeepFool, RandomSearch, Square, Strong,
                          StrongL2)
from core.attacks.apgd import checkpoints_of
from core.data import SAMPLES, load
from core.models import loading
from core.vision import torchvision

torchvision()  # the libraries import it, which fails beside a CPU build of torch without core.vision's help
WHY = "{} is one of the reference libraries: install it to compare with it"
fb = pytest.importorskip("foolbox", reason=WHY.format("foolbox"))
torchattacks = pytest.importorskip("torchattacks", reason=WHY.format("torchattacks"))

N = 60


@pytest.fixture(scope="module", params=["tutorial-cnn", "lenet5"])
def case(request):
    """A shipped network and digits that it reads correctly."""
    model, dataset = loading.load(request.param), load("mnist", "sample", SAMPLES)
    x, y = dataset.batch(slice(0, None, 40))
    with torch.no_grad():
        right = model(x).argmax(dim=1) == y
    return model, x[right][:N].contiguous(), y[right][:N]


def robust(model, images, y) -> int:
    with torch.no_grad():
        return int((model(images).argmax(dim=1) == y).sum())


def linear(channels=1, side=6, classes=4, seed=0):
    """A linear model and images far enough from 0 and 1 that no step is clamped."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, classes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = 0.45 + 0.1 * torch.rand(12, channels, side, side, generator=generator)
    model.requires_grad_(False)
    return model, x, model(x).argmax(dim=1)


def distance_to_the_boundary(model, x, y):
    """min over k of |f_k| / |w_k - w_y|: [N]"""
    weight = model[1].weight
    logits = model(x)
    gaps = logits.gather(1, y[:, None]) - logits
    lengths = (weight[None] - weight[y][:, None]).norm(dim=2).clamp_min(1e-9)
    return (gaps / lengths).scatter(1, y[:, None], torch.inf).amin(dim=1)


@pytest.mark.parametrize("attack, slack", [(DeepFool(overshoot=0.0), 1e-3), (CarliniWagner(), 0.03)])  # C&W may settle at the second nearest class
def test_the_distance_on_a_linear_model_is_the_distance_to_its_boundary(attack, slack):
    model, x, y = linear()
    expected = distance_to_the_boundary(model, x, y)
    result = attack(model, x, y)
    assert result.success.all()
    assert (result.l2 >= expected - 1e-5).all(), "nothing fools from inside"
    assert (result.l2 <= expected * (1 + slack) + 1e-4).all()
    assert (result.l2 / expected).median() < 1.001


@pytest.mark.parametrize("attack", [DeepFool(overshoot=0.0), CarliniWagner()])
def test_towards_a_target_the_distance_is_to_that_boundary(attack):
    model, x, y = linear(classes=2)
    result = attack(model, x, y, target=1 - y)
    assert result.success.all()
    assert torch.allclose(result.l2, distance_to_the_boundary(model, x, y), rtol=0.01, atol=1e-3)


def test_confidence_is_the_lead_of_the_wrong_class(case):
    model, x, y = case
    result = CarliniWagner(confidence=3.0)(model, x, y)
    others = result.logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    lead = (others - result.logits.gather(1, y[:, None])[:, 0])[result.success]
    assert result.success.float().mean() > 0.95 and (lead >= 3 - 1e-3).all() and lead.mean() < 3.5


def test_carlini_wagner_is_no_farther_than_foolbox(case):
    """foolbox with its nine values of c and 300 steps each, more than ten times ours in all."""
    model, x, y = (part[:20] if torch.is_tensor(part) else part for part in case)
    ours = CarliniWagner()(model, x, y)
    attack = fb.attacks.L2CarliniWagnerAttack(binary_search_steps=9, steps=300)
    theirs, _, success = attack(fb.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)
    assert ours.success.all() and success.all()
    assert ours.l2.mean() <= (theirs - x).flatten(1).norm(dim=1).mean() * 1.005


def test_carlini_wagner_reaches_targets(case):
    model, x, y = (part[:20] if torch.is_tensor(part) else part for part in case)
    target = (y + 3) % 10
    ours = CarliniWagner()(model, x, y, target=target)
    assert ours.success.all()
    untargeted = CarliniWagner()(model, x, y)
    assert ours.l2.mean() > untargeted.l2.mean(), "any other class is nearer than a given one"


def test_deepfool_is_foolboxs(case):
    model, x, y = case
    ours = DeepFool()(model, x, y)
    theirs, _, success = fb.attacks.L2DeepFoolAttack(candidates=10, loss="logits")(
        fb.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)
    assert ours.success.all() and success.all()
    distance = (theirs - x).flatten(1).norm(dim=1)
    assert abs(ours.l2.mean() / distance.mean() - 1) < 0.02


def test_momentum_is_torchattacks(case):
    model, x, y = case
    ours = MIFGSM(eps=0.1, steps=8)(model, x, y).adversarial
    theirs = torchattacks.MIFGSM(model, eps=0.1, alpha=0.1 / 8, steps=8, decay=1.0)(x, y)
    # A pixel whose averaged gradient is 0 to rounding may go either way in one step.
    far = ((ours - theirs).abs() > 1e-5).flatten(1).float().mean(dim=1)
    assert (far == 0).float().mean() > 0.9 and far.max() < 0.02


def test_momentum_without_decay_is_iterated_fgsm(case):
    model, x, y = case
    plain = PGD(eps=0.1, steps=8, step_size=1 / 8, random_start=False)(model, x, y).adversarial
    assert torch.allclose(MIFGSM(eps=0.1, steps=8, decay=0.0)(model, x, y).adversarial, plain, atol=1e-6)


def test_checkpoints_are_the_papers():
    assert checkpoints_of(100) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("kind, name, norm, eps, steps", [
    (APGD, "APGD", "Linf", 0.1, 30), (APGDL2, "APGD", "L2", 1.3, 30),
    (APGDT, "APGDT", "Linf", 0.1, 15), (APGDTL2, "APGDT", "L2", 1.3, 15)])
def test_apgd_leaves_no_more_right_than_torchattacks(case, kind, name, norm, eps, steps):
    model, x, y = case
    ours = kind(eps=eps, steps=steps)(model, x, y, early=True)
    more = {"n_classes": 10} if name == "APGDT" else {}
    theirs = getattr(torchattacks, name)(model, norm=norm, eps=eps, steps=steps, n_restarts=1, **more)(x, y)
    left = robust(model, theirs, y)
    assert 0 < left < N, "the comparison needs an eps at which something is left and something is not"
    assert int((~ours.success).sum()) <= left + 2  # of 60; each starts at its own random point


def test_apgd_climbs_at_least_as_far_as_pgd(case):
    model, x, y = case
    left = [int((~kind(eps=0.1, steps=40)(model, x, y, early=True).success).sum()) for kind in (APGD, PGD)]
    assert left[0] <= left[1] + 1


@pytest.mark.parametrize("kind, norm, eps", [(Strong, "Linf", 0.12), (StrongL2, "L2", 1.3)])
def test_the_strong_evaluation_leaves_no_more_right_than_the_libraries(case, kind, norm, eps):
    """The same three attacks of torchattacks at the same budget, one after the other on what is left."""
    model, x, y = (part[:40] if torch.is_tensor(part) else part for part in case)
    ours = kind(eps=eps, steps=15, queries=150)(model, x, y)
    left = torch.arange(len(x))
    for attack in (torchattacks.APGD(model, norm=norm, eps=eps, steps=15),
                   torchattacks.APGDT(model, norm=norm, eps=eps, steps=15, n_classes=10),
                   torchattacks.Square(model, norm=norm, eps=eps, n_queries=150, n_restarts=1)):
        if len(left):
            with torch.no_grad():
                left = left[model(attack(x[left], y[left])).argmax(dim=1) == y[left]]
    assert int((~ours.success).sum()) <= len(left) + 2  # of 40; each starts at its own random point


def test_the_strong_evaluation_is_no_weaker_than_its_parts(case):
    model, x, y = (part[:40] if torch.is_tensor(part) else part for part in case)
    whole = ~Strong(eps=0.12, steps=10, queries=100)(model, x, y).success
    parts = [~kind(model, x, y, early=True).success for kind in (
        APGD(eps=0.12, steps=10), APGDT(eps=0.12, steps=10), Square(eps=0.12, queries=100))]
    assert whole.sum() <= min(int(part.sum()) for part in parts)
    assert dataclasses.replace(Strong(), eps=0.0)(model, x, y).success.sum() == 0


def test_square_needs_fewer_queries_than_random_search(case):

    model, x, y = (part[:30] if torch.is_tensor(part) else part for part in case)
    found = [kind(eps=0.2, queries=300)(model, x, y) for kind in (Square, RandomSearch)]
    assert found[0].success.sum() > found[1].success.sum()
    assert found[0].queries.sum() < found[1].queries.sum()
