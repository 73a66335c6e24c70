"""Norms against closed forms: measuring, projecting, drawing and climbing."""
import pytest
import torch

from core.norms import NORMS, l0, per_image

SHAPES = [(4, 1, 28, 28), (4, 3, 32, 32)]
each_norm = pytest.mark.parametrize("name", NORMS)
each_shape = pytest.mark.parametrize("shape", SHAPES)


def gaussian(*shape, seed=0, scale=1.0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def dual(name, gradient):
    """max <gradient, d> over the unit ball: the dual norm."""
    flat = gradient.flatten(1)
    return flat.abs().sum(dim=1) if name == "linf" else flat.norm(dim=1)


def inner(a, b):
    return (a * b).flatten(1).sum(dim=1)


@pytest.mark.parametrize(("name", "expected"), [("linf", [4.0, 0.0, 1.0]), ("l2", [5.0, 0.0, 2.0])])
def test_measures_by_hand(name, expected):
    delta = torch.zeros(3, 1, 2, 2)
    delta[0, 0, 0] = torch.tensor([3.0, -4.0])
    delta[2] = 1
    assert NORMS[name].measure(delta).tolist() == expected


def test_l0_counts_a_pixel_once_whatever_its_channels():
    delta = torch.zeros(3, 3, 4, 4)
    delta[0, :, 1, 1] = 0.5
    delta[1, 0, 0, 0] = delta[1, 2, 0, 0] = delta[1, 1, 3, 3] = -1e-6
    assert l0(delta).tolist() == [1, 2, 0]


def test_per_image_broadcasts_one_value_an_image():
    scaled = torch.ones(2, 3, 4, 4) * per_image(torch.tensor([2.0, 3.0]), torch.ones(2, 3, 4, 4))
    assert (scaled[0] == 2).all() and (scaled[1] == 3).all()


@each_norm
@each_shape
def test_projection_lands_inside_and_stays_there(name, shape):
    norm, delta = NORMS[name], gaussian(*shape)
    eps = norm.measure(delta) * torch.tensor([0.01, 0.5, 0.999, 1.5])
    once = norm.project(delta, eps)
    assert (norm.measure(once) <= eps * (1 + 1e-6)).all()
    assert torch.allclose(norm.project(once, eps), once, atol=0, rtol=1e-6)
    assert torch.equal(once[3], delta[3]), "what lies inside already must not move"
    assert torch.allclose(norm.measure(once)[:3], eps[:3], rtol=1e-5), "what lies outside lands on the sphere"


@each_norm
def test_projection_is_the_nearest_point_of_the_ball(name):
    """For a convex set that is: <delta - P(delta), z - P(delta)> <= 0 for every z of the set."""
    norm, delta, eps = NORMS[name], gaussian(1, 1, 5, 5), torch.tensor([0.7])
    nearest = norm.project(delta, eps)
    inside = norm.random(torch.zeros(1000, 1, 5, 5), torch.Generator().manual_seed(1)) * eps
    inside = torch.cat([inside, norm.steepest(inside) * eps])  # the rim as well
    assert (norm.measure(inside) <= eps * (1 + 1e-5)).all()
    assert (inner((delta - nearest).expand_as(inside), inside - nearest) <= 1e-5).all()


@each_norm
def test_zero_radius_and_zero_perturbation(name):
    norm = NORMS[name]
    delta = gaussian(2, 1, 3, 3)
    assert torch.equal(norm.project(delta, torch.zeros(2)), torch.zeros_like(delta))
    for eps in (0.0, 0.3):
        projected = norm.project(torch.zeros(2, 1, 3, 3), torch.full((2,), eps))
        assert torch.equal(projected, torch.zeros(2, 1, 3, 3)), "0/0 must not become NaN"


@each_norm
@each_shape
def test_steepest_direction_beats_a_thousand_random_ones(name, shape):
    norm, gradient = NORMS[name], gaussian(*shape, seed=3)
    best = norm.steepest(gradient)
    assert torch.allclose(norm.measure(best), torch.ones(len(best)), rtol=1e-5)
    assert torch.allclose(inner(gradient, best), dual(name, gradient), rtol=1e-4), "the dual norm is the maximum"
    others = norm.steepest(gaussian(1000, *shape[1:], seed=4))
    assert (inner(gradient[:1].expand_as(others), others) < inner(gradient, best)[0]).all()


@each_norm
@pytest.mark.parametrize("scale", [1e-30, 1e-38, 1e30])
def test_steepest_direction_does_not_depend_on_the_gradients_scale(name, scale):
    """|g| of 1e-30 squared underflows to 0 in float32, and 1e30 overflows: both are met with confident networks."""
    gradient = gaussian(3, 1, 28, 28, seed=5).clamp(0.5, 2)  # away from 0, so that scaling loses no entry
    direction = NORMS[name].steepest(gradient * scale)
    assert torch.allclose(direction, NORMS[name].steepest(gradient), rtol=1e-4, atol=1e-6)
    assert torch.allclose(NORMS[name].measure(direction), torch.ones(3), rtol=1e-5)


@each_norm
def test_steepest_direction_of_a_zero_gradient_is_zero(name):
    gradient = gaussian(2, 3, 4, 4)
    gradient[1] = 0
    direction = NORMS[name].steepest(gradient)
    assert torch.isfinite(direction).all() and (direction[1] == 0).all() and (direction[0] != 0).any()


@each_norm
@each_shape
def test_random_draws_lie_in_the_unit_ball_and_follow_the_seed(name, shape):
    norm, like = NORMS[name], torch.zeros(shape)
    draws = [norm.random(like, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    assert draws[0].shape == like.shape and draws[0].dtype == torch.float32
    assert (norm.measure(draws[0]) <= 1 + 1e-6).all()
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1]), "each image has its own draw"


@each_norm
def test_random_draws_are_uniform_in_the_ball(name):
    """In a ball of d dimensions P(norm <= r) = r^d, whatever the norm; and no direction is preferred."""
    n, dimensions = 20_000, 3
    draws = NORMS[name].random(torch.zeros(n, 1, 1, dimensions), torch.Generator().manual_seed(9))
    radius = NORMS[name].measure(draws).sort().values
    ideal = torch.arange(1, n + 1) / n
    # Kolmogorov-Smirnov: the largest gap exceeds 1.95 / sqrt(n) once in a thousand seeds.
    assert (radius ** dimensions - ideal).abs().max() < 1.95 / n ** 0.5
    flat = draws.flatten(1)
    assert flat.mean(dim=0).abs().max() < 5 / n ** 0.5
    covariance = flat.T @ flat / n
    variance = {"linf": 1 / 3, "l2": 1 / (dimensions + 2)}[name]
    assert torch.allclose(covariance, variance * torch.eye(dimensions), atol=0.015)
