"""Ranks, overlaps and their means against scipy, chance and a loop by hand; the ready example is what it says."""
import math

import numpy as np
import pytest
import torch
from scipy import stats

from core.analysis import overlap as overlaps_module
from core.analysis.overlap import (PREDICTED, TRUE, Overlap, _turned, change, joined, mean, overlap, overlaps, places,
                                   rank_correlation, ranks, stories, strongest, top_intersection)
from core.analysis.saliency import METHODS, gradient, saliency
from core.attacks import FGM, FGSM, PGD, CarliniWagner
from core.data import SAMPLES, load
from core.evaluation import minimal_epsilon
from core.models import loading

DIGITS = load("mnist", "sample", SAMPLES)


def maps(seed, count=6, side=9, levels=None):
    found = torch.rand(count, side, side, generator=torch.Generator().manual_seed(seed))
    return found if levels is None else (found * levels).floor()


@pytest.mark.parametrize("levels", [None, 2, 5])
def test_ranks_and_their_correlation_are_scipys(levels):
    one, other = maps(0, levels=levels), maps(1, levels=levels) + 0.3 * maps(0)
    assert np.array_equal(ranks(one.flatten(1)).numpy(), stats.rankdata(one.flatten(1).numpy(), axis=1))
    expected = [stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(one.numpy(), other.numpy())]
    torch.testing.assert_close(rank_correlation(one, other), torch.tensor(expected).float(), rtol=0, atol=1e-5)


def test_the_ends_of_the_rank_correlation():
    one = maps(0)
    torch.testing.assert_close(rank_correlation(one, one.exp()), torch.ones(6))
    torch.testing.assert_close(rank_correlation(one, -one), -torch.ones(6))
    assert rank_correlation(one, torch.zeros_like(one)).isnan().all()


def test_top_intersection_without_ties_is_counted_by_hand():
    one, other = maps(2), maps(3)
    for share in (0.01, 0.1, 0.5, 1.0):
        k = places(81, share)
        expected = [len(set(a.flatten().topk(k).indices.tolist()) & set(b.flatten().topk(k).indices.tolist())) / k
                    for a, b in zip(one, other)]
        torch.testing.assert_close(top_intersection(one, other, share), torch.tensor(expected))
    torch.testing.assert_close(top_intersection(one, one), torch.ones(6))


def test_ties_are_broken_at_random():
    one, other = maps(4, 1, levels=3), maps(5, 1, levels=3)
    noise = torch.Generator().manual_seed(0)
    drawn = [[(part + 0.01 * torch.rand(4000, 9, 9, generator=noise)) for part in (one, other)]]
    simulated = top_intersection(*drawn[0], 0.2).mean()
    assert top_intersection(one, other, 0.2).item() == pytest.approx(float(simulated), abs=0.01)
    torch.testing.assert_close(strongest(one, 0.2).sum(), torch.tensor(float(places(81, 0.2))))


def test_chance_is_the_share_for_the_intersection_and_0_for_the_correlation():
    one, other = maps(6, 3000), maps(7, 3000)
    assert top_intersection(one, other, 0.1).mean() == pytest.approx(places(81) / 81, abs=0.005)
    assert rank_correlation(one, other).mean() == pytest.approx(0, abs=0.01)
    assert top_intersection(one, torch.zeros_like(one), 0.1).mean() == pytest.approx(places(81) / 81, abs=1e-5)


def test_fgm_falls_where_the_loss_has_its_gradient_and_noise_of_a_permuted_kind_does_not():
    model, (x, y) = loading.load("softmax"), DIGITS.batch(slice(0, 5000, 250))
    delta = gradient(model, x, y)[0]
    found = overlap(model, "gradient", x, (x + 0.02 * delta).clamp(0, 1), y, explain=TRUE)
    assert found.noise_rank.isfinite().all() and (found.kept_rank > 0.999).all()  # W is the same at every image
    torch.testing.assert_close(rank_correlation(saliency(delta), METHODS["gradient"](model, x, y).magnitude),
                               torch.ones(len(x)))


def test_pixels_that_fgsm_changes_alike_are_tied():
    """In single precision (x + eps) - x differs from pixel to pixel; its rank must not."""
    x, y = load("cifar10", "sample", SAMPLES).batch(slice(0, 5))
    x = x * 0.8 + 0.1
    adversarial = FGSM(8 / 255)(loading.load("convnet3"), x, y).adversarial
    assert len((adversarial - x).abs().unique()) > 1
    noise = change(x, adversarial)
    assert len(noise.unique()) == 1 and noise.max().item() == pytest.approx(8 / 255, abs=1e-5)
    assert rank_correlation(noise, maps(0, 5, 32)).isnan().all()


@pytest.mark.parametrize("explain", [PREDICTED, TRUE, 3])
def test_over_a_set_is_image_by_image(monkeypatch, explain):
    monkeypatch.setattr(overlaps_module, "BATCH", 8)
    model, attack = loading.load("lenet5"), PGD(0.2, steps=5, random_start=False)
    parts = list(overlaps(model, attack, DIGITS, "gradient", explain=explain, limit=20))
    assert [len(part.flipped) for part in parts] == [8, 8, 4]
    found = joined(parts)
    x, y = DIGITS.batch(slice(0, 20))
    adversarial = attack(model, x, y).adversarial
    for k in range(20):
        one, other = (gradient(model, images[k:k + 1], {TRUE: y[k:k + 1], 3: torch.tensor([3])}.get(explain))
                      for images in (x, adversarial))
        assert bool(found.flipped[k]) == (one[1].argmax() != other[1].argmax())
        before, after = saliency(one[0]), saliency(other[0])
        noise = change(x[k:k + 1], adversarial[k:k + 1])
        expected = (rank_correlation(noise, before), top_intersection(noise, before),
                    rank_correlation(before, after), top_intersection(before, after))
        for name, value in zip(("noise_rank", "noise_top", "kept_rank", "kept_top"), expected):
            assert float(getattr(found, name)[k]) == pytest.approx(float(value), abs=0.02), name


@pytest.mark.parametrize("method", ["gradient", "grad-cam"])
def test_without_an_attack_nothing_moves_and_nothing_overlaps(method):
    found, = overlaps(loading.load("lenet5"), FGSM(0.0), DIGITS, method, limit=10)
    assert not found.flipped.any() and found.noise_rank.isnan().all() and found.noise_top.isnan().all()
    torch.testing.assert_close(found.kept_rank, torch.ones(10))
    model, x = loading.load("lenet5"), DIGITS.batch(slice(0, 10))[0]
    same = METHODS[method](model, x, model(x).argmax(dim=1)).magnitude
    torch.testing.assert_close(found.kept_top, top_intersection(same, same))
    # Below 1 only where Grad-CAM has fewer pixels above 0 than there are places: those at 0 tie for the rest.
    enough = (same > 0).flatten(1).sum(dim=1) >= places(28 * 28)
    assert found.kept_top[enough].min() > 0.999 and enough.sum() >= 8 and (enough.all() or method == "grad-cam")


def test_means_are_normal_intervals_without_nan():
    values = torch.tensor([0.1, 0.4, torch.nan, 0.7, 0.2])
    found = mean(values)
    kept = values[~values.isnan()].double().numpy()
    low, high = stats.norm.interval(0.95, kept.mean(), stats.sem(kept))
    assert (found.mean, found.low, found.high, found.n) == (
        pytest.approx(kept.mean()), pytest.approx(low), pytest.approx(high), 4)
    assert math.isnan(mean(values[2:3]).mean) and mean(values[2:3]).n == 0
    assert mean(values[:1]).mean == pytest.approx(0.1) and math.isnan(mean(values[:1]).low)


def test_joined_keeps_the_order():
    parts = [Overlap(*(torch.tensor([float(k)]) for _ in range(5))) for k in range(3)]
    assert joined(parts).kept_top.tolist() == [0, 1, 2]


def test_ready_examples_are_what_they_say():
    """The first hundred eights: those that three attacks turn into a 3 within reach."""
    model = loading.load("tutorial-cnn")
    attacks = [(FGSM(), 0.15), (FGM(), 2.0), (CarliniWagner(), 2.0)]
    found = stories(model, attacks, DIGITS, 8, 3, limit=100)
    assert found
    for story in found:
        x, y = DIGITS.one(story.index)
        assert int(y) == 8 == int(model(x).argmax())
        for (attack, top), eps in zip(attacks, story.epsilons):
            assert 0 < eps <= top
            radius = torch.tensor([eps])
            images = attack.within(model, x, y, radius) if attack.bounded else attack(model, x, y).adversarial
            assert int(model(images).argmax()) == 3
    sizes = [sum(eps / top for eps, (_, top) in zip(story.epsilons, attacks)) for story in found]
    assert sizes == sorted(sizes)
    assert stories(model, [(FGSM(), 0.01)], DIGITS, 8, 3, limit=20) == []


def test_an_image_remade_at_its_eps_is_the_one_that_was_found():
    model, attack = loading.load("lenet5"), PGD(steps=5)
    x, y = DIGITS.batch(np.flatnonzero(DIGITS.labels == 8)[:40])
    eps = minimal_epsilon(model, attack, x, y, 0.2, tolerance=0.01, seed=0)
    turned = sum(int(_turned(model, attack, x, y, target, 0.2, 0.01, 0).isfinite().sum()) for target in range(10))
    assert turned == int(((eps > 0) & eps.isfinite()).sum()) > 10
