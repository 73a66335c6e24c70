"""Intervals, accuracy curves and epsilon paths against direct computation, the tutorial's counts, and the command."""
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import core.evaluation
from core.analysis.saliency import gradient
from core.attacks import ATTACKS, FGM, FGSM, PGD, CarliniWagner, Noise, Searched
from core.data import ROOT, SAMPLES, DataSet, load as load_data
from core.defenses import DEFENSES, JPEG, BitDepth, GaussianBlur, RandomNoise, Threshold, attackers, positions
from core.errors import UserError
from core.evaluate import main, parse_epsilons
from core.evaluation import accuracy_curve, defended, epsilon_path, known, over_slider, require_fit
from core.models import loading
from core.models.cards import MODELS
from core.settings import settings_of
from core.statistics import wilson

EPSILONS = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
# What the 10,000 test digits give on the tutorial's checkpoint, as its page prints them (its accuracies times 10,000).
TUTORIAL_COUNTS = [9810, 9426, 8510, 6826, 4301, 2082, 869]


@pytest.fixture(scope="module")
def model():
    return loading.load("tutorial-cnn")


@pytest.fixture(scope="module")
def sample():
    """600 bundled digits, 60 of each class."""
    whole = load_data("mnist", "sample", SAMPLES)
    step = len(whole) // 600
    keep = slice(0, 600 * step, step)
    return DataSet("mnist", "sample", "bundled", whole.images[keep], whole.labels[keep], whole.classes)


def last(curve):
    points = None
    for points in curve:
        pass
    return points


def counts(points):
    return [point.correct for point in points]


# Wilson's interval

@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (0, 20), (20, 20), (5, 10), (1, 1000), (9810, 10000),
                                                (869, 10000), (3, 7)])
def test_wilson_is_scipys(correct, total):
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the reference libraries")
    expected = stats.binomtest(correct, total).proportion_ci(confidence_level=0.95, method="wilson")
    low, high = wilson(correct, total)
    assert low == pytest.approx(expected.low, abs=1e-6) and high == pytest.approx(expected.high, abs=1e-6)
    assert 0 <= low <= correct / total <= high <= 1


def test_wilson_by_hand():
    """1 of 2: centre 1/2, half width z / (1 + z^2/2) * sqrt(1/8 + z^2/16)."""
    z = 1.959964
    half = z / (1 + z * z / 2) * (1 / 8 + z * z / 16) ** 0.5
    assert wilson(1, 2) == pytest.approx((0.5 - half, 0.5 + half))
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_narrows_with_n_and_widens_with_confidence():
    widths = [high - low for low, high in (wilson(n // 2, n) for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)
    assert wilson(5, 10, z=2.576)[0] < wilson(5, 10)[0]


# Accuracy curves

def test_the_tutorials_checkpoint_gives_exactly_its_counts(data_dir):
    path = os.environ.get("EPSILON_LAB_TUTORIAL_CHECKPOINT")
    if not path:
        pytest.skip("EPSILON_LAB_TUTORIAL_CHECKPOINT is not set: it names the PyTorch tutorial's lenet_mnist_model.pth")
    model = loading.load("tutorial-cnn", checkpoint=path)
    points = last(accuracy_curve(model, FGSM(), load_data("mnist", "test", data_dir), EPSILONS))
    assert counts(points) == TUTORIAL_COUNTS
    assert all(point.total == 10_000 and point.accuracy == point.correct / 10_000 for point in points)


@pytest.mark.parametrize("attack", [FGSM(), FGM(), Noise()], ids=lambda attack: attack.title)
def test_a_curve_of_a_one_step_attack_is_what_its_definition_says(model, sample, attack):
    x, y = sample.batch(slice(None))
    clean = model(x).argmax(dim=1) == y
    epsilons = [0.0, 0.1, 0.3, 3.0]
    points = last(accuracy_curve(model, attack, sample, epsilons, limit=240, seed=4))
    for point in points:
        adversarial = replace(attack, eps=point.epsilon)(model, x[:240], y[:240], seed=4)
        assert point.correct == int((clean[:240] & ~adversarial.success).sum())
        assert (point.low, point.high) == wilson(point.correct, 240) and point.total == 240
    assert [point.epsilon for point in points] == epsilons


def test_epsilon_zero_is_the_clean_accuracy(model, sample):
    x, y = sample.batch(slice(None))
    clean = int((model(x).argmax(dim=1) == y).sum())
    for attack in (FGSM(), PGD(steps=2), Noise()):
        assert counts(last(accuracy_curve(model, attack, sample, [0.0]))) == [clean]
    defense = JPEG(20)
    behind = int((model(defense(x)).argmax(dim=1) == y).sum())
    assert counts(last(accuracy_curve(model, FGSM(), sample, [0.0], defense=defense))) == [behind]


def test_partial_results_count_the_images_so_far(model, sample):
    steps = list(accuracy_curve(model, FGSM(), sample, [0.0, 0.2]))
    batch = core.evaluation.BATCH
    assert [points[0].total for points in steps] == [batch, 2 * batch, 600]
    for points in steps:
        total = points[0].total
        assert counts(points) == counts(last(accuracy_curve(model, FGSM(), sample, [0.0, 0.2], limit=total)))
    assert counts(steps[0]) != counts(steps[-1]), "a result once given must not change under the reader"


def test_stopping_keeps_what_was_measured(model, sample):
    curve = accuracy_curve(model, FGSM(), sample, [0.1])
    first = next(curve)
    curve.close()
    assert first[0].total == core.evaluation.BATCH and first[0].correct > 0


def test_limits(model, sample):
    assert last(accuracy_curve(model, FGSM(), sample, [0.1], limit=1))[0].total == 1
    assert last(accuracy_curve(model, FGSM(), sample, [0.1], limit=10 ** 9))[0].total == 600


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=3, random_start=False)], ids=lambda attack: attack.title)
def test_the_order_of_epsilons_does_not_matter(model, sample, attack):
    ordered = [0.0, 0.05, 0.1, 0.1, 0.2]
    mixed = [0.1, 0.0, 0.2, 0.1, 0.05]
    one = last(accuracy_curve(model, attack, sample, ordered, limit=120))
    other = last(accuracy_curve(model, attack, sample, mixed, limit=120))
    assert [point.epsilon for point in other] == mixed
    assert sorted((p.epsilon, p.correct) for p in one) == sorted((p.epsilon, p.correct) for p in other)
    assert one[2] == one[3], "the same eps twice"


def test_iterated_attacks_count_an_image_fooled_once_as_fooled(model, sample):
    """The rule: right at eps means right at every smaller eps of the curve, too."""
    x, y = sample.batch(slice(0, 200))
    attack, epsilons = PGD(steps=3, random_start=False), [0.05, 0.1, 0.15, 0.2]
    right = model(x).argmax(dim=1) == y
    expected = []
    for eps in epsilons:
        right = right & ~replace(attack, eps=eps)(model, x, y).success
        expected.append(int(right.sum()))
    assert counts(last(accuracy_curve(model, attack, sample, epsilons, limit=200))) == expected
    assert expected == sorted(expected, reverse=True) and expected[0] > expected[-1]


class Wavy(nn.Module):
    """Two classes; FGSM fools it at eps = 0.1 and no longer at 0.2: as x grows the second logit rises, then falls."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x):
        rise = x.mean(dim=(1, 2, 3)) - 0.5 + self.level
        return torch.stack([torch.full_like(rise, 0.05), rise.minimum(0.3 - 2 * rise)], dim=1)


def grey_level(value, n=3):
    images = np.full((n, 28, 28), value, np.uint8)
    return DataSet("mnist", "own", "npz", images, np.zeros(n, np.int64), tuple("0123456789"))


@pytest.mark.parametrize(("attack", "expected"), [(FGSM(), [3, 0, 3]), (PGD(steps=1, step_size=1.0, random_start=False),
                                                                       [3, 0, 0])], ids=["one step", "iterated"])
def test_one_step_attacks_are_counted_as_they_are(attack, expected):
    """FGSM may fool at a smaller eps and fail at a larger one, and its curve says so; an iterated one's does not."""
    assert counts(last(accuracy_curve(Wavy(), attack, grey_level(128), [0.0, 0.1, 0.2]))) == expected


def test_a_curve_of_images_that_are_all_wrong_is_zero(model):
    blank = grey_level(0)
    y = int(model(blank.batch([0])[0]).argmax())
    wrong = replace(blank, labels=np.full(3, (y + 1) % 10, np.int64))
    for attack in (FGSM(), PGD(steps=1)):
        assert counts(last(accuracy_curve(model, attack, wrong, [0.0, 0.1]))) == [0, 0]


def test_a_curve_follows_its_seed(model, sample):
    runs = [last(accuracy_curve(model, Noise(), sample, [0.45, 0.5], limit=300, seed=k)) for k in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("aware", [False, True])
@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=3, random_start=False)], ids=lambda attack: attack.title)
def test_a_defended_curve_judges_the_defended_network(model, sample, attack, aware):
    defense, epsilons = JPEG(30), [0.1, 0.2, 0.3]
    x, y = sample.batch(slice(0, 150))
    right = model(defense(x)).argmax(dim=1) == y
    ways = attackers(defense, model) if aware else [model]
    expected = []
    for eps in epsilons:
        now = right.clone()
        for seen in ways:
            now &= model(defense(replace(attack, eps=eps)(seen, x, y).adversarial)).argmax(dim=1) == y
        if attack.iterated and aware:  # an attacker who cannot see the defense does not know when to stop, either
            right = now
        expected.append(int(now.sum()))
    points = last(accuracy_curve(model, attack, sample, epsilons, limit=150, defense=defense, aware=aware))
    assert counts(points) == expected


def test_the_attacker_who_knows_is_not_weaker_here(model, sample):
    blind, aware = (counts(last(accuracy_curve(model, PGD(steps=5, random_start=False), sample, [0.15], limit=150,
                                               defense=JPEG(30), aware=knows))) for knows in (False, True))
    assert aware[0] < blind[0]


# Epsilon paths

def digit(sample, index):
    return sample.one(index)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_path_agrees_with_each_epsilon_computed_alone(model, sample, name):
    x, y = digit(sample, 303)
    little = {"steps": 20, "queries": 30, "population": 8, "generations": 2}
    attack = ATTACKS[name](**{each.name: little[each.name] for each in settings_of(ATTACKS[name]) if each.name in little})
    epsilons = [0.0, 0.1, 0.2, 0.4] if attack.norm == "linf" else [0.0, 1.0, 2.0, 4.0]
    path = epsilon_path(model, attack, x, y, epsilons, seed=3)
    assert path.epsilons == tuple(epsilons)
    # What compares losses on its way goes another way in a batch of another size, and what has no eps has strengths.
    whole = attack.path(model, x, y, epsilons, seed=3) if not attack.bounded or isinstance(attack, Searched) or \
        name.startswith(("apgd", "strong")) else None
    for k, eps in enumerate(epsilons):
        alone = replace(attack, eps=eps)(model, x, y, seed=3).adversarial if whole is None else whole[k]
        image = path.adversarial[k:k + 1]
        assert torch.allclose(image, alone, atol=2e-6)
        assert torch.allclose(path.probabilities[k], model(alone)[0].softmax(dim=0), atol=1e-4)
        assert path.linf[k].item() == pytest.approx((alone - x).abs().max().item(), abs=1e-5)
        assert path.l2[k].item() == pytest.approx((alone - x).norm().item(), abs=1e-4)
        assert path.l0[k] == int((image != x).any(dim=1).sum())
        assert path.rounded[k] == model((image * 255).round() / 255).argmax()
        spectrum = np.abs(np.fft.fftshift(np.fft.fft2((image - x)[0, 0].double().numpy())))
        assert np.allclose(path.spectrum[k], spectrum, atol=1e-3)
        expected = gradient(model, image)[0].abs().amax(dim=1)[0]
        assert torch.allclose(path.saliency[k], expected, rtol=1e-3, atol=1e-5 + 1e-3 * expected.max().item())
    assert path.adversarial.device.type == "cpu" and not path.probabilities.requires_grad


@pytest.mark.parametrize("attack", [FGSM(), FGM(), PGD(steps=4)], ids=lambda attack: attack.title)
def test_the_flip_fools_and_the_step_before_it_does_not(model, sample, attack):
    epsilons = [k * (0.05 if attack.norm == "linf" else 0.5) for k in range(11)]
    flips = 0
    for index in range(0, 600, 60):
        x, y = digit(sample, index + 7)
        path = epsilon_path(model, attack, x, y, epsilons, seed=1)
        clean, predicted = path.probabilities[0].argmax(), path.probabilities.argmax(dim=1)
        if path.flip is None:
            assert (predicted == clean).all()
            continue
        flips += 1
        at, before = (model(replace(attack, eps=max(0.0, eps))(model, x, y, seed=1).adversarial).argmax()
                      for eps in (path.flip, path.flip - path.flip_step))
        assert at != clean and before == clean
        k = int((predicted != clean).nonzero()[0])
        assert epsilons[k - 1] < path.flip <= epsilons[k] + 1e-9, "in the first step of the path that flips"
        assert path.flip_step == pytest.approx((epsilons[k] - epsilons[k - 1]) / 10)
    assert flips >= 5, "most digits flip below 0.5, or 5 in L2"


@pytest.mark.parametrize("refine", [1, 2, 25])
def test_refining_narrows_the_flip(model, sample, refine):
    x, y = digit(sample, 303)
    path = epsilon_path(model, FGSM(), x, y, [0.0, 0.25, 0.5], refine=refine)
    exact = epsilon_path(model, FGSM(), x, y, [0.0, 0.25, 0.5], refine=200).flip
    assert path.flip is not None and path.flip_step == pytest.approx(0.25 / refine)
    assert -1e-9 <= path.flip - exact <= path.flip_step


def test_no_flip_is_none(model, sample):
    x, y = digit(sample, 303)
    path = epsilon_path(model, FGSM(), x, y, [0.0, 0.001, 0.002])
    assert path.flip is None and path.flip_step == pytest.approx(0.001)


def test_a_path_of_an_image_that_is_wrong_already_flips_against_the_first_prediction(model, sample):
    x, y = digit(sample, 303)
    path = epsilon_path(model, FGSM(), x, (y + 1) % 10, [k * 0.05 for k in range(11)])
    predicted = path.probabilities.argmax(dim=1)
    if path.flip is None:
        assert (predicted == predicted[0]).all()
    else:
        assert (predicted != predicted[0]).any()


def test_a_targeted_path_raises_the_target(model, sample):
    x, y = digit(sample, 303)
    target = (y + 3) % 10
    path = epsilon_path(model, PGD(steps=10), x, y, [0.0, 0.1, 0.3], target=target)
    rising = path.probabilities[:, target.item()]
    assert rising[0] < rising[1] < rising[2]


def test_defended_is_the_defense_and_the_network(model, sample):
    x, _ = sample.batch(slice(0, 5))
    found, defense = defended(model, JPEG(40), x), JPEG(40)
    assert torch.equal(found.images, defense(x))
    assert torch.allclose(found.probabilities, model(defense(x)).softmax(dim=1), atol=1e-6)


def test_over_slider_is_the_defense_at_each_value(model, sample):
    x, _ = digit(sample, 303)
    found = over_slider(model, JPEG(10, "4:4:4"), x)
    assert found.images.shape == (100, 1, 28, 28)
    for quality in (1, 30, 75, 100):
        image = JPEG(quality, "4:4:4")(x)
        assert torch.equal(found.images[quality - 1:quality], image)
        assert torch.allclose(found.probabilities[quality - 1], model(image).softmax(dim=1)[0], atol=1e-5)


@pytest.mark.parametrize("name", DEFENSES)
def test_over_slider_works_for_every_defense(model, sample, name):
    x, _ = digit(sample, 303)
    kind = DEFENSES[name]
    settings = {"votes": 3} if name == "noise" else {}
    found, stops = over_slider(model, kind(**settings), x), positions(kind)
    assert found.images.shape == (len(stops), 1, 28, 28)
    last = kind(**settings, **{kind.slider: stops[-1]})
    assert torch.allclose(found.images[-1:], last(x), atol=1e-6)
    assert torch.allclose(found.probabilities[-1], last.defend(model)(x).softmax(dim=1)[0].detach(), atol=1e-5)


# The attacker who knows

WAYS = {"jpeg": JPEG(30), "threshold": Threshold(0.5), "bits": BitDepth(2), "blur": GaussianBlur(1.0)}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=3, random_start=False), CarliniWagner(steps=20)],
                         ids=lambda attack: attack.title)
def test_an_image_is_right_only_against_every_way_to_a_gradient(model, sample, name, attack):
    defense, eps, n = WAYS[name], *((0.1, 60) if attack.bounded else (1.0, 16))
    x, y = sample.batch(slice(0, n))
    judged = nn.Sequential(defense, model)
    right = judged(x).argmax(dim=1) == y
    for seen in attackers(defense, model):
        if attack.bounded:
            right &= judged(replace(attack, eps=eps)(seen, x, y).adversarial).argmax(dim=1) == y
        else:
            result = attack(seen, x, y)
            right &= (judged(result.adversarial).argmax(dim=1) == y) | (result.l2 > eps)
    points = last(accuracy_curve(model, attack, sample, [eps], limit=n, defense=defense, aware=True))
    assert counts(points) == [int(right.sum())]


def test_a_randomized_defense_is_judged_by_draws_that_the_attacker_does_not_have(model, sample):
    defense = RandomNoise(0.3, votes=5)
    runs = [counts(last(accuracy_curve(model, PGD(steps=5), sample, [0.0, 0.3], limit=60, defense=defense, aware=knows)))
            for knows in (True, True, False)]
    assert runs[0] == runs[1], "deterministic all the same"
    assert runs[0][0] == runs[2][0] and runs[0][1] <= runs[2][1]


def test_known_is_the_strongest_way_for_one_image(model, sample):
    x, y = digit(sample, 303)
    defense, epsilons = JPEG(30), (0.0, 0.1, 0.2)
    shares = known(model, defense, FGSM(), x, y, epsilons)
    each = torch.stack([nn.Sequential(defense, model)(FGSM().path(seen, x, y, epsilons)[:, 0]).softmax(dim=1)
                        for seen in attackers(defense, model)])
    assert len(each) == 2 and torch.allclose(shares[:, int(y)], each[:, :, int(y)].min(dim=0).values, atol=1e-6)
    steps = []
    alone = known(model, defense, PGD(steps=3), x, y, (0.1,), on_step=steps.append)
    assert steps == [1, 2, 3] * 2 and torch.allclose(alone, known(model, defense, PGD(steps=3), x, y, (0.1,)), atol=1e-6)
    target = (y + 1) % 10
    shares = known(model, defense, FGSM(), x, y, epsilons, target=target)
    assert shares.shape == (3, 10) and torch.allclose(shares.sum(dim=1), torch.ones(3), atol=1e-5)


# What fits

def test_a_data_set_of_another_shape_does_not_fit(sample):
    cifar10 = load_data("cifar10", "sample", SAMPLES)
    for name, dataset in (("tutorial-cnn", cifar10), ("resnet20", sample)):
        with pytest.raises(UserError) as caught:
            require_fit(MODELS[name], dataset)
        assert caught.value.key == "model.does_not_fit"
        assert "28x28" in str(caught.value) and "32x32" in str(caught.value)
    require_fit(MODELS["tutorial-cnn"], sample)
    require_fit(MODELS["resnet20"], cifar10)


def test_a_data_set_of_more_classes_does_not_fit(sample):
    labels = sample.labels.copy()
    require_fit(MODELS["lenet5"], replace(sample, labels=np.zeros_like(labels)))  # fewer are no problem
    labels[3] = 10
    with pytest.raises(UserError, match="11"):
        require_fit(MODELS["lenet5"], replace(sample, labels=labels))


# The shell

BASIC = ["--split", "sample", "--model", "tutorial-cnn", "--attack", "fgsm", "--limit", "20"]


def shell(capsys, *arguments):
    """Exit code, stdout and stderr of `python -m core.evaluate`."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:  # argparse's way out
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_prints_a_table(capsys, model, sample):
    code, out, err = shell(capsys, *BASIC, "--epsilons", "0, 0.1,51/255")
    assert code == 0 and err == ""
    head, *rows = out.splitlines()
    assert head.split() == ["epsilon", "correct", "total", "accuracy", "low", "high"]
    whole = load_data("mnist", "sample", SAMPLES)
    points = last(accuracy_curve(model, FGSM(), whole, [0, 0.1, 0.2], limit=20))
    for row, point in zip(rows, points, strict=True):
        epsilon, correct, total, accuracy, low, high = row.split()
        assert (float(epsilon), int(correct), int(total)) == (pytest.approx(point.epsilon), point.correct, 20)
        assert float(accuracy) == pytest.approx(point.accuracy, abs=1e-4)
        assert (float(low), float(high)) == (pytest.approx(point.low, abs=1e-4), pytest.approx(point.high, abs=1e-4))


def test_the_command_prints_json(capsys):
    code, out, err = shell(capsys, *BASIC[:-4], "--attack", "pgd", "--steps", "3", "--random-start", "no",
                           "--epsilons", "0,0.2", "--limit", "30", "--defense", "jpeg", "--quality", "40", "--aware",
                           "--seed", "7", "--json")
    assert code == 0 and err == ""
    result = json.loads(out)
    assert set(result) == {"dataset", "split", "model", "checkpoint", "attack", "norm", "settings", "defense",
                           "defense_settings", "attacker_knows_defense", "seed", "points"}
    assert (result["dataset"], result["split"], result["model"]) == ("mnist", "sample", "tutorial-cnn")
    assert (result["attack"], result["norm"], result["seed"]) == ("pgd", "linf", 7)
    assert result["settings"] == {"steps": 3, "step_size": 0.25, "random_start": False, "restarts": 1}
    assert (result["defense"], result["attacker_knows_defense"]) == ("jpeg", True)
    assert result["defense_settings"] == {"quality": 40, "subsampling": "4:2:0"}
    for point in result["points"]:
        assert set(point) == {"epsilon", "correct", "total", "accuracy", "low", "high"}
    assert [point["epsilon"] for point in result["points"]] == [0, 0.2] and result["points"][0]["total"] == 30


@pytest.mark.parametrize("name", ATTACKS)
def test_the_command_runs_every_attack(capsys, name):
    little = {"steps": "10", "queries": "20", "population": "8", "generations": "1"}
    steps = [word for each in settings_of(ATTACKS[name]) if each.name in little
             for word in (f"--{each.name}", little[each.name])]
    code, out, err = shell(capsys, *BASIC[:-4], "--attack", name, "--limit", "10", *steps)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 3, "each norm has epsilons of its own by default"


def test_the_command_runs_in_a_shell():
    run = subprocess.run([sys.executable, "-m", "core.evaluate", *BASIC, "--epsilons", "0", "--json"], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["points"][0]["total"] == 20
    run = subprocess.run([sys.executable, "-m", "core.evaluate", *BASIC, "--epsilons", "x"], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    assert run.returncode == 2 and run.stdout == "" and len(run.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("text", "expected"), [
    ("0", (0.0,)), ("0,0.05,8/255", (0.0, 0.05, 8 / 255)), (" 0.1 , 1e-2 ", (0.1, 0.01)), (".5,0.5,0", (0.5, 0.5, 0.0)),
    ("16/255", (16 / 255,)),
])
def test_epsilons_are_read(text, expected):
    assert parse_epsilons(text) == expected


@pytest.mark.parametrize("text", [
    "", " ", ",", "a,b", "1/0", "0/0", "nan", "inf", "-1", "0,-0.1", "0.1,", "0.1,,0.2", "1/", "/255", "/", "1/2/3",
    "0.1;0.2", "0.1 0.2", "8/-255", "1e999", "1/nan", "0x1",
])
def test_nonsense_for_epsilons_is_refused(text):
    with pytest.raises(UserError) as caught:
        parse_epsilons(text)
    assert caught.value.key == "setting.epsilons"


BAD = {
    "unknown model": ["--model", "vgg"],
    "unknown attack": ["--attack", "magic"],
    "unknown defense": ["--defense", "magic"],
    "unknown option": ["--magic"],
    "unknown data set": ["--dataset", "imagenet"],
    "data set with a path": ["--dataset", "../mnist"],
    "unknown split": ["--split", "validation"],
    "negative limit": ["--limit", "-5"],
    "no limit": ["--limit", "0"],
    "limit that is no number": ["--limit", "many"],
    "epsilons that are words": ["--epsilons", "a,b"],
    "division by zero": ["--epsilons", "1/0"],
    "nan": ["--epsilons", "nan"],
    "negative epsilon": ["--epsilons", "-1"],
    "negative epsilon among others": ["--epsilons", "0,-0.1"],
    "empty epsilons": ["--epsilons", ""],
    "blank epsilons": ["--epsilons", " "],
    "gigantic epsilon": ["--epsilons", "5000"],
    "steps that are not whole": ["--attack", "pgd", "--steps", "2.5"],
    "no steps": ["--attack", "pgd", "--steps", "0"],
    "too many steps": ["--attack", "pgd", "--steps", "100000"],
    "steps beyond every number": ["--attack", "pgd", "--steps", "9" * 400],
    "step size nan": ["--attack", "pgd", "--step-size", "nan"],
    "step size zero": ["--attack", "pgd", "--step-size", "0"],
    "random start maybe": ["--attack", "pgd", "--random-start", "maybe"],
    "steps for one step": ["--steps", "5"],
    "quality 0": ["--defense", "jpeg", "--quality", "0"],
    "quality 101": ["--defense", "jpeg", "--quality", "101"],
    "quality without defense": ["--quality", "50"],
    "unknown subsampling": ["--defense", "jpeg", "--subsampling", "4:1:1"],
    "aware of nothing": ["--aware"],
    "missing checkpoint": ["--checkpoint", "nowhere.pth"],
    "empty checkpoint": ["--checkpoint", ""],
    "checkpoint that is none": ["--checkpoint", __file__],
    "checkpoint of another network": ["--model", "lenet5", "--checkpoint", str(MODELS["tutorial-cnn"].weights)],
    "mean of three": ["--mean", "0.1,0.2,0.3"],
    "mean that is a word": ["--mean", "abc"],
    "empty mean": ["--mean", ""],
    "deviation zero": ["--std", "0"],
    "deviation nan": ["--std", "nan"],
    "missing data directory": ["--data-dir", "no/such/folder"],
    "data directory that is a file": ["--data-dir", __file__],
    "data set that does not fit": ["--dataset", "cifar10"],
    "model that does not fit": ["--model", "resnet20"],
    "negative seed": ["--seed", "-1"],
    "gigantic seed": ["--seed", "9" * 30],
    "seed that is no number": ["--seed", "x"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_a_mistake_in_the_shell_is_one_clear_line_and_exit_code_2(capsys, arguments):
    """A later option overrides one of BASIC."""
    code, out, err = shell(capsys, *BASIC, *arguments)
    assert code == 2 and out == ""
    assert len(err.splitlines()) == 1 and err.startswith("python -m core.evaluate: ") and len(err) > 40
    assert "Traceback" not in err and "_numbers" not in err and "_truth" not in err, "no names of functions"


@pytest.mark.parametrize("missing", ["--model", "--attack"])
def test_a_required_option_is_named(capsys, missing):
    arguments = BASIC[:]
    at = arguments.index(missing)
    del arguments[at:at + 2]
    code, out, err = shell(capsys, *arguments)
    assert code == 2 and out == "" and len(err.splitlines()) == 1 and missing in err


def test_missing_full_data_is_one_clear_line(capsys, tmp_path):
    code, _, err = shell(capsys, *BASIC, "--split", "test", "--data-dir", str(tmp_path))
    assert code == 2 and len(err.splitlines()) == 1 and "mnist" in err and "download" in err


def test_ones_own_checkpoint_is_used(capsys, tmp_path):
    """A network of zeros says class 0 to everything: exactly the zeros of the sample are right."""
    path = tmp_path / "zeros.pth"
    state = MODELS["tutorial-cnn"].build().state_dict()
    torch.save({key: torch.zeros_like(value) for key, value in state.items()}, path)
    code, out, _ = shell(capsys, *BASIC[:-2], "--checkpoint", str(path), "--epsilons", "0", "--json")
    labels = load_data("mnist", "sample", SAMPLES).labels
    assert code == 0 and json.loads(out)["points"][0]["correct"] == int((labels == 0).sum())
    assert json.loads(out)["checkpoint"] == str(path)


def test_a_network_of_other_classes_is_refused_where_those_have_no_names():
    few = replace(load_data("mnist", "sample", SAMPLES).only((0, 1)), classes=("zero", "one"))
    with pytest.raises(UserError) as caught:
        require_fit(MODELS["logistic37"], few)
    assert caught.value.values["names"] == "3, 7"
