"""Training one's own network: from the button to the menus of the other pages, and back from a file."""
import json
import time

import numpy as np
import pytest
import torch

from core.data import SAMPLES, load
from core.models import loading
from core.models.cards import MODELS
from dashboard.controls import data_title
from driver import button, chosen, opened, panel, ran, words


def waited(app, state="done", seconds=60):
    """The session once its training is in `state`."""
    end = time.monotonic() + seconds
    while app.session_state["train.job"].state != state:
        assert time.monotonic() < end, app.session_state["train.job"].error
        time.sleep(0.02)
    return ran(app)


@pytest.mark.parametrize("data, network, method", [
    ("mnist/sample", "lenet5", "fgsm"), ("mnist/sample", "softmax", "worst-case"), ("mnist-37/sample", "logistic37", "l1"),
    ("mnist/sample", "rbf", "none"), ("mnist/sample", "softmax", "pgd")])
def test_a_network_is_trained_kept_and_used(data, network, method, downloads):
    app = opened("train")
    for key, value in (("data", data), ("network", network), ("method", method), ("epochs", 1)):
        chosen(app, f"train.{key}", value)
    button(app, "train.start").click()
    waited(ran(app))
    assert not app.error and app.session_state["train.live"].reports[-1].clean > 0.3
    button(app, "train.keep").click()
    assert len(ran(app).success) == 1
    name = app.session_state["train.kept"]
    own = app.session_state["own_checkpoints"][name]
    weights, = (name for name in downloads if name.endswith(".safetensors"))
    assert own["architecture"] == network and own["content"] == downloads[weights]
    assert json.loads(downloads[weights.replace(".safetensors", ".json")])["recipe"]["epochs"] == 1
    assert weights.startswith(network) and (method in weights) == (method != "none") and "1-epochs-seed0" in weights
    explore = opened(own_checkpoints={name: own}, **{"explore.data": data, "explore.model": name})
    assert explore.session_state["explore.model"] == name and not explore.error
    header, arrays = panel(explore)
    x, _ = load(*data.split("/"), SAMPLES).one(explore.session_state["explore.index"])
    with torch.no_grad():
        expected = loading.load(network, checkpoint=own["content"])(x).softmax(dim=1).numpy()
    assert np.allclose(arrays["probabilities"].reshape(-1, 10)[0], expected[0], atol=1e-4)


def test_it_says_how_many_images_judge_a_network():
    page = " ".join(each.value for each in opened("train").caption)
    assert words("train.split", trained="4,000", clean="1,000", robust="150") in page


def test_what_was_trained_is_uploaded_again_without_questions(downloads):
    app = opened("train")
    chosen(app, "train.network", "softmax")
    chosen(app, "train.epochs", 1)
    button(app, "train.start").click()
    waited(ran(app))
    content = downloads["softmax-1-epochs-seed0.safetensors"]
    explore = opened()
    explore.file_uploader(key="explore.own.file").upload("mine.safetensors", content)
    ran(explore)
    assert not [each for each in explore.text_input if each.label == words("own.mean")], "mean and deviation are known"
    button(explore, "own.use").click()
    assert not ran(explore).error and explore.session_state["explore.model"] == "mine.safetensors"
    assert explore.session_state["own_checkpoints"]["mine.safetensors"]["architecture"] == "softmax"


def test_a_training_is_stopped_and_what_it_learnt_is_kept():
    app = opened("train")
    chosen(app, "train.network", "cnn-pgd")
    chosen(app, "train.epochs", 50)
    button(app, "train.start").click()
    ran(app)
    job = app.session_state["train.job"]
    end = time.monotonic() + 60
    while not job.reports:
        assert time.monotonic() < end
        time.sleep(0.02)
    button(app, "train.pause").click()
    waited(ran(app), "paused")
    button(app, "train.resume").click()
    waited(ran(app), "running")
    button(app, "train.stop").click()
    waited(ran(app), "stopped")
    assert len(job.reports) >= 1 and job.reports[-1].progress.step < job.reports[-1].progress.steps
    assert button(app, "train.keep") and not button(app, "train.start").disabled
    name = next(each.value for each in app.text_input if each.label == words("train.name"))
    done = float(name.rpartition(" ")[2])
    last = app.session_state["train.live"].reports[-1].progress
    assert 0 < done < 50 and done == pytest.approx(50 * last.step / last.steps, abs=0.06)


def test_the_second_in_line_sees_its_place():
    first, second = opened("train"), opened("train")
    for app in (first, second):
        chosen(app, "train.network", "cnn-pgd")
        chosen(app, "train.epochs", 50)
        button(app, "train.start").click()
        ran(app)
    jobs = [app.session_state["train.job"] for app in (first, second)]
    try:
        assert {job.state for job in jobs} == {"running", "waiting"} or jobs[1].state == "waiting"
        texts = [each.proto.text for each in second.get("progress")]
        assert words("train.waiting", before=1) in texts
    finally:
        for app in (first, second):
            button(ran(app), "train.stop").click()
            ran(app)
        for app in (first, second):
            waited(app, "stopped")


def test_too_few_photos_to_train_on_are_said():
    app = opened("train")
    chosen(app, "train.data", "cifar10/sample")
    assert len(app.info) == 1 and "20" in app.info[0].value and not app.error


def test_a_second_network_of_the_same_name_does_not_replace_the_first():
    app = opened("train")
    for key, value in (("network", "softmax"), ("epochs", 1)):
        chosen(app, f"train.{key}", value)
    for seed in (0, 1, 1):
        chosen(app, "train.seed", seed)
        button(app, "train.start").click()
        waited(ran(app))
        button(app, "train.keep").click()
        ran(app)
    first, second = app.session_state["own_checkpoints"].items()  # the third is the second once more
    assert second[0] == f"{first[0]} (2)" == app.session_state["train.kept"]
    assert first[1]["content"] != second[1]["content"]


def test_two_files_of_one_name_are_two_networks():
    app = opened("explore")
    for name in ("softmax", "lenet5"):
        chosen(app, "explore.own.architecture", next(card for card in MODELS.values() if card.name == name))
        app.file_uploader(key="explore.own.file").upload("model.safetensors", MODELS[name].weights.read_bytes())
        ran(app)
        button(app, "own.use").click()
        ran(app)
    kept = app.session_state["own_checkpoints"]
    assert {name: own["architecture"] for name, own in kept.items()} == {
        "model.safetensors": "softmax", "model.safetensors (2)": "lenet5"}
    assert app.session_state["explore.model"] == "model.safetensors (2)"


def test_who_knows_only_3_and_7_is_offered_for_these_alone():
    own = {"mine": {"architecture": "logistic37", "digest": "d", "mean": (0.0,), "std": (1.0,), "seen": None,
                    "content": MODELS["logistic37"].weights.read_bytes()}}
    for data, offered in (("mnist/sample", False), ("mnist-37/sample", True)):
        app = opened(own_checkpoints=own, **{"explore.data": data})
        assert not app.error and ("mine" in app.get_by_key("explore.model").options) == offered


@pytest.mark.parametrize("data, told", [("mnist/sample", True), ("mnist-37/sample", True), ("mine/test", False)])
def test_images_that_a_network_was_trained_on_are_named(data, told, directory):
    sample = load("mnist", "sample", SAMPLES)
    np.savez(directory / "mine_test.npz", images=sample.images[:50], labels=sample.labels[:50])
    own = {"mine": {"architecture": "softmax", "digest": "d", "mean": (0.0,), "std": (1.0,), "seen": ("mnist", "sample"),
                    "content": MODELS["softmax"].weights.read_bytes()}}
    app = opened(own_checkpoints=own, **{"explore.data": data, "explore.model": "mine"})
    assert (words("own.seen.sample") in [each.value for each in app.caption]) == told


def test_nothing_is_trained_on_a_test_set(directory):
    sample = load("mnist", "sample", SAMPLES)
    for split, part in (("test", slice(0, 300)), ("train", slice(300, 900))):
        np.savez(directory / f"mnist_{split}.npz", images=np.maximum(sample.images[part], 1), labels=sample.labels[part])
    app = opened("train", **{"train.data": "mnist/train"})
    titles = app.get_by_key("train.data").options
    assert data_title("mnist/train") in titles and data_title("mnist/test") not in titles and not app.error
    chosen(app, "train.network", "softmax")
    button(app, "train.start").click()
    waited(ran(app))
    facts = app.session_state["train.live"].facts()
    assert facts["data"] == {"name": "mnist", "split": "train", "trained_on": 600}
    assert (facts["accuracy"]["split"], facts["accuracy"]["n"]) == ("test", 300)
