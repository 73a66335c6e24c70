"""The one-pixel attack and the one-pixel map, on planted weaknesses and on shipped networks."""
import copy
import dataclasses

import pytest
import torch
from torch import nn

import core.attacks.base
from core.attacks.one_pixel import OnePixel, _others, one_pixel_map
from core.data import SAMPLES, load
from core.errors import UserError
from core.models import loading
from core.norms import l0

SIDE = 16
WEAK = (11, 4)  # the one position that decides
FEW = OnePixel(population=24, generations=4)


def seeded_linear(channels=3, side=8, scale=1.0):
    """Ten classes that close together let a single pixel decide."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, 10))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.requires_grad_(False).eval()


def case(count=12, **kwargs):
    """Images of which some can be fooled by a pixel, some cannot, and the last is misread already."""
    model = seeded_linear(**kwargs)
    x = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    y = model(x).argmax(dim=1)
    y[-1] = (y[-1] + 1) % 10
    return model, x, y


def planted(channels):
    """f = (0, 20 (mean of the weak pixel's channels - 0.7)): class 1 when that pixel is bright, else class 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * SIDE * SIDE, 2))
    with torch.no_grad():
        weight = torch.zeros(2, channels, SIDE, SIDE)
        weight[1, :, WEAK[0], WEAK[1]] = 20 / channels
        model[1].weight.copy_(weight.flatten(1))
        model[1].bias.copy_(torch.tensor([0.0, -14.0]))
    return model.requires_grad_(False).eval()


def probability(model, x, y):
    with torch.no_grad():
        return model(x).softmax(dim=1).gather(1, y[:, None])[:, 0]


def search(attack, model, x, y, target=None, seed=0, **kwargs):
    return attack.search(model, x, y, target=target, generator=torch.Generator().manual_seed(seed), **kwargs)


def test_the_settings_are_checked_and_frozen():
    assert OnePixel() == OnePixel(pixels=1, population=200, generations=50) and OnePixel().gradients == 0
    for bad in ({"pixels": 0}, {"pixels": 6}, {"pixels": 1.5}, {"population": 7}, {"generations": 0}):
        with pytest.raises(UserError):
            OnePixel(**bad)
    with pytest.raises(dataclasses.FrozenInstanceError):
        FEW.pixels = 2


@pytest.mark.parametrize("pixels", [1, 3, 5])
def test_the_result_keeps_its_promises(pixels):
    model, x, y = case()
    attack = dataclasses.replace(FEW, pixels=pixels)
    result = attack(model, x, y, seed=1)
    assert result.adversarial.shape == x.shape and result.adversarial.dtype == torch.float32
    assert result.adversarial.min() >= 0 and result.adversarial.max() <= 1
    assert torch.equal(result.l0, l0(result.adversarial - x)) and (result.l0 <= pixels).all()
    with torch.no_grad():
        assert torch.equal(result.success, model(result.adversarial).argmax(dim=1) != y)
    assert result.success[:-1].any() and not result.success.all(), "else this case shows nothing"
    assert torch.equal(result.adversarial[~result.success], x[~result.success])
    assert (result.l0[result.success][:-1] > 0).all()
    most = attack.population * (attack.generations + 1)
    assert (result.queries <= most).all() and (result.queries[~result.success] == most).all()
    assert result.success[-1] and result.queries[-1] == 1 and result.l0[-1] == 0, "misread already: one look"


def test_the_same_seed_gives_the_same_result_and_touches_nothing():
    model, x, y = case()
    images, labels, state, before = x.clone(), y.clone(), copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first, again, other = (FEW(model, x, y, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.adversarial, again.adversarial) and torch.equal(first.queries, again.queries)
    assert not torch.equal(first.adversarial, other.adversarial)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(x, images) and torch.equal(y, labels)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_slices_are_bounded_and_every_forward_pass_is_counted(monkeypatch):
    model, x, y = case()
    whole, shown = search(FEW, model, x, y), []
    monkeypatch.setattr(core.attacks.base, "BATCH", 50)
    found = search(FEW, lambda images: shown.append(len(images)) or model(images), x, y)
    assert max(shown) <= 50 and sum(shown) == found.queries.sum()
    assert torch.equal(found.adversarial, whole.adversarial) and torch.equal(found.queries, whole.queries)


@pytest.mark.parametrize("targeted", [False, True])
def test_the_trace_is_the_best_so_far(targeted):
    model, x, y = case()
    target = (y + 3) % 10 if targeted else None
    steps = []
    found = search(FEW, model, x, y, target=target, on_step=steps.append)
    assert steps == list(range(1, FEW.generations + 2))
    assert found.trace.shape == (FEW.generations + 1, len(x))
    worse = found.trace.diff(dim=0) * (-1 if targeted else 1)
    assert (worse <= 0).all()
    start, end = (probability(model, images, target if targeted else y) for images in (x, found.adversarial))
    # What fools need not be what has the lowest p_y, so only those that nothing fooled must end at the trace's end.
    unfooled = found.queries == FEW.population * (FEW.generations + 1)
    assert torch.allclose(found.trace[-1][unfooled], end[unfooled], atol=1e-5)
    assert ((end > start) if targeted else (end < start))[:-1].all()
    stopped = (found.queries - 1) // FEW.population  # the generation in which each image was fooled
    for i in range(len(x)):
        assert (found.trace[stopped[i]:, i] == found.trace[stopped[i], i]).all()


def test_a_target_is_reached_or_the_image_stays():
    model, x, y = case(scale=0.3)
    target = model(x).topk(2).indices[:, 1]
    result = FEW(model, x, y, target=target)
    with torch.no_grad():
        assert torch.equal(result.success, model(result.adversarial).argmax(dim=1) == target)
    assert result.success.any() and torch.equal(result.adversarial[~result.success], x[~result.success])


def test_an_empty_batch_and_one_with_nothing_to_do():
    model, x, y = case()
    found = search(FEW, model, x[:0], y[:0])
    assert found.adversarial.shape == (0, 3, 8, 8) and found.trace.shape == (FEW.generations + 1, 0)
    assert FEW(model, x[:0], y[:0]).success.shape == (0,)
    assert FEW.path(model, x[:0], y[:0], [0.5, 1.0]).shape == (2, 0, 3, 8, 8)
    steps = []
    result = FEW(model, x, (model(x).argmax(dim=1) + 1) % 10, on_step=steps.append)
    assert result.queries.tolist() == [1] * len(x) and torch.equal(result.adversarial, x) and steps == [1]


def test_a_path_is_the_strength_along_what_was_found():
    model, x, y = case()
    found = FEW(model, x, y, seed=2).adversarial
    for strength, images in zip((0.0, 0.5, 1.0), FEW.path(model, x, y, [0.0, 0.5, 1.0], seed=2), strict=True):
        assert torch.equal(images, (x + strength * (found - x)).clamp(0, 1))


@pytest.mark.parametrize("population", [4, 9])
def test_parents_differ_from_their_child_and_are_uniform(population):
    others = _others(4000, population, torch.Generator().manual_seed(0))
    for k in range(population):
        four = torch.cat([torch.full((4000, 1), k), others[:, k]], dim=1).sort(dim=1).values
        assert (four.diff(dim=1) > 0).all() and four.min() >= 0 and four.max() < population
        for role in range(3):
            share = others[:, k, role].bincount(minlength=population) / 4000
            assert share[k] == 0 and (share[torch.arange(population) != k] - 1 / (population - 1)).abs().max() < 0.04


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [1, 3])
def test_the_planted_pixel_is_found(channels, pixels):
    """Everywhere else the network is flat, so nothing but a hit on that very pixel helps."""
    model, x = planted(channels), torch.full((4, channels, SIDE, SIDE), 0.2)
    y = torch.zeros(4, dtype=torch.int64)
    result = OnePixel(pixels=pixels, population=200, generations=30)(model, x, y, seed=5)
    assert result.success.all()
    changed = (result.adversarial != x).any(dim=1)
    assert changed[:, WEAK[0], WEAK[1]].all() and (changed.flatten(1).sum(dim=1) <= pixels).all()
    assert (result.adversarial[:, :, WEAK[0], WEAK[1]].mean(dim=1) > 0.7).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_map_flags_the_planted_pixel_alone(channels):
    model, x, progress = planted(channels), torch.full((1, channels, SIDE, SIDE), 0.2), []
    found = one_pixel_map(model, x, 0, (1.0,) * channels, on_batch=lambda done, total: progress.append((done, total)))
    assert (found.predicted == 1).nonzero().tolist() == [list(WEAK)]
    expected = torch.full((SIDE, SIDE), float(torch.tensor(10.0).sigmoid()))  # 20 * 0.2 - 14
    expected[WEAK] = torch.tensor(-6.0).sigmoid()  # 20 * 1 - 14
    assert torch.allclose(found.probability, expected, atol=1e-6)
    assert progress == [(SIDE * SIDE, SIDE * SIDE)]
    assert (x == 0.2).all()
    assert (one_pixel_map(model, x, 0, (0.6,) * channels).predicted == 0).all()


def test_the_map_is_what_brute_force_says(monkeypatch):
    model = loading.load("tutorial-cnn")
    x, y = load("mnist", "sample", SAMPLES).one(4)
    progress = []
    found = one_pixel_map(model, x, int(y), (1.0,), on_batch=lambda done, total: progress.append((done, total)))
    assert found.probability.shape == found.predicted.shape == (28, 28) and found.predicted.dtype == torch.int64
    assert progress == [(512, 784), (784, 784)]
    for row, column in ((0, 0), (0, 27), (27, 0), (13, 14), (20, 7)):
        image = x.clone()
        image[0, 0, row, column] = 1.0
        assert found.probability[row, column] == pytest.approx(float(probability(model, image, y)), abs=1e-5)
        assert found.predicted[row, column] == model(image).argmax()
    monkeypatch.setattr(core.attacks.base, "BATCH", 100)
    again = one_pixel_map(model, x, int(y), [1.0])
    assert torch.allclose(again.probability, found.probability, atol=1e-5)


def test_the_map_works_on_an_image_that_is_not_square():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 7, 2)).requires_grad_(False)
    x, colour = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0)), (0.1, 0.5, 0.9)
    found = one_pixel_map(model, x, 1, colour)
    for row in range(5):
        for column in range(7):
            image = x.clone()
            image[0, :, row, column] = torch.tensor(colour)
            assert found.probability[row, column] == pytest.approx(float(model(image).softmax(1)[0, 1]), abs=1e-6)


@pytest.mark.parametrize("colour", [(), (0.5,), (0.5,) * 4, (0.5, 0.5, 1.1), (-0.1, 0, 0), (float("nan"), 0, 0)])
def test_the_map_refuses_other_colours(colour):
    model, x, _ = case()
    with pytest.raises(ValueError, match="colour"):
        one_pixel_map(model, x[:1], 0, colour)


def test_the_map_takes_one_image():
    model, x, _ = case()
    with pytest.raises(ValueError, match="image"):
        one_pixel_map(model, x[:2], 0, (0, 0, 0))


def random_search(model, x, y, queries, generator):
    """Which images some of `queries` random pixels fool: the attack's first population and nothing else. bool [N]"""
    hits = []
    for image, label in zip(x, y, strict=True):
        tries = image.repeat(queries, 1, 1, 1)
        row, column = (torch.randint(size, (queries,), generator=generator) for size in image.shape[1:])
        colours = 0.5 + 0.5 * torch.randn(queries, len(image), generator=generator)
        tries[torch.arange(queries), :, row, column] = colours.clamp(0, 1)
        with torch.no_grad():
            hits.append((model(tries).argmax(dim=1) != label).any())
    return torch.stack(hits)


def test_evolution_fools_no_fewer_photos_than_chance():
    model = loading.load("convnet3")
    x, y = load("cifar10", "sample", SAMPLES).batch(slice(None))
    attack = OnePixel(population=40, generations=5)
    result = attack(model, x, y)
    chance = random_search(model, x, y, attack.population * (attack.generations + 1),
                           torch.Generator().manual_seed(0))
    assert (result.l0 <= 1).all() and result.success.sum() >= max(chance.sum(), 2)
