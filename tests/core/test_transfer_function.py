"""The gain against closed forms of linear filters, and what holds for every network and for JPEG before it."""
import math
import threading

import numpy as np
import pytest
import torch
from torch import nn

from core.analysis.spectrum import gratings, half_plane
from core.analysis.transfer_function import (LOGITS, bode, first_layer, jpeg_survival, layers, tilt, transfer_function)
from core.analysis.twin import twin
from core.data import SAMPLES, load as load_data
from core.defenses import JPEG
from core.models import loading
from core.models.cards import MODELS

SHIPPED = [name for name, card in MODELS.items() if card.weights.is_file()]


def net(*parts):
    return nn.Sequential(*parts).requires_grad_(False).eval()


def of_filter(weight, height, width):
    """|H(v, u)| of filters [F, C, h, w] for the same wave in all channels, centred: [F, H, W]"""
    padded = np.zeros((len(weight), height, width))
    padded[:, :weight.shape[2], :weight.shape[3]] = weight.sum(dim=1)
    return np.abs(np.fft.fftshift(np.fft.fft2(padded), axes=(1, 2)))


@pytest.mark.parametrize("channels, side", [(1, 28), (3, 32), (1, 9)])
@pytest.mark.parametrize("options", [{}, {"padding": 2}, {"padding": 2, "padding_mode": "circular"},
                                     {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 1}])
def test_a_linear_convolution_has_the_gain_of_its_filters(channels, side, options):
    torch.manual_seed(0)
    model = net(nn.Conv2d(channels, 4, 3, **options))
    found = transfer_function(model, (channels, side, side), phases=3).gain
    weight = model[0].weight
    if options.get("dilation"):
        spread = torch.zeros(4, channels, 5, 5)
        spread[:, :, ::2, ::2] = weight
        weight = spread
    assert torch.allclose(found, torch.from_numpy(of_filter(weight, side, side)).float(), atol=2e-5)


@pytest.mark.parametrize("phases, amplitude", [(3, 0.01), (4, 0.1), (5, 0.5)])
def test_phases_and_amplitude_do_not_matter_to_a_linear_network(phases, amplitude):
    torch.manual_seed(1)
    model = net(nn.Conv2d(1, 3, 5))
    found = transfer_function(model, (1, 28, 28), phases=phases, amplitude=amplitude).gain
    assert torch.allclose(found, torch.from_numpy(of_filter(model[0].weight, 28, 28)).float(), atol=2e-4)


def test_a_dense_layer_has_the_transform_of_its_weights():
    model = loading.load("softmax")
    found = transfer_function(model, (1, 28, 28))
    weight = model.network.linear.weight.view(10, 28, 28).numpy()
    expected = np.abs(np.fft.fftshift(np.fft.fft2(weight), axes=(1, 2)))
    # A real wave at a frequency that is its own mirror image (0 and Nyquist) is not different from the others.
    assert np.allclose(found.gain.numpy(), expected, atol=2e-3)
    assert torch.allclose(transfer_function(model, (1, 28, 28), LOGITS).gain, found.gain)


def test_the_network_s_own_normalisation_counts():
    model = loading.load("lenet5")
    found = transfer_function(model, (1, 28, 28)).gain
    expected = of_filter(model.network.features[0].weight / 0.3081, 28, 28)
    assert np.allclose(found.numpy(), expected, rtol=1e-3, atol=2e-3)


def test_against_a_plain_loop():
    model, frequencies, amplitude = loading.load("tutorial-cnn"), [(3, -2), (0, 14), (14, 14), (-7, 7)], 0.2
    found = transfer_function(model, (1, 28, 28), LOGITS, amplitude=amplitude).gain
    ground = torch.full((1, 1, 28, 28), 0.5)
    for v, u in frequencies:
        squares = []
        for phase in (0, math.pi / 2, math.pi, 3 * math.pi / 2):
            x = ground + amplitude * gratings(torch.tensor([[v, u]]), torch.tensor([phase]), 28, 28)[0]
            squares.append((model(x) - model(ground))[0].square())
        expected = math.sqrt(2) * torch.stack(squares).mean(dim=0).sqrt() / amplitude
        row, column = (14 + v) % 28, (14 + u) % 28
        assert torch.allclose(found[:, row, column], expected, rtol=1e-3, atol=1e-3)


def test_real_images_as_background_are_squeezed_not_clipped():
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3).requires_grad_(False)
            self.seen = [0.5, 0.5]

        def forward(self, x):
            ends = [float(x.min()), float(x.max())]
            self.seen[:] = [min(self.seen[0], ends[0]), max(self.seen[1], ends[1])]
            return self.layer(x).flatten(1)
    model = Watched()
    x, _ = load_data("mnist", "sample", SAMPLES).batch(slice(0, 3))
    found = transfer_function(model, (1, 28, 28), amplitude=0.2, backgrounds=x).gain
    assert torch.allclose(found, torch.from_numpy(of_filter(model.layer.weight, 28, 28)).float(), atol=1e-4)

    class Ends(nn.Module):
        def forward(self, images):
            assert 0 <= images.min() and images.max() <= 1
            return images
    again = transfer_function(model, (1, 28, 28), amplitude=0.2, backgrounds=x, defense=Ends()).gain
    assert torch.allclose(again, found)


def test_without_a_defense_all_is_left_and_behind_a_wall_nothing():
    model = loading.load("lenet5")
    found = transfer_function(model, (1, 28, 28))
    assert torch.allclose(found.left, torch.ones(28, 28), atol=1e-4) and found.erased == 0

    class Wall(nn.Module):
        def forward(self, images):
            return torch.full_like(images, 0.5)
    found = transfer_function(model, (1, 28, 28), defense=Wall())
    assert found.erased == 1 and not found.left.any() and found.gain.abs().max() < 1e-3


@pytest.mark.parametrize("name, shape", [("lenet5", (1, 28, 28)), ("resnet20", (3, 32, 32))])
def test_jpeg_erases_what_its_table_rounds_to_zero(name, shape):
    """Report R2: qualities 1 to 5 destroy the gratings. It depends on their amplitude."""
    model = loading.load(name)
    assert transfer_function(model, shape, amplitude=0.05, defense=JPEG(quality=1)).erased == 1
    assert transfer_function(model, shape, amplitude=0.5, defense=JPEG(quality=1)).erased == 0
    found = transfer_function(model, shape, amplitude=0.05, defense=JPEG(quality=7))
    predicted = jpeg_survival(7, 0.05, *shape[1:]) < 0.5
    assert abs(found.erased - float(predicted.float().mean())) < 0.1
    assert found.left[predicted].mean() < 0.2 < found.left[~predicted].mean()


def test_a_grating_survives_by_its_largest_coefficient():
    # A constant of amplitude a has one coefficient, 8 a; the table's first step at quality 50 is 16.
    found = jpeg_survival(50, 0.1, 32, 32)
    assert float(found[16, 16]) == pytest.approx(8 * 25.5 / 16, rel=1e-4)
    # cos(2 pi x / 8 + phase) has most in the coefficient (0, 2), whose step is 10: 8 sqrt(1/8) a at its best phase.
    assert 4.5 * 25.5 / 10 < float(found[16, 20]) < 5.7 * 25.5 / 10
    assert (jpeg_survival(10, 0.1, 32, 32) <= found).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_network(name):
    model, shape = loading.load(name), MODELS[name].shape
    before = {key: value.clone() for key, value in model.state_dict().items()}
    names = layers(model, shape)
    assert names[-1] == LOGITS and names[0] == first_layer(model, shape)
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    first = model.get_submodule(names[0])
    assert isinstance(first, nn.Conv2d if convolutions else nn.Linear)
    found = transfer_function(model, shape, phases=3)
    units = first.out_channels if convolutions else first.out_features
    assert found.gain.shape == (units, *shape[1:]) and found.gain.isfinite().all() and (found.gain >= 0).all()
    assert torch.equal(found.mean, found.gain.mean(dim=0))
    # A gain belongs to a wave, not to its sign: the map is the same when turned by half a turn.
    assert torch.equal(found.gain[:, 1:, 1:], found.gain[:, 1:, 1:].flip(1, 2))
    assert torch.equal(transfer_function(model, shape, phases=3).gain, found.gain)
    assert not any(part._forward_hooks for part in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_any_named_layer_answers():
    found = transfer_function(loading.load("resnet20"), (3, 32, 32), "network.layer1.0.bn1", phases=3)
    assert found.gain.shape == (16, 32, 32)
    model = loading.load("lenet5")
    for name, units in (("network.features.3", 16), ("network.features", 16), ("network.classifier.2", 84)):
        assert transfer_function(model, (1, 28, 28), name, phases=3).gain.shape == (units, 28, 28)
    assert torch.allclose(transfer_function(model, (1, 28, 28), "network.classifier.4").gain,
                          transfer_function(model, (1, 28, 28), LOGITS).gain, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError):
        transfer_function(model, (1, 28, 28), "network.nowhere")


@pytest.mark.parametrize("options", [{"phases": 2}, {"amplitude": 0.0}, {"amplitude": 0.6}])
def test_numbers_that_would_not_measure_are_refused(options):
    with pytest.raises(ValueError):
        transfer_function(loading.load("softmax"), (1, 28, 28), **options)


def test_no_hook_stays_behind_when_the_network_fails():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.calls = nn.Conv2d(1, 2, 3), 0

        def forward(self, x):
            if len(x) > 1:
                raise RuntimeError("no")
            return self.first(x).flatten(1)
    model = Failing()
    with pytest.raises(RuntimeError, match="no"):
        transfer_function(model, (1, 28, 28), LOGITS)
    assert not any(part._forward_hooks for part in model.modules())


def test_a_twin_shares_weights_and_has_no_hooks():
    model = loading.load("lenet5")
    handle = model.network.features[0].register_forward_hook(lambda *given: pytest.fail("another's hook was called"))
    try:
        copied = twin(model)
        copied(torch.rand(2, 1, 28, 28))
    finally:
        handle.remove()
    assert [value.data_ptr() for value in copied.state_dict().values()] == [
        value.data_ptr() for value in model.state_dict().values()]
    assert copied.network is not model.network


def test_two_threads_share_a_network():
    model = loading.load("lenet5")
    x, _ = load_data("mnist", "sample", SAMPLES).batch(slice(0, 100))
    alone = {layer: transfer_function(model, (1, 28, 28), layer).gain for layer in (None, "network.features.3", LOGITS)}
    with torch.no_grad():
        logits = model(x)
    wrong, found = [], {}

    def measure(layer):
        found[layer] = transfer_function(model, (1, 28, 28), layer).gain

    def classify():
        for _ in range(30):
            with torch.no_grad():
                wrong.append(not torch.equal(model(x), logits))
    threads = [threading.Thread(target=measure, args=(layer,)) for layer in alone] + [threading.Thread(target=classify)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 30 and not any(wrong)
    assert all(torch.allclose(found[layer], gain, rtol=1e-5, atol=1e-6) for layer, gain in alone.items())


def test_bode_and_tilt_of_a_pure_high_pass():
    frequencies, places = half_plane(32, 32)
    high = (frequencies.double().norm(dim=1) > 8.5).float()[places]  # from ring 9 on
    gain = 1 + 9 * high  # 1 below, 10 above
    assert bode(gain)[:9].tolist() == [1] * 9 and bode(gain)[9:].tolist() == pytest.approx([10] * 8)
    assert tilt(gain) == pytest.approx(20)
    assert tilt(torch.ones(32, 32)) == pytest.approx(0, abs=1e-5)
