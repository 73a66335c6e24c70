"""A training that somebody watches: its reports, its card, and that it shares a process with others."""
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors.torch
import torch

from core.data import SAMPLES, in_turns, load
from core.errors import UserError
from core.models import loading
from core.models.cards import MODELS
from core.training import live as module
from core.training.live import Live, live_recipe, split

DIGITS = load("mnist", "sample", SAMPLES)


def training(name, seed=0, n=320, epochs=1):
    return Live(MODELS[name], live_recipe(name, "none", epochs, eps=0.1, seed=seed), DIGITS.at(slice(0, n)), None, 0.1)


def weights(live):
    return torch.cat([parameter.detach().flatten() for parameter in live.model.parameters()])


def test_a_training_leaves_the_global_generator_of_others_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert next(iter(training("tutorial-cnn"))).clean > 0
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_decides_a_live_training_whatever_others_draw():
    found = []
    for _ in range(2):
        live = training("tutorial-cnn", seed=3)  # has dropout
        for _ in live:
            torch.rand(len(found) + 1)
        found.append(weights(live))
    assert torch.equal(*found)


@pytest.mark.parametrize("name", [name for name, card in MODELS.items() if card.weights.is_file()])
def test_loading_a_network_draws_no_random_number(name):
    """A training in another thread of the server lives on the global generator."""
    before = torch.get_rng_state()
    loading.load(name)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_card_is_of_the_weights_wherever_it_is_stopped(monkeypatch):
    monkeypatch.setattr(module, "BREATH", 0.0)
    live = training("softmax", n=2000, epochs=2)
    going = iter(live)
    for report in going:
        if live.reports and report is None:  # a step after which no report was due
            break
    assert live.reports[-1].progress.step < live._progress.step
    content, facts = live.content(), live.facts()
    x, y = DIGITS.at(slice(0, 2000)).batch(slice(0, 400))  # the first fifth of each class, in turns
    again = loading.load("softmax", checkpoint=content)
    assert (again(x).argmax(1) == y).sum().item() == facts["accuracy"]["correct"]
    assert facts["steps"] == live._progress.step == live.reports[-1].progress.step
    stopped = weights(live)
    next(going)
    assert not torch.equal(weights(live), stopped), "and it goes on"


def test_a_training_that_waits_holds_no_images_of_its_own():
    live = Live(MODELS["softmax"], live_recipe("softmax", "none", 1, eps=0.1), DIGITS, None, 0.1)
    assert live.dataset.images is DIGITS.images and live._keep.nbytes == len(DIGITS)


def test_it_is_judged_by_all_classes_however_the_set_is_sorted():
    by_class = DIGITS.at(np.argsort(DIGITS.labels, kind="stable"))
    live = Live(MODELS["softmax"], live_recipe("softmax", "none", 1, eps=0.1), by_class, None, 0.1)
    assert torch.bincount(live._judge[1][:module.ROBUST]).tolist() == [15] * 10
    labels = np.array([2, 2, 2, 0, 0, 1])
    assert labels[in_turns(labels)].tolist() == [0, 1, 2, 0, 2, 2]
    assert (in_turns(DIGITS.labels) == np.arange(len(DIGITS))).all(), "the bundled ones take turns as they are"


def test_a_network_is_offered_the_methods_it_can_be_trained_with():
    before = torch.get_rng_state()
    offered = {name: module.methods(MODELS[name]) for name in module.SMALL}
    assert torch.equal(torch.get_rng_state(), before), "it is asked on every run of a page, beside trainings"
    assert {name for name, some in offered.items() if "worst-case" in some} == {"softmax", "logistic37"}
    assert {name for name, some in offered.items() if "l1" not in some} == {"rbf"}
    assert all(some[:3] == ("none", "fgsm", "pgd") for some in offered.values())


@pytest.mark.parametrize("method", ["none", "fgsm", "pgd", "l1", "worst-case"])
def test_a_live_training_reports_and_can_be_loaded_again(method):
    live = Live(MODELS["softmax"], live_recipe("softmax", method, 2, eps=0.05, steps=2), DIGITS.at(slice(0, 640)),
                DIGITS.at(slice(640, 1640)), 0.05)
    reports = list(live)
    assert reports[-1].progress.step == reports[-1].progress.steps and len(reports) >= 2
    assert all(report.robust <= report.clean + 0.1 for report in reports) and reports[-1].clean > 0.5
    content, facts = live.content(), live.facts()
    assert loading.note_of(content)["architecture"] == "softmax" == facts["architecture"]
    again = loading.load("softmax", checkpoint=content)
    x, y = DIGITS.batch(slice(640, 1640))
    assert (again(x).argmax(1) == y).sum().item() == facts["accuracy"]["correct"]
    assert facts["robust"][0]["eps"] == 0.05 and facts["recipe"] == asdict(live.recipe)


def test_the_full_set_is_judged_by_its_test_set_and_leaves_the_bundled_out():
    fresh = replace(DIGITS, split="train", images=np.maximum(DIGITS.images, 1))  # no bundled image among them
    train_set, test_set = fresh.at(slice(0, 300)), fresh.at(slice(300, 360))
    mixed = replace(train_set, images=np.concatenate([train_set.images, DIGITS.images[:7]]),
                    labels=np.concatenate([train_set.labels, np.zeros(7, np.int64)]))
    keep, judged = split(mixed, test_set)
    assert keep.tolist() == [True] * 300 + [False] * 7 and judged is test_set
    keep, judged = split(mixed, None)
    assert not keep[300:].any() and keep.sum() + len(judged) < 307, "without a test set they are left out, too"


def test_a_set_that_stands_alone_is_split_within_each_class():
    by_class = DIGITS.at(np.argsort(DIGITS.labels, kind="stable")[:1234])  # three classes, one after the other
    keep, judged = split(by_class, None)
    assert keep.sum() + len(judged) == 1234 and set(judged.labels) == set(by_class.labels[keep]) == {0, 1, 2}
    assert len(judged) == 100 + 100 + 47
    keep, judged = split(DIGITS, None)
    assert (judged.images == DIGITS.images[:1000]).all(), "what other pages show first is what it has not seen"


def test_a_part_of_an_official_set_leaves_the_bundled_out():
    part = replace(DIGITS.only((3, 7)), name="mnist-37", split="train")
    assert not split(part, part)[0].any()


def test_a_network_that_cannot_read_the_images_is_refused():
    with pytest.raises(UserError):
        Live(MODELS["softmax"], live_recipe("softmax", "none", 1, eps=0.1), load("cifar10", "sample", SAMPLES), None, 0.1)


def noted(note):
    return safetensors.torch.save({"a": torch.zeros(1)}, {loading.NOTE: note})


@pytest.mark.parametrize("content", [
    b"", b"\x08", b"PK\x03\x04", b"\xff" * 40, safetensors.torch.save({"a": torch.zeros(1)}), noted("[1"), noted("{}"),
    *(noted(json.dumps({"architecture": "lenet5", "mean": mean, "std": std}))
      for mean, std in (([0, 1], [1]), ([10 ** 400], [1]), ([0], [10 ** 400]), ([1e39], [1]), ([0], [1e-39]), ([0], [0]),
                        ([[0]], [1]), ("0", [1]), ([None], [1]), ({"0": 0}, [1])))])
def test_files_without_a_usable_note_have_none(content):
    assert loading.note_of(content) is None
