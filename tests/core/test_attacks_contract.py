"""What every attack of ATTACKS promises, on a small convolutional and on a linear network, for both image shapes."""
import copy
import dataclasses
import math
import threading
import urllib.parse

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import core.attacks.base
from core.attacks import ATTACKS, PGD, OneStep, Searched
from core.errors import UserError
from core.norms import NORMS
from core.settings import settings_of

SHAPES = {"grey": (1, 28, 28), "rgb": (3, 32, 32)}
N = 5
FEW = {"steps": 4, "queries": 40, "generations": 3, "population": 16}  # enough for a contract, cheap enough for all
BOUNDED = [name for name in ATTACKS if ATTACKS[name].bounded]
SETTINGS = [(name, each) for name in ATTACKS for each in settings_of(ATTACKS[name])]


def names_of(parameter):
    return getattr(parameter, "name", parameter)


each_bounded = pytest.mark.parametrize("name", BOUNDED)
EXACT = [name for name in BOUNDED if not issubclass(ATTACKS[name], Searched)]
CHOOSING = ("apgd", "strong")  # halve steps and go back by comparing losses
RANDOM = (*CHOOSING, "random-search", "square", "noise", "one-pixel")
each_exact = pytest.mark.parametrize("name", [name for name in EXACT if not name.startswith(CHOOSING)])
each_smallest = pytest.mark.parametrize("name", [name for name in ATTACKS if name not in BOUNDED])
each_searched = pytest.mark.parametrize("name", [name for name in ATTACKS if issubclass(ATTACKS[name], Searched)])
each_attack = pytest.mark.parametrize("name", ATTACKS)
each_setting = pytest.mark.parametrize(("name", "each"), SETTINGS, ids=names_of)
each_whole_number = pytest.mark.parametrize(("name", "each"), [s for s in SETTINGS if s[1].kind is int], ids=names_of)
each_restarting = pytest.mark.parametrize("name", [name for name, each in SETTINGS if each.name == "restarts"])
each_with_gradients = pytest.mark.parametrize("name", [name for name in ATTACKS if not ATTACKS[name].black_box])


def make(name, **settings):
    known = {each.name: each for each in settings_of(ATTACKS[name])}
    few = {key: max(known[key].low, value) for key, value in FEW.items() if key in known}
    return ATTACKS[name](**(few | {key: value for key, value in settings.items() if key in known}))


def conv_net(channels, side):
    """The tutorial's architecture, for either shape."""
    after = (side - 4) // 2
    after = (after - 4) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 10, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(20 * after * after, 50), nn.ReLU(), nn.Dropout(), nn.Linear(50, 10))


def linear(channels, side):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, 10))


@pytest.fixture(params=[(kind, shape) for kind in (conv_net, linear) for shape in SHAPES],
                ids=lambda p: f"{p[0].__name__}-{p[1]}")
def case(request):
    """A frozen network in eval mode, images with saturated pixels among them, and the labels it gives or not."""
    kind, shape = request.param
    channels, side, _ = SHAPES[shape]
    generator = torch.Generator().manual_seed(1)
    model = kind(channels, side)
    with torch.no_grad():  # seeded without touching the global generator
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 2 / parameter[0].numel() ** 0.5)
    model.requires_grad_(False).eval()
    x = (torch.rand(N, channels, side, side, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    y = model(x).argmax(dim=1)
    y[-1] = (y[-1] + 1) % 10  # one that is wrong already
    return model, x, y


def grey_case():
    model = linear(1, 28)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    x = torch.rand(N, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    return model.requires_grad_(False).eval(), x, model(x).argmax(dim=1)


@each_attack
def test_the_class_describes_itself(name):
    kind = ATTACKS[name]
    assert kind.title and kind.__doc__
    assert kind.norm in NORMS or kind.norm == "l0" and not kind.bounded
    paper = urllib.parse.urlparse(kind.paper)
    assert paper.scheme == "https" and "." in paper.netloc and len(paper.path) > 1
    assert isinstance(kind.black_box, bool) and isinstance(kind.iterated, bool)
    assert kind.black_box == (kind().gradients == 0)


def test_titles_are_unique():
    assert len({kind.title for kind in ATTACKS.values()}) == len(ATTACKS)


@each_bounded
def test_attacks_are_frozen_values(name):
    attack = make(name, eps=0.2)
    assert attack == make(name, eps=0.2) and hash(attack) == hash(make(name, eps=0.2))
    assert attack != make(name, eps=0.25)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.eps = 0.5


@each_bounded
@pytest.mark.parametrize("eps", [0.03, 0.3, 3.0])
def test_the_result_keeps_its_promises(name, eps, case):
    model, x, y = case
    attack = make(name, eps=eps)
    result = attack(model, x, y)
    adversarial, delta = result.adversarial, (result.adversarial - x).double()
    assert adversarial.shape == x.shape and adversarial.dtype == torch.float32 and not adversarial.requires_grad
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    flat = delta.flatten(1)
    linf, l2, l0 = flat.abs().amax(dim=1), flat.square().sum(dim=1).sqrt(), (delta != 0).any(dim=1).flatten(1).sum(1)
    assert ({"linf": linf, "l2": l2}[attack.norm] <= eps + 1e-6).all()
    if not isinstance(attack, Searched):  # a search leaves alone what is wrong already, and may find nothing
        assert (l2 > 0).all(), "an attack must do something"
    # Measured again here, in float64.
    assert torch.allclose(result.linf.double(), linf, atol=1e-6)
    assert torch.allclose(result.l2.double(), l2, rtol=1e-5, atol=1e-6)
    assert torch.equal(result.l0, l0)
    with torch.no_grad():
        logits = model(adversarial)
    assert torch.equal(result.logits, logits)
    assert result.success.dtype == torch.bool and torch.equal(result.success, logits.argmax(dim=1) != y)
    assert result.gradients == attack.gradients


@each_bounded
def test_epsilon_zero_returns_the_image(name, case):
    model, x, y = case
    result = make(name, eps=0)(model, x, y)
    assert torch.equal(result.adversarial, x)
    assert result.l0.tolist() == [0] * N and result.l2.tolist() == [0] * N


@each_attack
def test_the_same_seed_gives_the_same_result(name, case):
    model, x, y = case
    attack = make(name, eps=0.2)
    before = torch.get_rng_state()
    first, again = attack(model, x, y, seed=3).adversarial, attack(model, x, y, seed=3).adversarial
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before), "the global generator belongs to other threads too"
    random = name.startswith(RANDOM) or getattr(attack, "random_start", False)
    others = [attack(model, x, y, seed=seed).adversarial for seed in range(4, 8)]  # a search may find nothing twice
    if name in BOUNDED or not torch.equal(first, x):  # what fools nobody leaves every image as it is
        assert any(not torch.equal(first, other) for other in others) == random


@each_smallest
def test_the_smallest_perturbation_is_judged_and_measured(name, case):
    model, x, y = case
    result = make(name, steps=60)(model, x, y)
    delta = (result.adversarial - x).double().flatten(1)
    with torch.no_grad():
        logits = model(result.adversarial)
    assert 0 <= result.adversarial.min() and result.adversarial.max() <= 1
    assert torch.equal(result.success, logits.argmax(dim=1) != y)
    assert torch.allclose(result.l2.double(), delta.norm(dim=1), rtol=1e-5, atol=1e-6)
    assert result.l2[-1] < 1e-3, "what is misread already needs nothing"
    unfooled = ~result.success
    assert torch.equal(result.adversarial[unfooled], x[unfooled]), "an image that is not fooled stays as it is"


@each_smallest
def test_a_path_is_the_strength_along_what_was_found(name, case):
    model, x, y = case
    attack, strengths = make(name), [0.0, 0.5, 1.0, 1.5]
    found, path = attack(model, x, y, seed=2).adversarial, attack.path(model, x, y, strengths, seed=2)
    for strength, images in zip(strengths, path, strict=True):
        assert torch.equal(images, (x + strength * (found - x)).clamp(0, 1))


@pytest.mark.parametrize("name", [name for name in BOUNDED if ATTACKS[name].iterated])
def test_stopping_early_fools_no_fewer(name, case):
    """Each image may be done at the first image that fools, but nothing is lost by it."""
    model, x, y = case
    whole, early = (make(name, eps=0.1)(model, x, y, seed=1, early=early) for early in (False, True))
    assert (early.success | ~whole.success).all()
    if not name.startswith(RANDOM) and not getattr(make(name), "random_start", False):
        assert torch.equal(early.adversarial[-1], x[-1]), "what is misread already is done before the first step"


@each_searched
def test_queries_are_counted_and_traced(name, case):
    model, x, y = case
    attack = make(name, eps=0.3)
    result = attack(model, x, y, seed=4)
    eps = torch.full((N,), 0.3)
    search = attack.search(model, x, y, eps, target=None, generator=torch.Generator().manual_seed(4))
    assert torch.equal(result.queries, search.queries)
    assert (result.queries >= 1).all() and (result.queries <= attack.queries).all()
    assert (result.queries[~result.success] == attack.queries).all(), "an image that is not fooled asks to the end"
    assert len(search.trace) == search.queries.max()
    assert (search.trace.diff(dim=0) <= 0).all(), "the best so far"
    with torch.no_grad():
        probability = model(result.adversarial).softmax(dim=1).gather(1, y[:, None])[:, 0]
    assert (search.trace[-1] <= probability + 1e-4).all(), "what is handed back is not better than the best seen"
    assert (search.trace[-1] < 0.5)[result.success].all()


@each_restarting
def test_restarts_are_reproducible_and_never_worse(name, case):
    model, x, y = case
    once, more = (make(name, eps=0.05, restarts=k)(model, x, y, seed=1) for k in (1, 3))
    assert torch.equal(more.adversarial, make(name, eps=0.05, restarts=3)(model, x, y, seed=1).adversarial)
    assert (more.success | ~once.success).all(), "the first of three runs is the one run"
    loss = [F.cross_entropy(r.logits, y, reduction="none") for r in (once, more)]
    if not name.startswith("apgd-t"):  # its loss is another
        assert (loss[1] >= loss[0] - 1e-5)[more.success == once.success].all()
    assert more.gradients == 3 * once.gradients


EPSILONS = [0.0, 0.02, 0.1, 0.35]


@each_exact
def test_a_path_is_the_attack_at_each_epsilon(name, case):
    """Also with a random start: the draw belongs to the image and the seed, and is scaled with eps.

    Not for attacks that compare losses on their way (searches, APGD): a tie that rounds otherwise in a batch of
    another size sends them another way.
    """
    model, x, y = case
    attack = make(name)
    path = attack.path(model, x, y, EPSILONS, seed=5)
    assert path.shape == (len(EPSILONS), *x.shape) and not path.requires_grad
    for k, eps in enumerate(EPSILONS):
        alone = dataclasses.replace(attack, eps=eps)(model, x, y, seed=5).adversarial
        assert torch.allclose(path[k], alone, atol=2e-6, rtol=0), f"eps {eps}"


@each_exact
def test_a_path_without_random_start_is_the_attack_at_each_epsilon(name, case):
    model, x, y = case
    attack = make(name, random_start=False)
    path = attack.path(model, x, y, EPSILONS)
    for k, eps in enumerate(EPSILONS):
        alone = dataclasses.replace(attack, eps=eps)(model, x, y).adversarial
        assert torch.allclose(path[k], alone, atol=2e-6, rtol=0), f"eps {eps}"


@each_exact
def test_a_path_follows_its_seed_and_not_the_batch_size(name, case, monkeypatch):
    model, x, y = case
    attack = make(name)
    path = attack.path(model, x, y, EPSILONS, seed=6)
    assert torch.equal(path, attack.path(model, x, y, EPSILONS, seed=6))
    for batch in (1, 2 * N, 3 * N + 1):
        monkeypatch.setattr(core.attacks.base, "BATCH", batch)
        assert torch.allclose(path, attack.path(model, x, y, EPSILONS, seed=6), atol=2e-6, rtol=0), f"BATCH {batch}"


@each_attack
def test_a_path_of_no_epsilons_is_empty(name):
    model, x, y = grey_case()
    assert make(name).path(model, x, y, []).shape == (0, *x.shape)


@each_bounded
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, 1001])
def test_a_path_refuses_what_the_constructor_refuses(name, bad):
    model, x, y = grey_case()
    with pytest.raises(UserError):
        make(name, eps=bad)
    with pytest.raises(UserError):
        make(name).path(model, x, y, [0.1, bad])


@each_attack
def test_an_empty_batch_gives_an_empty_result(name):
    model, x, y = grey_case()
    attack = make(name, eps=0.1)
    result = attack(model, x[:0], y[:0])
    assert result.adversarial.shape == (0, 1, 28, 28) and result.success.shape == (0,)
    assert attack.path(model, x[:0], y[:0], EPSILONS).shape == (len(EPSILONS), 0, 1, 28, 28)


@each_attack
def test_nothing_that_is_handed_in_is_changed(name, case):
    model, x, y = case
    model[0].requires_grad_(True)  # an attack must neither store gradients nor freeze what is not frozen
    state, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    images, labels, target = x.clone(), y.clone(), (y + 1) % 10
    attack = make(name, eps=0.2, restarts=2)
    attack(model, x, y, target=target)
    attack.path(model, x, y, EPSILONS)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(x, images) and torch.equal(y, labels) and torch.equal(target, (y + 1) % 10)
    assert x.grad is None and not x.requires_grad


@each_with_gradients
def test_a_target_gains_probability(name, case):
    model, x, y = case
    steps = 10 if name in BOUNDED else 100
    attack, target = make(name, eps=0.05, random_start=False, steps=steps), (model(x).argmax(dim=1) + 3) % 10
    result = attack(model, x, y, target=target)
    before, after = (logits.softmax(dim=1).gather(1, target[:, None]) for logits in (model(x), result.logits))
    assert torch.equal(result.success, result.logits.argmax(dim=1) == target)
    if name not in BOUNDED:  # these reach the target or leave the image as it is
        assert result.success.any() and (after > before)[result.success].all()
        return
    assert name.startswith("apgd-t") or (after > before).all()  # APGD-T raises a ratio of logits
    if name.startswith(CHOOSING):
        return
    path = attack.path(model, x, y, [0.05], target=target)
    assert torch.allclose(path[0], result.adversarial, atol=2e-6, rtol=0)


@each_attack
@pytest.mark.parametrize("break_it", [
    lambda x, y: (x.double(), y, None), lambda x, y: ((x * 255).byte(), y, None), lambda x, y: (x[0], y, None),
    lambda x, y: (x.flatten(1), y, None), lambda x, y: (x + 0.5, y, None), lambda x, y: (x - 0.5, y, None),
    lambda x, y: (torch.full_like(x, math.nan), y, None), lambda x, y: (torch.full_like(x, math.inf), y, None),
    lambda x, y: (torch.cat([x[:-1], torch.full_like(x[:1], math.nan)]), y, None),
    lambda x, y: (x, y[:-1], None), lambda x, y: (x, y[:, None], None), lambda x, y: (x, y.float(), None),
    lambda x, y: (x, y, y[:-1]), lambda x, y: (x, y, y.int()),
    # torch's cross-entropy takes -100 for "leave this one out", which would quietly attack nothing.
    lambda x, y: (x, torch.full_like(y, -100), None), lambda x, y: (x, y, torch.full_like(y, -100)),
], ids=["float64", "uint8", "3-d", "2-d", "above 1", "below 0", "nan", "inf", "nan in one", "too few labels",
        "2-d labels", "float labels", "too few targets", "int32 targets", "negative labels", "negative targets"])
def test_bad_images_and_labels_are_refused(name, break_it):
    model, *good = grey_case()
    x, y, target = break_it(*good)
    with pytest.raises(ValueError):
        make(name)(model, x, y, target=target)
    with pytest.raises(ValueError):
        make(name).path(model, x, y, [0.1], target=target)


@each_setting
def test_settings_outside_their_range_are_refused(name, each):
    bad = [math.nan, math.inf, "0.1", None, [0.1], 10 ** 400]
    if each.choices:
        bad += ["", each.choices[0].upper()]
    elif each.kind is bool:
        bad += [2, 0.5, "yes"]
    else:
        assert each.low < each.high and each.step > 0
        bad += [each.low - 1, each.high + 1, -math.inf, True]
    if each.kind is int:
        bad += [each.low + 0.5]
    for value in bad:
        with pytest.raises(UserError):
            ATTACKS[name](**{each.name: value})


@each_setting
def test_settings_at_the_ends_of_their_range_work(name, each):
    assert ATTACKS[name](**{each.name: each.default}) == ATTACKS[name]()
    for value in each.choices or ((True, False) if each.kind is bool else (each.low, each.high)):
        attack = ATTACKS[name](**{each.name: value})
        assert getattr(attack, each.name) == value


@each_whole_number
def test_a_whole_number_given_as_a_float_works_or_is_refused(name, each):
    """JSON and links know only numbers: 5.0 may be refused when it is set, not crash when it is used."""
    try:
        attack = make(name, **{each.name: 3.0})
    except UserError:
        return
    model, x, y = grey_case()
    exact = make(name, **{each.name: 3})
    assert torch.equal(attack(model, x, y).adversarial, exact(model, x, y).adversarial)


@each_attack
def test_progress_counts_the_gradient_steps(name):
    model, x, y = grey_case()
    attack, steps = make(name, restarts=2), []
    attack(model, x, y, on_step=steps.append)
    assert steps == list(range(1, len(steps) + 1))
    most = attack.queries if isinstance(attack, Searched) else max(1, attack.gradients, getattr(attack, "generations", 0) + 1)
    if name.startswith("strong"):
        most += attack.queries
    assert len(steps) == most if name in EXACT and not name.startswith("strong") else 0 < len(steps) <= most, "an image that is fooled may be done"


@each_attack
def test_threads_may_share_a_model(name, case):
    """Sessions are threads over one cached model: each must get, bit for bit, what it would get alone."""
    model, x, y = case
    jobs = [(make(name, eps=eps), seed) for seed, eps in enumerate((0.05, 0.1, 0.2, 0.4))]
    alone = [attack(model, x, y, seed=seed).adversarial for attack, seed in jobs]
    together = [[None] * len(jobs) for _ in range(2)]
    barrier = threading.Barrier(2)

    def work(thread):
        barrier.wait()
        order = range(len(jobs)) if thread else reversed(range(len(jobs)))  # never the same job at the same time
        for k in order:
            attack, seed = jobs[k]
            together[thread][k] = attack(model, x, y, seed=seed).adversarial

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results in together:
        assert all(torch.equal(result, expected) for result, expected in zip(results, alone, strict=True))


def test_a_step_follows_the_direction_of_a_one_step_attack():
    """OneStep: x + eps * direction(x), for every eps of a path from one gradient."""
    model, x, y = grey_case()
    for name, kind in ATTACKS.items():
        if issubclass(kind, OneStep):
            direction, _ = kind().direction(model, x, y, None, torch.Generator().manual_seed(0))
            expected = (x + 0.125 * direction).clamp(0, 1)
            assert torch.allclose(kind(eps=0.125)(model, x, y).adversarial, expected, atol=1e-6), name


def test_iterating_beats_one_step():
    """PGD's loss is not below FGSM's on average, else it would not climb."""
    model, x, y = grey_case()
    losses = [F.cross_entropy(kind(eps=0.02)(model, x, y).logits, y) for kind in (ATTACKS["fgsm"], PGD)]
    assert losses[1] >= losses[0] - 1e-4
