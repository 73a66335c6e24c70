"""Attacks against foolbox, ART and torchattacks: the same network, images, settings and start, the same result.

Tolerance: 1e-5 for every pixel. Where a library defines something differently, its parameters or the one step
in question are aligned here, with the reason, instead of widening the tolerance.

Networks with ReLU and max-pooling have kinks where the gradient jumps. Two L2 runs that round differently in
the eighth digit now and then pass such a kink on different sides and part for good. So an image that differs in
float32 is computed again by both sides in float64, where it must agree a hundred times better; such images must
be few, and may not occur for L-inf and for single steps at all.
"""
import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn

from core.attacks import FGM, FGSM, PGD, PGDL2
from core.attacks.base import draw, loss_gradient
from core.data import SAMPLES, load
from core.models import loading
from core.norms import NORMS
from core.vision import torchvision

torchvision()  # the libraries import it, which fails beside a CPU build of torch without core.vision's help
WHY = "{} is one of the reference libraries: install it to compare with it"
fb = pytest.importorskip("foolbox", reason=WHY.format("foolbox"))
torchattacks = pytest.importorskip("torchattacks", reason=WHY.format("torchattacks"))
art_attacks = pytest.importorskip("art.attacks.evasion", reason=WHY.format("adversarial-robustness-toolbox"))
art_estimators = pytest.importorskip("art.estimators.classification")
art_pgd = pytest.importorskip(
    "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch")

N = 64  # a power of two, so that a mean over the batch instead of a sum scales gradients without rounding
STEPS, STEP_SIZE = 10, 0.25  # a power of two: step_size * eps is the same in float32 and in float64
TOLERANCE = 1e-5
FEW = N // 16  # images that may need float64 to agree
EPS = {"linf": (0.05, 0.1, 0.3), "l2": (0.5, 1.5, 3.0)}
SEED = 11


@pytest.fixture(scope="module", params=["tutorial-cnn", "lenet5"])
def case(request):
    """A shipped network and 64 digits on which the comparison is about attacks and not about underflow.

    A digit recognised with probability 1 up to 1e-10 has a gradient so small that foolbox (which divides by
    max(|g|, 1e-12)) and torchattacks (by |g| + 1e-10) take shorter L2 steps on purpose; core does not, which
    test_norms.py covers.
    """
    model = loading.load(request.param)
    dataset = load("mnist", "sample", SAMPLES)
    x, y = dataset.batch(slice(0, None, 10))
    x, y = x.contiguous(), y.contiguous()
    usable = NORMS["l2"].measure(loss_gradient(model, x, y, None)) > 1e-4
    assert usable.sum() >= N
    return model, x[usable][:N], y[usable][:N]


def ours(kind, eps, **settings):
    return kind(eps=eps, **settings) if kind in (FGSM, FGM) else kind(eps, STEPS, STEP_SIZE, **settings)


def in_float64(attack, model, x, y, target=None):
    """The attack's own algorithm in float64 (a call insists on float32), from the same float32 start."""
    eps = torch.full((len(x),), attack.eps, dtype=torch.float64)
    return attack.perturb(model, x, y, eps, target=target, generator=torch.Generator().manual_seed(SEED))


def assert_same(attack, library, case, target=None):
    """`library(model, x, y)` and `attack` end at the same images (see the top of this file)."""
    model, x, y = case
    expected = attack(model, x, y, target=target, seed=SEED).adversarial
    found = torch.as_tensor(library(model, x, y))
    assert found.shape == expected.shape and found.dtype == torch.float32
    differ = ((found - expected).abs() > TOLERANCE).flatten(1).any(dim=1)
    if not differ.any():
        return
    assert type(attack) is PGDL2, f"images {differ.nonzero().flatten().tolist()} differ"
    assert differ.sum() <= FEW, f"{int(differ.sum())} images differ"
    exact = copy.deepcopy(model).double()
    found, expected = torch.as_tensor(library(exact, x.double(), y)), in_float64(attack, exact, x.double(), y, target)
    assert found.dtype == expected.dtype == torch.float64
    gap = (found - expected)[differ].abs().max()
    assert gap <= TOLERANCE / 100, f"differs by {gap:.1e} in float64 too, so rounding is not the reason"


def unit_noise(norm, x):
    """The draw that a call with seed=SEED makes."""
    return draw(norm, x, torch.Generator().manual_seed(SEED))


def no_random_start(kind):
    return {} if kind in (FGSM, FGM) else {"random_start": False}


def name_of(parameter):
    return getattr(parameter, "__name__", None)


CASES = [(kind, eps) for kind in (FGSM, FGM, PGD, PGDL2) for eps in EPS[kind.norm]]
each_case = pytest.mark.parametrize(("kind", "eps"), CASES, ids=name_of)
each_pgd = pytest.mark.parametrize(("kind", "eps"), [c for c in CASES if c[0] in (PGD, PGDL2)], ids=name_of)


# foolbox

FOOLBOX = {FGSM: fb.attacks.LinfFastGradientAttack, FGM: fb.attacks.L2FastGradientAttack,
           PGD: fb.attacks.LinfProjectedGradientDescentAttack, PGDL2: fb.attacks.L2ProjectedGradientDescentAttack}


def foolbox(kind, eps, start=None, target=None):
    settings = {} if kind in (FGSM, FGM) else {"steps": STEPS, "rel_stepsize": STEP_SIZE}
    attack = FOOLBOX[kind](random_start=start is not None, **settings)
    if start is not None:
        attack.get_random_start = lambda x0, epsilon: x0 + epsilon * type(x0)(start.to(x0.raw.dtype))

    def run(model, x, y):
        criterion = y if target is None else fb.criteria.TargetedMisclassification(target)
        return attack(fb.PyTorchModel(model, bounds=(0, 1)), x, criterion, epsilons=eps)[1]

    return run


@each_case
def test_foolbox(case, kind, eps):
    attack = ours(kind, eps, **no_random_start(kind))
    assert_same(attack, foolbox(kind, eps), case)
    assert attack(*case).success.any(), "an attack that fools nobody compares little"


@each_pgd
def test_foolbox_with_the_same_random_start(case, kind, eps):
    start = unit_noise(kind.norm, case[1])
    assert_same(ours(kind, eps), foolbox(kind, eps, start), case)
    assert not torch.equal(foolbox(kind, eps, start)(*case), foolbox(kind, eps)(*case)), "the start must matter"


@pytest.mark.parametrize("kind", [PGD, PGDL2])
def test_foolbox_towards_a_target(case, kind):
    eps, target = EPS[kind.norm][1], (case[2] + 3) % 10
    assert_same(ours(kind, eps, random_start=False), foolbox(kind, eps, target=target), case, target)


# torchattacks

@pytest.mark.parametrize("eps", EPS["linf"])
def test_torchattacks_fgsm(case, eps):
    assert_same(FGSM(eps), lambda model, x, y: torchattacks.FGSM(model, eps=eps)(x, y), case)


@each_pgd
@pytest.mark.parametrize("random", [False, True])
def test_torchattacks_pgd(case, kind, eps, random, monkeypatch):
    noise = unit_noise(kind.norm, case[1])
    settings = {"eps": eps, "alpha": STEP_SIZE * eps, "steps": STEPS, "random_start": random}
    # Its L2 step is g / (|g| + 1e-10), a little short of a unit; the step of the paper has no such term.
    library = torchattacks.PGD if kind is PGD else functools.partial(torchattacks.PGDL2, eps_for_division=0)

    def run(model, x, y):
        with monkeypatch.context() as patch:
            if random and kind is PGD:
                patch.setattr(torch.Tensor, "uniform_", lambda self, low, high: self.copy_(noise.to(self) * high))
            elif random:  # it scales a Gaussian to a random radius: hand it the direction and the radius of our draw
                radius = noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                patch.setattr(torch.Tensor, "normal_", lambda self: self.copy_(noise))
                patch.setattr(torch.Tensor, "uniform_", lambda self, low, high: self.copy_(radius))
            return library(model, **settings)(x, y)

    assert_same(ours(kind, eps, random_start=random), run, case)


# ART

def art_classifier(model, clip_values):
    # The sum instead of ART's usual mean: the step depends on the gradient's direction alone, and so loses no digits.
    return art_estimators.PyTorchClassifier(model, loss=nn.CrossEntropyLoss(reduction="sum"), input_shape=(1, 28, 28),
                                            nb_classes=10, clip_values=clip_values, device_type="cpu")


def art_norm(kind):
    return {"linf": np.inf, "l2": 2}[kind.norm]


@pytest.mark.parametrize(("kind", "eps"), [c for c in CASES if c[0] in (FGSM, FGM)], ids=name_of)
def test_art_fast_gradient(case, kind, eps):
    def run(model, x, y):
        classifier = art_classifier(model, (0.0, 1.0))
        attack = art_attacks.FastGradientMethod(classifier, norm=art_norm(kind), eps=eps, batch_size=N)
        return attack.generate(x.numpy(), y.numpy())

    assert_same(kind(eps), run, case)


class PixelsLast(art_pgd.ProjectedGradientDescentPyTorch):
    """ART's PGD with the pixel range applied after the projection, as by foolbox, torchattacks and core, not before.

    For L-inf the two orders are one and the same. For L2 they are not: cutting off what leaves [0, 1] shortens
    a perturbation, so there is less (or nothing) for the projection to scale down afterwards.
    """

    def _compute_pytorch(self, *arguments):
        return super()._compute_pytorch(*arguments).clamp(0, 1)


AsItComes = art_pgd.ProjectedGradientDescentPyTorch


def art(kind, eps, monkeypatch=None, start=None, attack_class=PixelsLast):
    def run(model, x, y):
        if start is not None:
            inside = ((x + eps * start.to(x)).clamp(0, 1) - x).numpy()
            monkeypatch.setattr(art_pgd, "random_sphere", lambda n, m, radius, norm: inside.reshape(n, m))
            if x.dtype == torch.float64:
                monkeypatch.setattr(art_pgd, "ART_NUMPY_DTYPE", np.float64)
        # No clip_values: ART's own clipping is off.
        classifier = art_classifier(model, None if attack_class is PixelsLast else (0.0, 1.0))
        attack = attack_class(classifier, norm=art_norm(kind), eps=eps, eps_step=STEP_SIZE * eps, max_iter=STEPS,
                              num_random_init=int(start is not None), batch_size=N, verbose=False)
        if x.dtype == torch.float32:
            return attack.generate(x.numpy(), y.numpy())
        return attack._generate_batch(x, nn.functional.one_hot(y, 10).double(), None, eps, STEP_SIZE * eps)

    return run


@each_pgd
@pytest.mark.parametrize("random", [False, True])
def test_art_pgd(case, kind, eps, random, monkeypatch):
    start = unit_noise(kind.norm, case[1]) if random else None
    assert_same(ours(kind, eps, random_start=random), art(kind, eps, monkeypatch, start), case)


@pytest.mark.parametrize("eps", EPS["linf"])
def test_art_pgd_as_it_comes_for_linf(case, eps):
    assert_same(ours(PGD, eps, random_start=False), art(PGD, eps, attack_class=AsItComes), case)


def test_art_pgd_as_it_comes_for_l2_where_pixels_stay_inside(case):
    """Contrast reduced to [0.3, 0.7] and eps 0.3: no pixel can leave [0, 1], so the order of the cuts is moot."""
    model, x, y = case
    reduced = model, 0.3 + 0.4 * x, y
    assert_same(ours(PGDL2, 0.3, random_start=False), art(PGDL2, 0.3, attack_class=AsItComes), reduced)


def test_art_pgd_as_it_comes_for_l2_differs_by_its_order_of_cuts(case):
    """Why PixelsLast is needed: on digits, ART's own order ends elsewhere in the ball by far more than rounding."""
    model, x, y = case
    found = torch.as_tensor(art(PGDL2, 1.5, attack_class=AsItComes)(model, x, y))
    own = ours(PGDL2, 1.5, random_start=False)(model, x, y).adversarial
    assert ((found - own).abs() > 0.01).flatten(1).any(dim=1).float().mean() > 0.5
    for images in (found, own):
        assert (NORMS["l2"].measure(images - x) <= 1.5 + 1e-5).all() and images.min() >= -1e-6 and images.max() <= 1
