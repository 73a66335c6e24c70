"""Fourier basis images and error rates against closed forms and a plain loop."""
import numpy as np
import pytest
import torch
from torch import nn

from core.analysis.fourier import NORMS, Sensitivity, _coarse_to_fine, basis, filled, sensitivity
from core.analysis.spectrum import half_plane
from core.data import SAMPLES, load as load_data
from core.models import loading
from core.models.cards import MODELS

SHIPPED = [name for name, card in MODELS.items() if card.weights.is_file()]


def images(name, count):
    card = MODELS[name]
    dataset = load_data(card.dataset, "sample", SAMPLES).only(card.labels)
    return dataset.batch(slice(0, count))


@pytest.mark.parametrize("height, width", [(28, 28), (32, 32), (7, 10)])
def test_basis_images_have_norm_one_and_one_frequency(height, width):
    frequencies, _ = half_plane(height, width)
    found = basis(height, width)
    assert torch.allclose(found.flatten(1).norm(dim=1), torch.ones(len(found)), atol=1e-5)
    transforms = np.abs(np.fft.fft2(found.double().numpy()))
    for (v, u), transform in zip(frequencies.tolist(), transforms):
        places = {(v % height, u % width), (-v % height, -u % width)}
        assert {tuple(place) for place in np.argwhere(transform > 1e-3).tolist()} == places
    # They are orthogonal: no noise is counted twice.
    gram = found.flatten(1) @ found.flatten(1).T
    assert torch.allclose(gram, torch.eye(len(found)), atol=1e-4)


def test_the_paper_s_norm_for_photos():
    assert NORMS[32] == 4 and set(NORMS) == {28, 32}


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_error_rates_against_a_plain_loop(name):
    model, (x, y) = loading.load(name), images(name, 6)
    side, norm = x.shape[2], NORMS[x.shape[2]]
    *_, found = sensitivity(model, x, y, norm, seed=3)
    frequencies, places = half_plane(side, side)
    generator = torch.Generator().manual_seed(3)
    signs = torch.randint(0, 2, (len(frequencies), *x.shape[:2], 1, 1), generator=generator) * 2.0 - 1
    rows, columns = np.mgrid[:side, :side]
    for v, u in ((0, 0), (0, 3), (5, -2), (side // 2, side // 2), (1, side // 2)):
        wave = np.cos(2 * np.pi * (u * columns + v * rows) / side)
        wave = torch.from_numpy(norm * wave / np.linalg.norm(wave)).float()
        place = (side // 2 + v) % side, (side // 2 + u) % side
        noisy = (x + signs[places[place]] * wave).clamp(0, 1)
        with torch.no_grad():
            expected = (model(noisy).argmax(dim=1) != y).float().mean()
        assert float(found.error[place]) == pytest.approx(float(expected))
    with torch.no_grad():
        assert found.clean == pytest.approx(float((model(x).argmax(dim=1) != y).float().mean()))


def test_a_network_that_hears_one_frequency():
    class Detector(nn.Module):
        """Class 1 when the wave (2, 3) is there, else 0."""

        def __init__(self):
            super().__init__()
            frequencies, places = half_plane(28, 28)
            self.wave = nn.Parameter(basis(28, 28)[places[14 + 2, 14 + 3]], requires_grad=False)

        def forward(self, x):
            heard = ((x - 0.5) * self.wave).sum(dim=(1, 2, 3)).abs()
            return torch.stack([torch.full_like(heard, 0.5), heard], dim=1)
    x, y = torch.full((5, 1, 28, 28), 0.5), torch.zeros(5, dtype=torch.int64)
    *_, found = sensitivity(Detector(), x, y, 2.0)
    assert found.clean == 0 and found.error.sum() == 2
    assert found.error[16, 17] == found.error[12, 11] == 1


def test_every_map_is_its_own_mirror_image_and_streams_from_coarse_to_fine():
    model, (x, y) = loading.load("lenet5"), images("lenet5", 20)
    known = 0
    for found in sensitivity(model, x, y, 8.0):
        seen = ~found.error.isnan()
        assert int(seen.sum()) > known and found.n == 20
        known = int(seen.sum())
        assert torch.equal(seen[1:, 1:], seen[1:, 1:].flip(0, 1))
        assert not filled(found.error).isnan().any() and torch.equal(filled(found.error)[seen], found.error[seen])
    assert found.done == 1 and known == 784
    assert torch.equal(found.error[1:, 1:], found.error[1:, 1:].flip(0, 1))
    frequencies, _ = half_plane(28, 28)
    first = frequencies[_coarse_to_fine(frequencies)[:20]]
    assert (first % 4 == 0).all()


def test_the_same_seed_gives_the_same_map_and_the_model_stays_as_it_is():
    model, (x, y) = loading.load("lenet5-pgd"), images("lenet5-pgd", 10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    maps = [list(sensitivity(model, x, y, 9.0, seed=seed))[-1].error for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_network(name):
    model, (x, y) = loading.load(name), images(name, 2)
    found = next(sensitivity(model, x, y, NORMS[x.shape[2]]))
    known = found.error[~found.error.isnan()]
    assert len(known) and set(known.tolist()) <= {0.0, 0.5, 1.0} and 0 < found.done <= 1


def test_intervals_are_wilson_s():
    found = Sensitivity(torch.tensor([[0.1]]), 100, 0.0, 1.0, 4.0)
    low, high = found.interval(0, 0)
    assert (low, high) == pytest.approx((0.0552, 0.1744), abs=1e-4)


def test_filling_takes_the_nearest():
    nan = torch.nan
    assert filled(torch.tensor([[1.0, nan, nan, 2.0]])).tolist() == [[1.0, 1.0, 2.0, 2.0]]
    assert filled(torch.tensor([[nan]])).isnan().all()
