"""Spectra against closed forms: Parseval, known sinusoids, rings, and averages against a plain loop."""
import math

import numpy as np
import pytest
import torch

from core.analysis.spectrum import (average, channel_magnitudes, cycles, decibels, gratings, half_plane, high_share,
                                    magnitude, perturbation_spectra, power, radial, radius, ring_radii, rings)
from core.attacks import ATTACKS
from core.data import SAMPLES, load as load_data
from core.models import loading

SIZES = [(28, 28), (32, 32), (9, 9), (8, 12)]
each_size = pytest.mark.parametrize("height, width", SIZES)


def wave(height, width, v, u, phase=0.3):
    y, x = np.mgrid[:height, :width]
    return torch.from_numpy(np.cos(2 * np.pi * (u * x / width + v * y / height) + phase))[None, None]


@each_size
def test_power_adds_up_to_the_mean_square(height, width):
    x = torch.rand(4, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.3
    assert torch.allclose(power(x).sum(dim=(1, 2)), x.square().mean(dim=(1, 2, 3)))


@each_size
def test_a_sinusoid_lands_where_it_should(height, width):
    for v, u in ((0, 1), (2, 0), (1, -3), (-2, 2)):
        found = power(wave(height, width, v, u))[0]
        places = {(height // 2 + v, width // 2 + u), (height // 2 - v, width // 2 - u)}
        assert {tuple(place) for place in (found > 1e-9).nonzero().tolist()} == places
        assert all(found[place] == pytest.approx(1 / 4) for place in places)  # the mean of cos^2, half on each side
        assert magnitude(wave(height, width, v, u))[0].max() == pytest.approx(height * width / 2)
    constant = power(torch.full((1, 1, height, width), 0.7))[0]
    assert constant[height // 2, width // 2] == pytest.approx(0.49) and (constant > 1e-9).sum() == 1


def test_magnitude_is_the_mean_of_the_channels():
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    apart = channel_magnitudes(x)
    assert torch.allclose(magnitude(x), apart.mean(dim=1))
    assert torch.allclose(apart[1, 2], torch.from_numpy(np.abs(np.fft.fftshift(np.fft.fft2(x[1, 2].numpy())))).float(),
                          atol=1e-3)


@each_size
def test_rings_hold_equal_radii(height, width):
    side, ring = min(height, width), rings(height, width)
    for row in range(height):
        for column in range(width):
            exact = side * math.hypot((row - height // 2) / height, (column - width // 2) / width)
            assert abs(int(ring[row, column]) - exact) <= 0.5 + 1e-9
    assert ring_radii(height, width)[-1] == pytest.approx(side // 2 / side)
    assert radius(height, width)[height // 2, width // 2] == 0
    down, across = cycles(height, width)
    assert down.shape == (height, 1) and across.shape == (1, width) and down.min() >= -0.5


@each_size
def test_radial_means_against_a_loop(height, width):
    values = torch.rand(2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ring, found = rings(height, width), radial(values)
    assert found.shape == (2, min(height, width) // 2 + 1)
    for k in range(found.shape[1]):
        assert torch.allclose(found[:, k], values[:, ring == k].mean(dim=1))


def test_the_rings_and_what_lies_beyond_hold_all_the_power():
    x = torch.rand(3, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    powers, ring = power(x), rings(28, 28)
    counts = torch.bincount(ring.flatten())[:15]
    corners = (powers * (ring > 14)).sum(dim=(1, 2))
    assert torch.allclose((radial(powers) * counts).sum(dim=1) + corners, x.square().mean(dim=(1, 2, 3)))


def test_the_high_share_of_waves_and_of_white_noise():
    assert float(high_share(power(wave(32, 32, 0, 4)))[0]) == pytest.approx(0, abs=1e-12)
    assert float(high_share(power(wave(32, 32, 0, 12)))[0]) == pytest.approx(1)
    noise = torch.randn(200, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    expected = float((radius(32, 32) > 0.25).double().mean())
    assert float(high_share(power(noise)).mean()) == pytest.approx(expected, abs=0.01)


def test_decibels():
    assert decibels(torch.tensor([1.0, 0.1, 0.0])).tolist() == [0.0, -20.0, -60.0]
    assert decibels(torch.zeros(2)).tolist() == [-60.0, -60.0]


@each_size
def test_the_half_plane_holds_each_frequency_or_its_mirror_once(height, width):
    frequencies, places = half_plane(height, width)
    assert sorted(places.unique().tolist()) == list(range(len(frequencies)))
    waves = gratings(frequencies, torch.tensor([0.4]), height, width)[:, 0]
    for row in range(height):
        for column in range(width):
            found = power(waves[places[row, column]].double()[None, None])[0]
            assert found[row, column] > 0.2 * found.sum()  # all of it, or half with the mirror image
    alone = sum(1 for v, u in frequencies.tolist() if (2 * v) % height == 0 and (2 * u) % width == 0)
    assert 2 * len(frequencies) - alone == height * width


def test_an_average_is_the_mean_over_images_with_its_interval():
    deltas = torch.randn(30, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * torch.rand(30, 1, 1, 1)
    found, curves = average(deltas), radial(power(deltas.double()))
    assert torch.allclose(found.magnitude, magnitude(deltas).mean(dim=0))
    assert torch.allclose(found.radial, curves.mean(dim=0))
    assert torch.allclose(found.power.sum(), deltas.double().square().mean())
    error = curves.std(dim=0) / 30 ** 0.5
    assert torch.allclose(torch.log(found.high / found.radial), 1.959964 * error / curves.mean(dim=0))
    assert torch.allclose(found.radial / found.low, found.high / found.radial)
    one = average(deltas[:1])
    assert torch.equal(one.low, one.radial) and one.high_error == 0


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator, held = torch.Generator().manual_seed(6), 0
    for _ in range(200):
        found = average(torch.randn(40, 1, 8, 8, generator=generator))
        held += int(found.low[2] <= 1 / 64 <= found.high[2])  # white noise of variance 1: 1 / (H W) in each frequency
    assert 180 <= held <= 199


@pytest.mark.parametrize("attack", ["fgsm", "fgm", "pgd", "deepfool"])
def test_perturbation_spectra_against_a_plain_loop(attack):
    model, digits = loading.load("lenet5"), load_data("mnist", "sample", SAMPLES)
    built = ATTACKS[attack]()
    *_, found = perturbation_spectra(model, built, digits, 60)
    assert found.n == 60 and found.seen == 100
    deltas = []
    for start in (0, 50):
        x, y = digits.batch(slice(start, start + 50))
        right = model(x).argmax(dim=1) == y
        x, y = x[right], y[right]
        deltas.append(built(model, x, y, seed=start).adversarial - x)
    deltas = torch.cat(deltas)
    deltas = deltas[deltas.flatten(1).any(dim=1)][:60]
    assert torch.allclose(found.as_made.magnitude, magnitude(deltas).mean(dim=0), atol=1e-5)
    norms = deltas.flatten(1).norm(dim=1)
    assert found.l2 == pytest.approx(float(norms.mean()), rel=1e-5)
    assert float(found.scaled.power.sum()) == pytest.approx(1 / 784, rel=1e-5)  # an L2 norm of 1: Parseval
    *_, again = perturbation_spectra(model, built, digits, 60)
    assert torch.equal(again.as_made.radial, found.as_made.radial)


def test_spectra_stream_batch_by_batch_and_end_with_the_data():
    model, digits = loading.load("lenet5"), load_data("mnist", "sample", SAMPLES).at(slice(0, 130))
    found = list(perturbation_spectra(model, ATTACKS["fgsm"](), digits, 1000))
    assert [each.seen for each in found] == [50, 100, 130]
    assert found[0].n < found[1].n < found[2].n <= 130
    assert [each.n for each in perturbation_spectra(model, ATTACKS["fgsm"](), digits, 20)] == [20]


def test_images_that_nothing_changes_are_left_out():
    model, digits = loading.load("lenet5"), load_data("mnist", "sample", SAMPLES).at(slice(0, 40))
    assert list(perturbation_spectra(model, ATTACKS["fgsm"](eps=0.0), digits, 20)) == []
