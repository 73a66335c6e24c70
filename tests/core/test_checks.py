"""Alarms: they go off on planted maskings and stay silent on the plain networks."""
import numpy as np
import pytest
import torch
from torch import nn

from core.analysis import checks
from core.analysis.checks import CHECKS, examine, of_curves
from core.attacks import FGSM, PGD, CarliniWagner, Noise
from core.data import SAMPLES, load
from core.defenses import JPEG, BitDepth
from core.evaluation import Point
from core.models import loading
from core.models.cards import MODELS
from core.statistics import wilson

PLAIN = ("tutorial-cnn", "lenet5", "lenet5-20", "softmax", "logistic37")


class Steep(nn.Module):
    """Answers like `model`, but so sure that its loss has no gradient left in float32."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return 1e5 * self.model(x)


class Rugged(nn.Module):
    """Answers like `model` up to ripples far finer than any eps, whose slope drowns the model's own."""

    def __init__(self, model, height=0.3, length=2e-4):
        super().__init__()
        self.model, self.height, self.length = model, height, length

    def forward(self, x):
        logits = self.model(x)
        signs = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)
        ripple = torch.sin((x * signs).flatten(1).sum(dim=1) / self.length)
        return logits + self.height * ripple[:, None] * torch.linspace(-1, 1, logits.shape[1])


@pytest.fixture(scope="module")
def lenet():
    return loading.load("lenet5", torch.device("cpu"))


@pytest.fixture(scope="module")
def sample():
    return load("mnist", "sample", SAMPLES)


def found(model, dataset, **options):
    return {finding.name: finding for finding in examine(model, dataset, 0.1, limit=60, **options)}


def point(eps, correct, total=100):
    return Point(eps, correct, total, correct / total, *wilson(correct, total))


@pytest.mark.parametrize("name", PLAIN)
def test_plain_networks_raise_no_alarm(name, sample):
    card = MODELS[name]
    findings = found(loading.load(name, torch.device("cpu")), sample.only(card.labels))
    assert tuple(findings) == CHECKS
    assert not [finding for finding in findings.values() if finding.fired]


def test_plain_networks_raise_no_alarm_in_l2(lenet, sample):
    assert not [f for f in examine(lenet, sample, 1.5, norm="l2", limit=60) if f.fired]


def test_saturated_logits_are_found_out(lenet, sample):
    findings = found(Steep(lenet), sample)
    assert {name for name, finding in findings.items() if finding.fired} >= {"zero_gradients", "never_zero"}
    assert findings["zero_gradients"].values["zero"] > 50


def test_answers_that_change_by_themselves_are_found_out(sample):
    """Dropout left on: no eps is needed to change an answer."""
    model = loading.load("tutorial-cnn", torch.device("cpu")).train()
    torch.manual_seed(0)
    checked = next(f for f in examine(model, sample, 0.1, limit=200) if f.name == "clean_differs")
    assert checked.fired and checked.values["at_zero"] < checked.values["clean"]


def test_shattered_gradients_are_found_out(lenet, sample):
    """A search that asks for answers alone does what PGD cannot."""
    findings = {f.name: f for f in examine(Rugged(lenet, height=2.0), sample, 0.25, limit=60)}
    assert findings["gradient_free_wins"].fired and not findings["zero_gradients"].fired


def test_a_defense_hidden_from_the_gradient_alone_is_no_alarm(lenet, sample):
    """BPDA sees through both."""
    for defense in (JPEG(50), BitDepth(3)):
        assert not [f for f in examine(lenet, sample, 0.1, defense=defense, limit=30) if f.fired]


def test_one_step_against_many():
    assert checks.one_step_wins(point(0.1, 20), point(0.1, 60)).fired
    assert not checks.one_step_wins(point(0.1, 60), point(0.1, 20)).fired
    assert not checks.one_step_wins(point(0.1, 55), point(0.1, 60)).fired, "within the intervals"


def test_more_steps():
    assert checks.more_steps_help(point(0.1, 20), point(0.1, 60)).fired
    assert not checks.more_steps_help(point(0.1, 58), point(0.1, 60)).fired


def test_clean_accuracy_is_that_at_zero():
    assert checks.clean_differs(98, 97, 100).fired and not checks.clean_differs(98, 98, 100).fired


def test_about_zero_is_a_matter_of_the_interval():
    assert checks.never_zero(point(1.0, 10)).fired and not checks.never_zero(point(1.0, 1)).fired
    assert checks.zero_gradients(20, 100).fired and not checks.zero_gradients(0, 100).fired


def test_curves_on_screen_are_compared_where_they_meet():
    weak_pgd = [point(0.0, 98), point(0.1, 90), point(0.3, 80)]
    curves = [(FGSM(), [point(0.0, 98), point(0.1, 88), point(0.2, 10), point(0.3, 30)]), (PGD(), weak_pgd),
              (Noise(), [point(0.0, 98), point(0.3, 40)])]
    fired = {finding.name: finding for finding in of_curves(curves, 0.98) if finding.fired}
    assert set(fired) == {"one_step_wins", "gradient_free_wins"}
    assert fired["one_step_wins"].values["epsilon"] == 0.3  # where it is clearest, and both were measured
    assert [f.name for f in of_curves(curves, 0.9) if f.fired][0] == "clean_differs"
    assert "clean_differs" not in {f.name for f in of_curves(curves)}


def test_curves_that_say_nothing_together_are_not_judged():
    assert of_curves([(FGSM(), [point(0.1, 5)]), (CarliniWagner(), [point(0.1, 50)])]) == []
    assert of_curves([(PGD(), [point(0.5, 40)])]) == []
    assert of_curves([(PGD(), [point(1.0, 40)])])[0].fired


def test_the_message_has_its_numbers(lenet, sample):
    for finding in examine(lenet, sample, 0.1, limit=20):
        assert finding.values and all(isinstance(value, (int, float)) for value in finding.values.values())


def test_distances_say_what_the_curves_made_of_them_say():
    epsilons = (0.0, 0.1, 0.2)
    one, many = np.full(100, 0.15), np.repeat([0.0, 0.05, 0.3, np.inf], (1, 19, 40, 40))
    found, = checks.of_distances([(FGSM(), one), (PGD(), many)], epsilons)
    assert found.name == "one_step_wins" and found.fired  # at 0.2 one step leaves none, many leave 80
    assert (found.values["lower"], found.values["upper"], found.values["epsilon"]) == (0.0, 0.8, 0.2)
    found, = checks.of_distances([(FGSM(), many), (PGD(), many)], epsilons)
    assert not found.fired
