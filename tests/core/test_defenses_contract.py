"""What every defense of DEFENSES promises, and JPEG against Pillow."""
import dataclasses
import io
import math
import urllib.parse

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from core.data import SAMPLES, load
from core.defenses import (
    DEFENSES, JPEG, BitDepth, GaussianBlur, Median, RandomNoise, Stack, Threshold, TotalVariation, adaptive, attackers,
    positions)
from core.defenses.adaptive import DRAWS, has_twin
from core.defenses.base import tally
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
    stops = positions(kind)
    assert stops[0] == slider.low and stops[-1] == slider.high and 2 < len(stops) <= 101
    assert all(type(stop) is slider.kind and kind(**{kind.slider: stop}) for stop in stops)


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
    x, defense = noise(shape), DEFENSES[name]()
    assert torch.allclose(defense(x), torch.cat([defense(image[None]) for image in x]), atol=1e-6)
    assert torch.equal(defense(x), defense(x))


@each_defense
def test_a_defense_stands_before_a_network(name):
    x, network = noise((1, 28, 28)), nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    defense = DEFENSES[name]()
    defended = defense.defend(network)
    assert not list(defense.parameters())
    if defense.draws == 1:
        assert torch.equal(defended(x), network(defense(x)))
    else:
        said = torch.stack([network(defense.drawn(x, k)).argmax(dim=1) for k in range(defense.draws)])
        assert torch.equal(defended(x).argmax(dim=1), said.mode(dim=0).values)


@pytest.mark.parametrize("smooth", [False, True])
@each_defense
@each_shape
def test_the_attacker_who_knows_sees_the_same_image_and_has_a_gradient(name, shape, smooth):
    defense, x = DEFENSES[name](), noise(shape).requires_grad_(True)
    seen = adaptive(defense, smooth)(x)
    assert torch.equal(seen, defense(x.detach())), "the forward pass must be exact"
    weights = noise(shape, seed=1)
    gradient, = torch.autograd.grad((seen * weights).sum(), x)
    twin = defense.twin(x)
    if defense.differentiable:
        assert gradient.abs().sum() > 0 and twin is None
    elif smooth and twin is not None:
        assert twin.shape == x.shape
        assert torch.equal(gradient, torch.autograd.grad((twin * weights).sum(), x)[0]), "the twin's gradient"
    else:
        assert torch.equal(gradient, weights), "BPDA: the identity's gradient"
    assert x.grad is None


@each_defense
def test_attackers_see_what_the_defended_network_says(name):
    defense, network, x = DEFENSES[name](), shallow(), noise((1, 28, 28), 4)
    ways = attackers(defense, network)
    assert len(ways) == 1 + has_twin(defense)
    for seen in ways:
        if defense.randomized:
            drawn = [network(defense.secret().drawn(x, k)).softmax(dim=1) for k in range(DRAWS)]
            assert torch.allclose(seen(x).softmax(dim=1), torch.stack(drawn).mean(dim=0), atol=1e-6)
        else:
            assert torch.equal(seen(x), network(defense(x)))
        images = x.clone().requires_grad_(True)
        gradient, = torch.autograd.grad(seen(images)[:, 0].sum(), images)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def shallow(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).requires_grad_(False)


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


# Filters

def test_threshold_and_bit_depth_round():
    x = torch.linspace(0, 1, 256).view(1, 1, 16, 16)
    assert torch.equal(Threshold(0.5)(x), (x > 0.5).float())
    assert torch.equal(BitDepth(1)(x), x.round())
    assert torch.allclose(BitDepth(8)(x), x, atol=1e-6)
    for bits in (1, 2, 3, 5):
        assert len(BitDepth(bits)(x).unique()) == 2 ** bits
        assert (BitDepth(bits)(x) - x).abs().max() <= 0.5 / (2 ** bits - 1) + 1e-6


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_median_and_blur_are_scipys(shape):
    x = noise(shape, 2)
    for window in (1, 3, 5, 7):
        expected = ndimage.median_filter(x.numpy(), (1, 1, window, window), mode="nearest")
        assert torch.equal(Median(window)(x), torch.from_numpy(expected))
    for sigma in (0.3, 0.7, 1.5, 3.0):
        reach = math.ceil(3 * sigma)
        expected = ndimage.gaussian_filter(x.numpy(), sigma, mode="nearest", radius=reach, axes=(2, 3))
        assert np.allclose(GaussianBlur(sigma)(x), expected, atol=1e-5)


def test_total_variation_of_a_step_has_its_closed_form(monkeypatch):
    """Two halves a and b of 14 columns each: each moves towards the other by weight / 14 until they meet."""
    monkeypatch.setattr(TotalVariation, "STEPS", 1000)
    x = torch.full((1, 1, 28, 28), 0.2)
    x[..., 14:] = 0.8
    for weight in (0.1, 0.4, 1.0):
        expected = torch.where(x < 0.5, x + weight / 14, x - weight / 14)
        assert (TotalVariation(weight)(x) - expected).abs().max() < 1e-4


def test_total_variation_lowers_its_objective_and_can_be_differentiated():
    def objective(u, x, weight):
        down, right = u.diff(dim=2), u.diff(dim=3)
        slopes = (torch.nn.functional.pad(down, [0, 0, 0, 1]).square() + torch.nn.functional.pad(
            right, [0, 1]).square()).sqrt()
        return (u - x).square().sum() / 2 + weight * slopes.sum()

    x = digits()
    u = TotalVariation(0.1)(x)
    for other in (x, GaussianBlur(0.7)(x), TotalVariation(0.05)(x), TotalVariation(0.2)(x)):
        assert objective(u, x, 0.1) < objective(other, x, 0.1)
    x = noise((1, 6, 6), 1).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda images: TotalVariation(0.3)(images), x, atol=1e-4)


# Randomness

def test_noise_depends_on_image_draw_and_seed_alone():
    x, defense = noise((1, 28, 28), 4), RandomNoise(0.3, 5)
    assert torch.equal(defense(x)[2:3], defense(x[2:3]))
    assert torch.equal(defense(x), RandomNoise(0.3, 5)(x))
    others = [defense.drawn(x, 1), defense.secret()(x), defense.secret().drawn(x, 1)]
    assert all((defense(x) - other).abs().mean() > 0.05 for other in others)
    repeated = x[:1].repeat(3, 1, 1, 1)
    assert torch.equal(defense(repeated)[0], defense(repeated)[2])
    assert not torch.equal(defense(x) - x, defense(x + 1e-4) - x)


def test_noise_has_the_deviation_that_it_says():
    x = torch.full((20, 1, 28, 28), 0.5)
    x = x + torch.arange(20).view(-1, 1, 1, 1) * 1e-3  # 20 different images
    delta = RandomNoise(0.1, 1)(x) - x
    assert abs(delta.std() - 0.1) < 0.003 and abs(delta.mean()) < 0.003


def test_a_vote_counts_draws_and_breaks_ties_by_confidence():
    class Said(nn.Module):
        def forward(self, x):
            return torch.stack([x.flatten(1)[:, 0] * 10, 3 - x.flatten(1)[:, 0] * 0], dim=1)

    defense = RandomNoise(0.5, 101)
    x = torch.full((1, 1, 2, 2), 0.35)
    first = torch.stack([Said()(defense.drawn(x, k)).argmax(dim=1) == 0 for k in range(101)]).float().mean()
    shares = defense.defend(Said())(x).softmax(dim=1)
    assert abs(shares[0, 0] - first) < 0.002 and 0 < first < 1
    sure, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.1]])
    for answers in ([sure, unsure], [unsure, sure], [unsure, unsure, sure, sure]):
        assert tally(answers).argmax() == 0, "a tie goes to the surer"
    assert tally([unsure, unsure, sure]).argmax() == 1, "and no vote to the surest"


# Stacks

def test_a_stack_is_its_members_in_order():
    x = photos()
    blurred_first, jpeg_first = Stack(GaussianBlur(1.0), JPEG(20)), Stack(JPEG(20), GaussianBlur(1.0))
    assert torch.equal(blurred_first(x), JPEG(20)(GaussianBlur(1.0)(x)))
    assert not torch.equal(blurred_first(x), jpeg_first(x))
    assert not blurred_first.differentiable and Stack(Median(), GaussianBlur()).differentiable
    assert torch.equal(Stack()(x), x) and Stack().draws == 1


def test_a_stack_with_noise_is_randomized_and_votes():
    stack, x = Stack(JPEG(40), RandomNoise(0.2, 7)), digits()
    assert stack.randomized and stack.draws == 7
    assert torch.equal(stack.drawn(x, 3), RandomNoise(0.2, 7).drawn(JPEG(40)(x), 3))
    assert torch.equal(stack.secret()(x), RandomNoise(0.2, 7, seed=1)(JPEG(40)(x)))


@pytest.mark.parametrize("smooth", [False, True])
def test_the_gradient_goes_through_each_member_of_a_stack(smooth):
    stack, x = Stack(GaussianBlur(1.0), Threshold(0.4)), noise((1, 28, 28)).requires_grad_(True)
    seen, weights = adaptive(stack, smooth)(x), noise((1, 28, 28), seed=1)
    assert torch.equal(seen, stack(x.detach()))
    gradient, = torch.autograd.grad((seen * weights).sum(), x)
    blurred = GaussianBlur(1.0)(x)
    through = Threshold(0.4).twin(blurred) if smooth else blurred
    assert torch.allclose(gradient, torch.autograd.grad((through * weights).sum(), x)[0], atol=1e-6)
