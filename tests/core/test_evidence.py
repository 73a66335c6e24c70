"""The shipped figures: made by the commands that they name, from the networks that are here."""
import functools
import json
from dataclasses import replace

import pytest
import torch

from core.analysis.transfer_function import tilt, transfer_function
from core.attacks import FGSM, PGD, CarliniWagner
from core.data import SAMPLES, load
from core.evaluation import accuracy_curve
from core.evidence import FIGURES, __main__ as shell, frequency, robustness, training, where
from core.models import loading
from core.models.cards import MODELS

SHIPPED = {path.stem: json.loads(path.read_text("utf-8")) for path in shell.EVIDENCE.glob("*.json")}


def little(name, split, directory):
    """30 bundled digits, 12 photos."""
    return replace(load(name, "sample", SAMPLES).at(slice(0, 30 if name == "mnist" else 12)), split=split)


@pytest.fixture
def small(monkeypatch):
    """Everything that a figure goes through, but less of it."""
    for module in (frequency, robustness, training, where):
        monkeypatch.setattr(module, "load", little)
    monkeypatch.setattr(frequency, "QUALITIES", (5, 50))
    monkeypatch.setattr(robustness, "QUALITIES", (10, 60))
    monkeypatch.setattr(robustness, "EXTRA", ("lenet5", "lenet5-2"))
    monkeypatch.setattr(robustness, "EPOCHS", ("lenet5-e5", "lenet5-e10"))
    monkeypatch.setattr(frequency, "CarliniWagner", functools.partial(CarliniWagner, steps=10))
    return little("mnist", "test", None)


def test_shipped_figures_are_known_and_say_how_they_were_made():
    assert SHIPPED and set(SHIPPED) <= set(FIGURES)
    for name, found in SHIPPED.items():
        assert found["figure"] == name and found["seed"] == 0
        assert found["command"] == f"python -m core.evidence {name} --data-dir D"


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("transfer", "first-error")])
def test_each_figure_is_written_by_its_command(name, small, tmp_path, capsys):
    assert shell.main([name, "--out", str(tmp_path), "--data-dir", str(tmp_path)]) == 0
    found = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
    assert found["figure"] == name and capsys.readouterr().out.startswith(f"{name}: ")
    if name in SHIPPED:
        assert set(found) == set(SHIPPED[name]), "the shipped file is of another make"


def test_curves_are_cores(small, tmp_path):
    found = robustness.layers(tmp_path)
    assert found["n"] == 30 and len(found["curves"]) == 4
    for each in found["curves"]:
        attack = {"FGSM": FGSM, "PGD (L-inf)": PGD}[each["attack"]]()
        *_, points = accuracy_curve(loading.load(each["model"]), attack, small, found["epsilons"])
        assert each["correct"] == [point.correct for point in points]


def test_an_unknown_figure_is_one_sentence(capsys):
    with pytest.raises(SystemExit):
        shell.main(["nothing"])
    assert "choose among" in capsys.readouterr().err


def test_a_missing_data_set_is_one_sentence(tmp_path, capsys):
    assert shell.main(["layers", "--data-dir", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "mnist" in capsys.readouterr().err


@pytest.mark.skipif("transfer" not in SHIPPED, reason="the figure is not shipped")
def test_the_shipped_gains_are_those_of_the_shipped_networks():
    for each in SHIPPED["transfer"]["models"]:
        gain = transfer_function(loading.load(each["model"]), MODELS[each["model"]].shape, amplitude=0.1).mean
        assert tilt(gain) == pytest.approx(each["layers"][0]["tilt_db"], abs=0.02)


@pytest.mark.skipif("layers" not in SHIPPED, reason="the figure is not shipped")
def test_the_shipped_curves_are_those_of_the_shipped_networks(data_dir):
    found, test = SHIPPED["layers"], load("mnist", "test", data_dir)
    first = found["curves"][0]
    *_, points = accuracy_curve(loading.load(first["model"], torch.device("cpu")), FGSM(), test, found["epsilons"])
    # Signs of gradients beside kinks differ between processors.
    assert all(abs(point.correct - right) <= 30 for point, right in zip(points, first["correct"]))


def test_long_training_rounds_the_softmax_to_one():
    test = load("mnist", "sample", SAMPLES).at(slice(0, 500))
    short, long = (robustness._certainty(name, test) for name in ("lenet5-e5", "lenet5-e200"))
    assert short["saturated"] < 100 < 400 < long["saturated"] and long["margin"] > 2 * short["margin"]
    x, y = test.batch(slice(0, 500))
    z = loading.load("lenet5-e200")(x).double()
    others = z.scatter(1, y[:, None], -torch.inf).logsumexp(dim=1) - z.gather(1, y[:, None])[:, 0]
    assert long["saturated"] == pytest.approx(int((others.exp() < 2 ** -25).sum()), abs=2)  # half a float32 step below 1


def test_hardened_networks_are_attacked_as_r3_did(small, tmp_path):
    """Twenty steps longer than the ball's radius, from the image itself; judged by where the last one ends."""
    found = training.hardening(tmp_path)
    for each in found["networks"]:
        model = loading.load(each["model"])
        x, y = little("cifar10", "test", None).batch(slice(0, 12))
        attacked = x.clone()
        for _ in range(20):
            attacked.requires_grad_(True)
            gradient, = torch.autograd.grad(torch.nn.functional.cross_entropy(model(attacked), y), attacked)
            attacked = (attacked.detach() + 0.05 * gradient.sign()).clamp(x - 0.031, x + 0.031).clamp(0, 1)
        assert each["correct"]["pgd"] == ((model(x).argmax(1) == y) & (model(attacked).argmax(1) == y)).sum()
        assert each["correct"]["clean"] == (model(x).argmax(1) == y).sum()
    assert {"convnet3", "convnet3-fgsm"} <= {each["model"] for each in found["networks"]}


@pytest.mark.parametrize("part", ["clean", "fgsm", "pgd"])
@pytest.mark.parametrize("model", ["convnet3-fgsm", "convnet3-pgd"])
def test_the_hardened_networks_are_better_than_r3s(model, part):
    """Cell by cell: clean, under FGSM, under R3's own PGD."""
    found = {each["model"]: each for each in SHIPPED["hardening"]["networks"]}
    assert len(found) == 3
    assert found[model]["correct"][part] / SHIPPED["hardening"]["n"] > found[model]["reported"][part]
