"""Training: what a recipe minimises, what a resumed run learns, and that a card says what was measured."""
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from core.attacks.base import draw
from core.data import SAMPLES, load
from core.errors import UserError
from core.models import cards, loading
from core.models.cards import MODELS
from core.models.loading import Classifier
from core.training import __main__ as shell, losses, measure, run
from core.training.augment import augment
from core.training.check import check
from core.training.loop import train
from core.training.recipes import RECIPES, Recipe, fgsm, pgd

CPU = torch.device("cpu")
QUICK = Recipe(2, 32, 0.05, 0.0)


def digits(n=256, labels=None):
    sample = load("mnist", "sample", SAMPLES).only(labels or ())
    return torch.from_numpy(sample.images[:n, None].copy()), torch.from_numpy(sample.labels[:n])


def network(name="softmax", seed=0):
    torch.manual_seed(seed)
    return Classifier(MODELS[name].build(), MODELS[name].mean, MODELS[name].std)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def trained(recipe, name="softmax", n=256, checkpoint=None, **options):
    model, (x, y) = network(name), digits(n)
    reports = list(train(model, x, y, recipe, CPU, checkpoint, **options))
    return model, reports


# What is minimised

@pytest.mark.parametrize("eps", [0.0, 0.1, 0.25])
def test_the_worst_case_of_logistic_regression_is_the_attackers(eps):
    """E softplus(-t s + eps |w|_1), and no point of the ball is worse: the attacker's best step is -eps t sign(w)."""
    model, (images, y) = network("logistic37"), digits(200, (3, 7))
    x = images.float() / 255
    loss, _ = losses.worst_case_loss(model, x, y, replace(QUICK, method="worst-case"), eps)
    w, b = model.network.linear.weight[0], model.network.linear.bias[0]
    t = torch.where(y == 3, 1.0, -1.0)
    s = x.flatten(1) @ w + b
    assert torch.allclose(loss, F.softplus(-t * s + eps * w.abs().sum()).mean(), atol=1e-5)
    attacked = x.flatten(1) - eps * t[:, None] * w.sign()  # without the pixels' range, which the closed form ignores
    assert torch.allclose(loss, F.softplus(-t * (attacked @ w + b)).mean(), atol=1e-5)
    printed = F.softplus(t * (eps * w.abs().sum() - s))  # as in the paper and in report R4
    assert torch.allclose(printed[y == 3], F.softplus(-t * s + eps * w.abs().sum())[y == 3], atol=1e-5)
    if eps:
        assert (printed[y == 7] < F.softplus(-t * s + eps * w.abs().sum())[y == 7]).all(), "t = -1: it pays to be large"


def test_the_worst_case_of_softmax_is_an_upper_bound():
    model, (images, y) = network(), digits(200)
    x = images.float() / 255
    loss, logits = losses.worst_case_loss(model, x, y, QUICK, 0.1)
    gradient = torch.autograd.grad(F.cross_entropy(model(x.requires_grad_()), y, reduction="sum"), x)[0]
    with torch.no_grad():
        assert loss >= F.cross_entropy(model(x + 0.1 * gradient.sign()), y) - 1e-5
        assert torch.equal(logits, model(x))


@pytest.mark.parametrize("recipe", [fgsm(QUICK, 0.2), pgd(QUICK, 0.2, 5)])
def test_adversarial_batches_stay_within_eps_and_raise_the_loss(recipe):
    model, (images, y) = network("lenet5"), digits(64)
    x = images.float() / 255
    attacked = losses.adversarial_batch(model, x, y, recipe, 0.2, torch.Generator().manual_seed(0))
    assert (attacked - x).abs().max() <= 0.2 + 1e-6 and attacked.min() >= 0 and attacked.max() <= 1
    assert F.cross_entropy(model(attacked), y) > F.cross_entropy(model(x), y)
    assert not attacked.requires_grad and all(parameter.grad is None for parameter in model.parameters())


def test_noisy_steps_leave_the_ball_by_the_noise_and_raise_the_loss():
    model, (images, y) = network("lenet5"), digits(64)
    x = images.float() / 255
    attacked = losses.adversarial_batch(model, x, y, replace(QUICK, method="noisy"), 0.1,
                                        torch.Generator().manual_seed(0))
    far = (attacked - x).abs()
    assert 0.2 < far.max() <= 0.3 + 1e-6 and attacked.min() >= 0 and attacked.max() <= 1
    noisy = (x + 0.2 * draw("linf", x, torch.Generator().manual_seed(0))).clamp(0, 1)
    assert F.cross_entropy(model(attacked), y) > F.cross_entropy(model(noisy), y)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_alpha_weighs_clean_against_attacked(alpha):
    model, (images, y) = network(), digits(64)
    x, recipe = images.float() / 255, replace(QUICK, method="adversarial", eps=0.1, random_start=False, alpha=alpha)
    loss, _ = losses.batch_loss(model, x, y, recipe, 0.1, torch.Generator())
    attacked = losses.adversarial_batch(model, x, y, recipe, 0.1, torch.Generator())
    expected = alpha * F.cross_entropy(model(x), y) + (1 - alpha) * F.cross_entropy(model(attacked), y)
    assert torch.allclose(loss, expected, atol=1e-6)


def test_the_penalty_is_the_first_layers_l1_norm():
    model, (images, y) = network("lenet5"), digits(16)
    x = images.float() / 255
    with_penalty, _ = losses.batch_loss(model, x, y, replace(QUICK, method="l1", strength=0.01), 0.0, torch.Generator())
    plain, _ = losses.batch_loss(model, x, y, QUICK, 0.0, torch.Generator())
    first = model.network.features[0].weight
    assert torch.allclose(with_penalty - plain, 0.01 * first.abs().sum(), atol=1e-5)


# The loop

def test_a_resumed_training_is_the_one_that_was_not_interrupted(tmp_path):
    recipe = replace(QUICK, epochs=4, method="adversarial", eps=0.1, ramp=0.5, augment="crop", pad=2)
    whole, reports = trained(recipe, "lenet5")
    model, (x, y) = network("lenet5"), digits()
    going = train(model, x, y, recipe, CPU, tmp_path / "run.pt")
    first = [next(going) for _ in range(2)]
    going.close()
    again = list(train(network("lenet5", seed=9), x, y, recipe, CPU, tmp_path / "run.pt"))
    assert [report.epoch for report in first + again] == [1, 2, 3, 4] == [report.epoch for report in reports]
    resumed = network("lenet5", seed=9)
    assert list(train(resumed, x, y, recipe, CPU, tmp_path / "run.pt")) == []  # all done: loads what was learnt
    assert torch.equal(weights(resumed), weights(whole))
    assert [r.loss for r in first + again] == pytest.approx([r.loss for r in reports])


def test_a_checkpoint_of_another_recipe_is_set_aside(tmp_path):
    trained(QUICK, checkpoint=tmp_path / "run.pt")
    before = (tmp_path / "run.pt").read_bytes()
    _, reports = trained(replace(QUICK, learning_rate=0.01), checkpoint=tmp_path / "run.pt")
    assert [report.epoch for report in reports] == [1, 2]
    assert (tmp_path / "run.other.pt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense", "cut"])
def test_a_damaged_training_checkpoint_is_one_sentence(tmp_path, content):
    trained(QUICK, checkpoint=tmp_path / "run.pt")
    whole = (tmp_path / "run.pt").read_bytes()
    (tmp_path / "run.pt").write_bytes(whole[:len(whole) // 2] if content == "cut" else content)
    with pytest.raises(UserError, match="training checkpoint"):
        trained(QUICK, checkpoint=tmp_path / "run.pt")


def test_dropout_goes_on_where_it_was(tmp_path):
    recipe, (x, y) = replace(QUICK, epochs=2), digits()
    torch.manual_seed(1)
    whole = network("tutorial-cnn")
    list(train(whole, x, y, recipe, CPU))
    torch.manual_seed(1)
    going = train(network("tutorial-cnn"), x, y, recipe, CPU, tmp_path / "run.pt")
    next(going)
    going.close()
    torch.manual_seed(2)
    resumed = network("tutorial-cnn")
    list(train(resumed, x, y, recipe, CPU, tmp_path / "run.pt"))
    assert torch.equal(weights(resumed), weights(whole))


def test_a_long_step_between_reports_is_broken_off_for_breath():
    x, y = digits()
    found = list(train(network(), x, y, replace(QUICK, epochs=1), CPU, breath=0.0))
    assert found[:-1] and not any(each.due for each in found[:-1]) and found[-1].due and found[-1].ended


def test_another_recipes_checkpoint_is_not_gone_on_from(tmp_path):
    trained(QUICK, checkpoint=tmp_path / "run.pt")
    _, reports = trained(replace(QUICK, learning_rate=0.01), checkpoint=tmp_path / "run.pt")
    assert [report.epoch for report in reports] == [1, 2]


def test_a_short_training_at_a_constant_rate_is_the_start_of_a_long_one(tmp_path):
    short, long = (replace(QUICK, epochs=epochs, schedule="constant") for epochs in (1, 3))
    trained(short, checkpoint=tmp_path / "run.pt")
    model, reports = trained(long, checkpoint=tmp_path / "run.pt")
    assert [report.epoch for report in reports] == [2, 3]
    assert torch.equal(weights(model), weights(trained(long)[0]))
    assert [report.epoch for report in trained(short, checkpoint=tmp_path / "run.pt")[1]] == [1], "not from beyond it"


def test_reports_come_as_often_as_asked():
    _, reports = trained(QUICK, n=100, every=2)  # 4 steps an epoch
    assert [(r.step, r.ended) for r in reports] == [(2, False), (4, True), (6, False), (8, True)]
    assert {r.steps for r in reports} == {8}
    assert [r.step for r in trained(QUICK, n=100)[1]] == [4, 8]


def test_max_norm_holds_for_every_unit():
    model, _ = trained(replace(QUICK, learning_rate=1.0, max_norm=0.3))
    assert model.network.linear.weight.norm(dim=1).max() <= 0.3 + 1e-5


def test_shifts_stay_within_their_padding():
    x = torch.zeros(50, 1, 8, 8)
    x[:, :, 3:5, 3:5] = 1
    moved = augment(x, replace(QUICK, augment="crop", pad=2), torch.Generator().manual_seed(0))
    assert moved.shape == x.shape and torch.equal(moved.sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3)))
    assert len({tuple(image.nonzero()[0].tolist()) for image in moved}) > 10


# From a recipe to a card

@pytest.fixture
def little(tmp_path, monkeypatch):
    """A data directory with 300 digits to train on and 60 to test, and a place for weights."""
    sample = load("mnist", "sample", SAMPLES)
    images = np.maximum(sample.images, 1)  # no bundled image, which would be held out
    for name, part in (("train", slice(0, 300)), ("test", slice(300, 360))):
        np.savez(tmp_path / f"mnist_{name}.npz", images=images[part], labels=sample.labels[part])
    monkeypatch.setattr(cards, "WEIGHTS", tmp_path)
    monkeypatch.setattr(measure, "SIZES", {"fgsm": None, "pgd": None, "strong": 10})
    monkeypatch.setattr(run, "WATCHED", 20)
    for card in MODELS.values():
        card.__dict__.pop("measured", None)
    yield tmp_path
    for card in MODELS.values():
        card.__dict__.pop("measured", None)


def made(name, directory, monkeypatch, **changes):
    monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], epochs=1, **changes))
    MODELS[name].__dict__.pop("measured", None)
    facts = run.reproduce(MODELS[name], directory, directory / "runs", say=lambda line: None)
    MODELS[name].__dict__.pop("measured", None)
    return facts


@pytest.mark.parametrize("name", ["softmax", "softmax-l1", "softmax-fgsm-30", "logistic37-worst", "rbf", "lenet5-ensemble",
                                  "lenet5-e5", "maxout"])
def test_a_card_says_what_was_trained_and_measured(name, little, monkeypatch):
    facts = made(name, little, monkeypatch)
    card = MODELS[name]
    assert card.measured == json.loads(json.dumps(facts))
    assert facts["recipe"] == asdict(RECIPES[name]) and facts["seconds"] >= 0 and facts["machine"]
    n = 12 if card.labels else 60
    assert facts["accuracy"]["n"] == n and facts["data"]["trained_on"] == (60 if card.labels else 300)
    assert [(line["attack"], line["eps"]) for line in facts["robust"]] == [
        (attack, eps) for attack in ("fgsm", "pgd", "strong") for eps in measure.threat(card)]
    assert {line["n"] for line in facts["robust"] if line["attack"] == "strong"} == {10}
    tensors = safetensors.torch.load_file(card.weights)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert {parameter.dtype for parameter in loading.load(name).parameters()} == {torch.float32}
    assert bool(facts.get("watched")) == (RECIPES[name].method == "adversarial")


def test_members_of_an_ensemble_differ(little, monkeypatch):
    made("lenet5-ensemble", little, monkeypatch)
    members = loading.load("lenet5-ensemble").network.members
    assert len({float(member.classifier[0].weight.sum()) for member in members}) == 5


def test_added_images_are_the_base_networks(little, monkeypatch):
    made("maxout", little, monkeypatch)
    x, y = digits(40)
    wide, labels = run.with_attacked(x, y, RECIPES["maxout-augmented"], CPU)
    assert torch.equal(wide[:40], x) and torch.equal(labels, torch.cat([y, y])) and wide.dtype == torch.uint8
    assert (wide[40:].int() - x.int()).abs().max() in (63, 64)  # a quarter of the range
    with torch.no_grad():
        model = loading.load("maxout")
        right = [(model(part.float() / 255).argmax(1) == y).sum() for part in (wide[:40], wide[40:])]
    assert right[1] < right[0]


def test_check_passes_true_cards_and_names_the_false(little, monkeypatch):
    made("softmax", little, monkeypatch)
    said = []
    assert check([MODELS["softmax"]], little, said.append) == 0 and "all cards are true" in said[-1]
    path = MODELS["softmax"].weights.with_suffix(".json")
    facts = json.loads(path.read_text())
    facts["robust"][0] |= {"accuracy": 0.99, "low": 0.98, "high": 0.999}
    path.write_text(json.dumps(facts))
    MODELS["softmax"].__dict__.pop("measured")
    assert check([MODELS["softmax"]], little, said.append) == 1
    assert [line for line in said if "DIFFERS" in line][0].startswith("softmax") and said[-1] == "1 differ"


def test_damaged_weights_are_one_sentence(little, monkeypatch):
    made("softmax", little, monkeypatch)
    path = MODELS["softmax"].weights
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not those of its card"):
        loading.load("softmax")


def test_the_shell(little, monkeypatch, capsys):
    assert shell.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(MODELS) + 1 and all(name in "\n".join(lines) for name in MODELS)
    assert shell.main(["nonesuch"]) == 2 and "nonesuch" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        shell.main([])
    monkeypatch.setitem(RECIPES, "softmax", replace(RECIPES["softmax"], epochs=1))
    arguments = ["softmax", "--data-dir", str(little), "--runs", str(little / "runs")]
    assert shell.main(arguments) == 0
    assert "of 60 test images right" in capsys.readouterr().out
    MODELS["softmax"].__dict__.pop("measured", None)
    assert shell.main([*arguments, "--check"]) == 0


def test_a_network_without_weights_a_lost_file_and_a_damaged_one_are_told_apart(little, monkeypatch):
    said, path = [], MODELS["softmax"].weights
    assert check([MODELS["softmax"]], little, said.append) == 0 and "not been trained" in said[0]
    made("softmax", little, monkeypatch)
    made("softmax-l1", little, monkeypatch)
    content = path.read_bytes()
    path.unlink()
    assert check([MODELS["softmax"]], little, said.append) == 1 and "missing" in said[-2]
    path.write_bytes(content[:-4] + b"damg")
    assert check([MODELS["softmax"], MODELS["softmax-l1"]], little, said.append) == 1 and said[-1] == "1 differ"
    assert any(line.startswith("softmax-l1") and "strong" in line for line in said), "the one behind it was measured"


@pytest.mark.parametrize("content", ["", "{\"name\": \"soft", "[1]", "{}", "[" * 100_000])
def test_a_damaged_card_is_one_sentence(little, monkeypatch, capsys, content):
    made("softmax", little, monkeypatch)
    MODELS["softmax"].weights.with_suffix(".json").write_text(content)
    with pytest.raises(UserError, match="The card of softmax"):
        loading.load("softmax")
    assert shell.main(["--list"]) == 2 and "The card of softmax" in capsys.readouterr().err
    assert shell.main(["softmax", "--check", "--data-dir", str(little)]) == 1


def test_measuring_again_refuses_weights_that_are_not_the_cards(little, monkeypatch):
    facts = made("softmax", little, monkeypatch)
    assert run.measure_again(MODELS["softmax"], little, say=lambda line: None) == facts
    path = MODELS["softmax"].weights
    path.write_bytes(path.read_bytes()[:-4] + b"damg")
    before = path.with_suffix(".json").read_bytes()
    with pytest.raises(UserError, match="not those of its card"):
        run.measure_again(MODELS["softmax"], little, say=lambda line: None)
    assert path.with_suffix(".json").read_bytes() == before


def test_weights_and_card_change_together_or_not_at_all(little, monkeypatch):
    made("softmax", little, monkeypatch)
    before = {path.name: path.read_bytes() for path in little.glob("softmax.*")}
    monkeypatch.setattr(measure, "robust", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made("softmax", little, monkeypatch, seed=5)
    assert {path.name: path.read_bytes() for path in little.glob("softmax.*")} == before


def test_every_network_has_a_recipe_and_every_recipe_a_network():
    assert set(RECIPES) == set(MODELS)
    for name, recipe in RECIPES.items():
        assert not recipe.base or recipe.base in MODELS
        assert recipe.method in ("none", "adversarial", "noisy", "static", "worst-case", "l1"), name
