"""Maps of what counts: closed forms on a linear network, completeness, captum's answers, nothing left on a model."""
import threading

import pytest
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from torch import nn

from core.analysis.grad_cam import convolutions, default_layer, grad_cam
from core.analysis.saliency import (METHODS, MOST, NEEDS_CONVOLUTION, gradient, integrated_gradients, saliency, signed,
                                    smooth_grad)
from core.data import SAMPLES, load
from core.errors import UserError
from core.models import loading
from core.models.cards import MODELS
from core.models.conv_pool import WORTH_IT

SHIPPED = [name for name, card in MODELS.items() if card.weights.is_file()]
ONE_OF_EACH = sorted({MODELS[name].architecture: name for name in reversed(SHIPPED)}.values())
COMPARED = [name for name in ("tutorial-cnn", "lenet5", "convnet3", "resnet20") if name in SHIPPED]


def images(name, count=4):
    """A model, images that it reads, and the classes that it reads in them."""
    model, card = loading.load(name), MODELS[name]
    some = slice(0, 37 * count, 37) if card.shape[0] == 1 else slice(count)
    x, _ = load(card.dataset, "sample", SAMPLES).only(card.labels).batch(some)
    return model, x, model(x).argmax(dim=1)


def linear(channels=3):
    """A network z = W x, and W as images [K, C, 8, 8]."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, 5, bias=False)).requires_grad_(False)
    return network, network[1].weight.view(5, channels, 8, 8)


def random(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def untouched(model):
    """Everything that a careless method would leave behind: (hooks, gradients, training, values)."""
    hooks = [len(part._forward_hooks) + len(part._backward_hooks) + len(part._forward_pre_hooks)
             for part in model.modules()]
    return (sum(hooks), [p.grad for p in model.parameters()], [p.requires_grad for p in model.parameters()],
            [part.training for part in model.modules()], [t.clone() for t in model.state_dict().values()])


def assert_same(before, after):
    assert before[:4] == after[:4] and before[0] == 0
    assert all(torch.equal(one, other) for one, other in zip(before[4], after[4]))


def test_a_linear_network_has_its_weights_as_gradient():
    network, weights = linear()
    x, classes = random(4, 3, 8, 8), torch.tensor([0, 4, 2, 2])
    generator = torch.Generator().manual_seed(0)
    for found in (gradient(network, x, classes)[0], smooth_grad(network, x, classes, samples=3, generator=generator)):
        torch.testing.assert_close(found, weights[classes])
    black, other = (integrated_gradients(network, x, classes, baseline=b, steps=1) for b in (None, random(1, 3, 8, 8)))
    torch.testing.assert_close(black, weights[classes] * x)
    torch.testing.assert_close(other, weights[classes] * (x - random(1, 3, 8, 8)))


def test_maps_are_sums_and_largest_magnitudes_over_the_channels():
    network, weights = linear()
    x, classes = random(2, 3, 8, 8), torch.tensor([1, 3])
    own = weights[classes]
    torch.testing.assert_close(METHODS["gradient"](network, x, classes).signed, own.sum(dim=1))
    torch.testing.assert_close(METHODS["gradient"](network, x, classes).magnitude, own.abs().amax(dim=1))
    torch.testing.assert_close(METHODS["integrated"](network, x, classes).signed, (own * x).sum(dim=1))
    assert torch.equal(signed(own), own.sum(dim=1)) and torch.equal(saliency(own), own.abs().amax(dim=1))


def test_grad_cam_of_a_convolution_that_is_only_summed():
    """z_c = sum over k and pixels of v_ck A_k: the weights are v_ck, so the map is sum of v_ck A_k."""
    conv, v = nn.Conv2d(1, 3, 3, padding=1), random(5, 3)

    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            return self.conv(x).sum(dim=(2, 3)) @ v.t()

    x, classes = random(2, 1, 6, 6), torch.tensor([0, 3])
    with torch.no_grad():
        expected = (v[classes][:, :, None, None] * conv(x)).sum(dim=1)
    torch.testing.assert_close(grad_cam(Summed(), x, classes, "conv"), expected)


@pytest.mark.parametrize("name", SHIPPED)
def test_completeness_to_one_per_cent(name):
    model, x, predicted = images(name, 8)
    for baseline in (None, x.flip(0)[:1]):
        rise = model(x) - model(torch.zeros_like(x) if baseline is None else baseline.expand_as(x))
        rise = rise.gather(1, predicted[:, None])[:, 0]
        found = integrated_gradients(model, x, predicted, baseline=baseline)
        error = (found.flatten(1).sum(dim=1) - rise).abs()
        assert (error <= 0.01 * rise.abs().clamp_min(1)).all(), (error / rise.abs()).max()


def test_completeness_gives_up_where_it_cannot_be_had():
    class Step(nn.Module):
        def forward(self, x):
            return (x > 0.3).float().flatten(1) + 0 * x.flatten(1)

    asked, step = [], Step()
    step.register_forward_hook(lambda module, given, result: asked.append(len(result)))
    assert not integrated_gradients(step, torch.ones(1, 1, 2, 2), torch.tensor([0])).any()
    assert sum(asked) == MOST + 2


@pytest.mark.parametrize("name", COMPARED)
def test_captum_agrees(name):
    """The deepest in double precision, where another size of batch does not put one of its ReLUs on the other side."""
    model, x, predicted = images(name)
    if name == "resnet20":
        model, x = model.double(), x.double()
    other = (predicted + 1) % 10
    for classes in (predicted, other):
        mine = {"gradient": gradient(model, x, classes)[0],
                "integrated": integrated_gradients(model, x, classes, steps=40, tolerance=torch.inf)}
        theirs = {"gradient": Saliency(model).attribute(x, target=classes, abs=False),
                  "integrated": IntegratedGradients(model).attribute(x, target=classes, n_steps=40,
                                                                     method="riemann_middle", internal_batch_size=64)}
        for method, found in mine.items():
            torch.testing.assert_close(found, theirs[method].to(found.dtype), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", COMPARED)
def test_captum_agrees_at_every_convolution(name):
    model, x, classes = images(name)
    x = x.repeat(WORTH_IT // len(x), 1, 1, 1)  # enough for the networks' fast paths
    classes = classes.repeat(WORTH_IT // len(classes))
    model.requires_grad_(True)  # captum wants a gradient all the way; ours does without
    for layer in convolutions(model, x.shape[1:]):
        theirs = LayerGradCam(model, model.get_submodule(layer)).attribute(x, target=classes)
        theirs = LayerAttribution.interpolate(theirs, x.shape[2:], "bilinear")[:, 0]
        torch.testing.assert_close(grad_cam(model, x, classes, layer), theirs.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", COMPARED[:2])
def test_smooth_grad_is_the_mean_of_captums_gradients_over_the_same_noise(name):
    model, x, classes = images(name, 3)
    noise = 0.2 * torch.randn(70, 1, *x.shape[1:], generator=torch.Generator().manual_seed(5))
    expected = sum(Saliency(model).attribute(x + each, target=classes, abs=False) for each in noise) / 70
    found = smooth_grad(model, x, classes, samples=70, sigma=0.2, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_method_on_every_architecture(name, method):
    model, x, classes = images(name)
    before = untouched(model)
    if method in NEEDS_CONVOLUTION and not convolutions(model, x.shape[1:]):
        with pytest.raises(UserError, match="no convolution"):
            METHODS[method](model, x, classes)
    else:
        found = METHODS[method](model, x, classes, seed=3).signed
        assert found.shape == (len(x), *x.shape[2:]) and found.isfinite().all() and found.any()
        assert not found.requires_grad
        assert torch.equal(found, METHODS[method](model, x, classes, seed=3).signed)
        alone = torch.cat([METHODS[method](model, x[k:k + 1], classes[k:k + 1], seed=3).signed for k in range(len(x))])
        assert (alone - found).abs().mean() <= 1e-3 * found.abs().mean()
    assert_same(before, untouched(model))


def test_another_seed_is_another_noise():
    model, x, classes = images("lenet5")
    assert not torch.equal(*(METHODS["smoothgrad"](model, x, classes, seed=seed).signed for seed in (0, 1)))


@pytest.mark.parametrize("name", [name for name in ONE_OF_EACH if MODELS[name].dataset == "mnist"])
def test_convolutions_are_listed_in_the_order_in_which_they_compute(name):
    model, x, _ = images(name)
    layers = convolutions(model, x.shape[1:])
    assert list(layers) == [part for part, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert (default_layer(layers) is None) == (not layers)


@pytest.mark.parametrize("name", ["googlenet", "lenet5-ensemble", "convnet6-bn"])
def test_networks_with_branches_members_and_batch_norm(name):
    """Also without their weights: the map of the default layer has more than one pixel, and depends on the class."""
    card = MODELS[name]
    model = loading.Classifier(card.build(), card.mean, card.std).eval().requires_grad_(False)
    layers = convolutions(model, card.shape)
    height, width = layers[default_layer(layers)]
    assert height * width > 1
    one, other = (grad_cam(model, random(2, *card.shape), torch.tensor([c, c])) for c in (0, 1))
    assert one.shape == (2, *card.shape[1:]) and not torch.equal(one, other)


def test_an_unknown_layer_is_one_sentence():
    model, x, classes = images("lenet5")
    with pytest.raises(UserError, match="network.features.0, network.features.3"):
        grad_cam(model, x, classes, "network.features.1")


def test_nothing_stays_on_a_model_that_raises():
    model, x, classes = images("lenet5")
    before = untouched(model)
    for method in METHODS.values():
        with pytest.raises((RuntimeError, IndexError)):
            method(model, x, classes + 10)
        with pytest.raises(RuntimeError):
            method(model, x[:, :, :9], classes)
    assert_same(before, untouched(model))


def test_threads_that_share_a_model_do_not_see_each_other():
    model, x, predicted = images("tutorial-cnn", 8)
    layers = list(convolutions(model, x.shape[1:]))
    work = [(method, k, layer) for method in METHODS for k in range(0, 8, 4) for layer in layers] * 3
    expected = {job: METHODS[job[0]](model, x[job[1]:job[1] + 4], predicted[job[1]:job[1] + 4], layer=job[2]).signed
                for job in set(work)}
    wrong, hooks = [], []

    def run(jobs):
        for method, k, layer in jobs:
            found = METHODS[method](model, x[k:k + 4], predicted[k:k + 4], layer=layer).signed
            hooks.append(untouched(model)[0])
            if not torch.equal(found, expected[method, k, layer]):
                wrong.append((method, k, layer))

    threads = [threading.Thread(target=run, args=(jobs,)) for jobs in (work, work[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(hooks) == 2 * len(work) and not any(hooks)


def test_grad_cam_counts_only_what_speaks_for_the_class():
    x, y = load("mnist", "sample", SAMPLES).batch(slice(0, 8))
    found = METHODS["grad-cam"](loading.load("lenet5"), x, y)
    assert (found.signed < 0).any() and torch.equal(found.magnitude, found.signed.clamp_min(0))
