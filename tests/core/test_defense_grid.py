"""A defense over its slider and eps, against counts made image by image."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.attacks import FGSM, PGD, CarliniWagner
from core.data import SAMPLES, load
from core.defense_grid import defense_grid, mended_example
from core.defenses import JPEG, GaussianBlur, RandomNoise
from core.models import loading


@pytest.fixture(scope="module")
def model():
    return loading.load("tutorial-cnn", torch.device("cpu"))


@pytest.fixture(scope="module")
def sample():
    return load("mnist", "sample", SAMPLES)


def said(network, x):
    with torch.no_grad():
        return network(x).argmax(dim=1)


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=3)], ids=["fgsm", "pgd"])
@pytest.mark.parametrize(("defense", "values"), [(JPEG(), (5, 40)), (GaussianBlur(), (0.5, 1.5)),
                                                 (RandomNoise(votes=3), (0.1, 0.5))], ids=["jpeg", "blur", "noise"])
def test_counts_are_those_of_each_image(model, sample, attack, defense, values):
    epsilons = (0.0, 0.1, 0.25)
    each = [replace(defense, **{defense.slider: value}) for value in values]
    *_, grid = defense_grid(model, attack, each, sample, epsilons, limit=80)
    x, y = sample.batch(slice(0, 80))
    attacked = attack.path(model, x, y, epsilons)
    clean = said(model, x) == y
    assert grid.total == 80 and grid.correct.shape == grid.recovered.shape == (2, 3)
    for e, images in enumerate(attacked):
        bare = clean & (said(model, images) == y)
        assert grid.bare[e] == bare.sum() and grid.fooled[e] == (clean & ~bare).sum()
        for v, one in enumerate(each):
            defended = one.defend(model)
            at_zero, now = said(defended, attacked[0]) == y, said(defended, images) == y
            assert grid.correct[v, e] == (at_zero & now).sum()
            assert grid.recovered[v, e] == (clean & ~bare & now).sum()
            assert grid.spoiled[v] == (clean & ~at_zero).sum()


def test_counts_grow_batch_by_batch(model, sample):
    grids = list(defense_grid(model, FGSM(), [JPEG(10), JPEG(50)], sample, (0.0, 0.2), limit=600))
    assert [grid.total for grid in grids] == [250, 500, 600]
    assert (np.diff([grid.correct for grid in grids], axis=0) >= 0).all()


def test_an_attack_without_eps_is_walked_along(model, sample):
    *_, grid = defense_grid(model, CarliniWagner(), [JPEG(90)], sample, (0.0, 1.0), limit=6)
    assert grid.bare[1] == 0 and grid.fooled[1] == grid.bare[0]


def test_the_mended_image_is_what_it_says(model, sample):
    attack, defense = FGSM(eps=0.15), JPEG(40)
    found = mended_example(model, attack, defense, sample, limit=600)
    x, y = sample.batch(slice(found.index, found.index + 1))
    assert y.item() == found.label == said(model, x).item()
    adversarial = attack(model, x, y).adversarial
    with torch.no_grad():
        fooled, mended = model(adversarial).softmax(1)[0], model(defense(adversarial)).softmax(1)[0]
    assert fooled.argmax() == found.read_as != found.label == mended.argmax()
    assert fooled.max() == pytest.approx(found.sure_fooled, abs=1e-4)
    assert mended.max() == pytest.approx(found.sure_mended, abs=1e-4)
    assert torch.equal(found.images, torch.cat([x, adversarial, defense(adversarial)]))


def test_nothing_is_mended_where_nothing_is_fooled(model, sample):
    assert mended_example(model, FGSM(eps=0.0), JPEG(40), sample, limit=100) is None
