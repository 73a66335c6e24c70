"""The smallest epsilon of each image, against closed forms and against trying every epsilon."""
import dataclasses

import pytest
import torch
from torch import nn

from core.attacks import FGM, FGSM, PGD, PGDL2, CarliniWagner, Square
from core.data import SAMPLES, load
from core.evaluation import (accuracy_curve, at_first_error, minimal_epsilon, minimal_epsilons, one_of_each,
                             queries_needed, towards_each)
from core.models import loading


@pytest.fixture(scope="module")
def case():
    return loading.load("tutorial-cnn"), dataclasses.replace(load("mnist", "sample", SAMPLES))


def two_classes():
    """f(x) = w x against 0: the distance to the boundary is known in both norms."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    weight = torch.randn(64, generator=generator)
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([weight, torch.zeros(64)]))
        model[1].bias.zero_()
    x = 0.45 + 0.1 * torch.rand(20, 1, 8, 8, generator=generator)
    model.requires_grad_(False)
    lead = (x.flatten(1) @ weight).abs()
    return model, x, model(x).argmax(dim=1), lead, weight


@pytest.mark.parametrize("attack, top", [(FGSM(), 0.4), (PGD(steps=10), 0.4), (FGM(), 3.0), (PGDL2(steps=10, random_start=False), 3.0)])
def test_on_a_linear_model_it_is_the_distance_to_the_boundary(attack, top):
    model, x, y, lead, weight = two_classes()
    expected = lead / (weight.abs().sum() if attack.norm == "linf" else weight.norm())
    found = minimal_epsilon(model, attack, x, y, top)
    assert torch.isfinite(found).all() and (expected < top).all()
    assert ((found - expected).abs() <= 1.5e-3).all()


def test_wrong_without_an_attack_is_zero_and_unfooled_is_infinite():
    model, x, y, lead, weight = two_classes()
    y = y.clone()
    y[0] = 1 - y[0]
    found = minimal_epsilon(model, PGD(steps=4), x, y, top=1e-4)
    assert found[0] == 0 and torch.isinf(found[1:]).all()


def test_it_is_the_first_error_of_fgsm_and_not_any(case):
    """FGSM may fool at one eps and not at a larger one."""
    model, dataset = case
    x, y = dataset.batch(slice(0, 40))
    found = minimal_epsilon(model, FGSM(), x, y, 0.3, tolerance=0.01)
    grid = [k * 0.01 for k in range(31)]
    wrong = torch.stack([model(image).argmax(dim=1) != y for image in FGSM().path(model, x, y, grid)])
    for k in range(len(y)):
        first = wrong[:, k].nonzero()
        assert found[k] == (pytest.approx(0.01 * int(first[0]), abs=1e-6) if len(first) else float("inf"))


def test_the_distribution_is_the_accuracy_curve_from_the_other_side(case):
    model, dataset = case
    epsilons = (0.05, 0.1, 0.2)
    attack = PGD(steps=10, random_start=False)
    found = torch.cat(list(minimal_epsilons(model, attack, dataset, 0.4, limit=120)))
    *_, points = accuracy_curve(model, attack, dataset, epsilons, limit=120)
    for point in points:  # a little slack: bisection takes for granted that what fools at eps fools beyond it
        assert abs(int((found > point.epsilon).sum()) - point.correct) <= 2


def test_an_attack_without_eps_gives_its_distance_and_its_curve(case):
    model, dataset = case
    attack = CarliniWagner(steps=60)
    found = torch.cat(list(minimal_epsilons(model, attack, dataset, 0.0, limit=30)))
    *_, points = accuracy_curve(model, attack, dataset, (0.0, 1.0, 1.5, 9.0), limit=30)
    assert [point.correct for point in points] == [int((found > radius).sum()) for radius in (0.0, 1.0, 1.5, 9.0)]
    assert points[0].correct > points[1].correct > points[2].correct > points[3].correct == 0


def test_just_fooled_means_fooled_at_that_eps_and_not_well_below(case):
    model, dataset = case
    x, y = dataset.batch(slice(0, 1))
    result, eps = at_first_error(model, PGD(), x, y, 0.5)
    assert bool(result.success[0]) and float(result.linf[0]) <= eps + 1e-6
    assert not PGD(eps=0.9 * eps)(model, x, y).success[0]
    assert at_first_error(model, CarliniWagner(steps=40), x, y, 0.0)[1] is None


def test_queries_needed_are_those_of_the_attack(case):
    model, dataset = case
    attack = Square(eps=0.2, queries=60)
    found = torch.cat(list(queries_needed(model, attack, dataset, limit=30)))
    *_, points = accuracy_curve(model, attack, dataset, (0.2,), limit=30)
    assert int(torch.isinf(found).sum()) == points[0].correct
    assert (found[torch.isfinite(found)] <= 60).all()


def test_one_of_each_class_is_read_correctly_and_others_follow(case):
    model, dataset = case
    first, second = one_of_each(model, dataset), one_of_each(model, dataset, skip=1)
    assert dataset.labels[first].tolist() == dataset.labels[second].tolist() == list(range(10))
    assert not set(first) & set(second)
    x, y = dataset.batch(first)
    assert (model(x).argmax(dim=1) == y).all()


def test_towards_each_class_reaches_them_and_leaves_its_own(case):
    model, dataset = case
    x, y = dataset.batch(one_of_each(model, dataset)[3:4])
    result = towards_each(model, CarliniWagner(), x, y, 10)
    assert result.success.all() and result.logits.argmax(dim=1).tolist() == list(range(10))
    assert torch.equal(result.adversarial[3:4], x)
