"""What every defense of DEFENSES promises, and JPEG against Pillow."""
import dataclasses
import io
import math
import urllib.parse

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from core.data import SAMPLES, load
from core.defenses import DEFENSES, JPEG, adaptive
from core.errors import UserError
from core.images import to_uint8
from core.settings import settings_of

each_defense = pytest.mark.parametrize("name", DEFENSES)
each_shape = pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["grey", "rgb"])
each_setting = pytest.mark.parametrize(
    ("name", "each"), [(name, each) for name, kind in DEFENSES.items() for each in settings_of(kind)],
    ids=lambda p: getattr(p, "name", p))


def noise(shape, n=3, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def photos():
    return load("cifar10", "sample", SAMPLES).batch(slice(0, 12))[0]


def digits():
    return load("mnist", "sample", SAMPLES).batch(slice(0, 5000, 500))[0]


# The contract

@each_defense
def test_the_class_describes_itself(name):
    kind = DEFENSES[name]
    assert kind.title and kind.__doc__
    assert urllib.parse.urlparse(kind.paper).scheme == "https"
    assert isinstance(kind.differentiable, bool) and isinstance(kind.randomized, bool)
    slider = {each.name: each for each in settings_of(kind)}[kind.slider]
    assert slider.kind is int and slider.low < slider.high


def test_titles_are_unique():
    assert len({kind.title for kind in DEFENSES.values()}) == len(DEFENSES)


@each_defense
@each_shape
def test_shape_range_and_the_input_are_kept(name, shape):
    for x in (noise(shape), torch.zeros(2, *shape), torch.ones(2, *shape)):
        before = x.clone()
        changed = DEFENSES[name]()(x)
        assert changed.shape == x.shape and changed.dtype == torch.float32
        assert changed.min() >= 0 and changed.max() <= 1
        assert torch.equal(x, before)


@each_defense
@each_shape
def test_an_image_is_defended_alike_alone_and_in_a_batch(name, shape):
    if DEFENSES[name].randomized:
        pytest.skip("a randomized defense draws anew for every batch")
    x, defense = noise(shape), DEFENSES[name]()
    assert torch.equal(defense(x), torch.cat([defense(image[None]) for image in x]))
    assert torch.equal(defense(x), defense(x))


@each_defense
def test_a_defense_stands_before_a_network(name):
    x, network = noise((1, 28, 28)), nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    defense = DEFENSES[name]()
    assert torch.equal(nn.Sequential(defense, network)(x), network(defense(x)))
    assert not list(defense.parameters())


@each_defense
@each_shape
def test_the_attacker_who_knows_sees_the_same_image_and_has_a_gradient(name, shape):
    defense, x = DEFENSES[name](), noise(shape).requires_grad_(True)
    seen = adaptive(defense)(x)
    if not defense.randomized:
        assert torch.equal(seen, defense(x.detach())), "the forward pass must be exact"
    weights = noise(shape, seed=1)
    gradient, = torch.autograd.grad((seen * weights).sum(), x)
    if not defense.differentiable:
        assert torch.equal(gradient, weights), "BPDA: the identity's gradient"
    else:
        assert gradient.abs().sum() > 0
    assert x.grad is None


@each_setting
def test_settings_outside_their_range_are_refused(name, each):
    bad = [math.nan, None, "nonsense", [1]]
    if not each.choices:
        bad += [math.inf, -math.inf, each.low - 1, each.high + 1, True, str(each.default)]
    if each.kind is int:
        bad += [each.low + 0.5]
    for value in bad:
        with pytest.raises(UserError):
            DEFENSES[name](**{each.name: value})


@each_setting
def test_settings_in_their_range_are_kept(name, each):
    for value in (*(each.choices or (each.low, each.high)), each.default):
        defense = DEFENSES[name](**{each.name: value})
        assert getattr(defense, each.name) == value
        assert defense(noise((3, 32, 32), 1)).shape == (1, 3, 32, 32)


@each_setting
def test_replacing_one_setting_keeps_the_others(name, each):
    """How a page moves a slider."""
    value = each.choices[0] if each.choices else each.low
    changed = dataclasses.replace(DEFENSES[name](), **{each.name: value})
    for other in settings_of(DEFENSES[name]):
        assert getattr(changed, other.name) == (value if other.name == each.name else other.default)


# JPEG

def pillow(x, **options):
    """Round to 8 bits, save, open: one image at a time."""
    out = []
    for image in np.rint(x.numpy() * 255).astype(np.uint8).transpose(0, 2, 3, 1):
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, format="JPEG", **options)
        out.append(np.asarray(Image.open(io.BytesIO(file.getvalue()))).reshape(image.shape).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(out)).float() / 255


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 95, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_is_pillows_round_trip_in_colour(quality, subsampling):
    x = photos()
    assert torch.equal(JPEG(quality, subsampling)(x), pillow(x, quality=quality, subsampling=subsampling))


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 95, 100])
def test_jpeg_is_pillows_round_trip_in_grey_where_subsampling_means_nothing(quality):
    x = digits()
    expected = pillow(x, quality=quality)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        assert torch.equal(JPEG(quality, subsampling)(x), expected)


def test_jpeg_subsampling_matters_in_colour():
    x = photos()
    full, half = JPEG(90, "4:4:4")(x), JPEG(90, "4:2:0")(x)
    assert (full - x).square().mean() < (half - x).square().mean()


@pytest.mark.parametrize("images", [photos, digits])
def test_jpeg_keeps_more_at_a_higher_quality(images):
    """Over some images and steps of quality that differ visibly, the error falls without exception."""
    x = images()
    errors = [(JPEG(quality)(x) - x).square().mean().item() for quality in (1, 5, 15, 40, 75, 100)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 10


def test_jpeg_rounds_to_8_bits_first():
    """Perturbations below half a grey level vanish before the compression."""
    x = torch.from_numpy(to_uint8(photos())).permute(0, 3, 1, 2).float() / 255
    tiny = (0.4 / 255) * (2 * (noise((3, 32, 32), len(x)) > 0.5) - 1)
    assert torch.equal(JPEG(75)((x + tiny).clamp(0, 1)), JPEG(75)(x))


def test_jpeg_leaves_plain_grey_alone():
    x = torch.full((1, 1, 28, 28), 128 / 255)
    assert (JPEG(75)(x) - x).abs().max() <= 1 / 255 + 1e-6
