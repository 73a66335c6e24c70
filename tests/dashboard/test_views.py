"""Every page through AppTest: no choice, link, file or data set breaks it, and the live panel's message is true.

Widgets are found by their keys, words by their catalogue keys, and the panel's numbers are computed anew with core.
"""
import csv
import html
import io
import json
import pickle

import numpy as np
import pytest
import safetensors.torch
import streamlit as st
import torch
from PIL import Image
from streamlit.proto.WidgetStates_pb2 import WidgetState

from core import evaluate, evaluation
from core.attacks import ATTACKS, PGD, OneStep
from core.data import SAMPLES, data_directory, load
from core.defenses import DEFENSES, JPEG, positions
from core.epsilons import scale_for, slider_for
from core.errors import UserError
from core.evaluation import known
from core.images import as_seen, to_uint8
from core.models import loading
from core.models.cards import MODELS, WEIGHTS
from core.settings import settings_of
from dashboard import results
from dashboard.controls import ANY, setting_key
from dashboard.i18n import LANGUAGES, catalogue
from driver import VIEWS, button, chosen, decode, opened, panel, ran, words

WITH_IMAGES = tuple(view for view in VIEWS if view not in ("networks", "evidence"))  # those choose no images
DATA = ("mnist/sample", "cifar10/sample")
LITTLE = {"steps": 3, "queries": 20, "population": 8, "generations": 1}  # what is checked does not depend on these


def key_of(name, kind, page="explore"):
    """Where a setting of an attack or defense is kept."""
    return setting_key(page, next(each for each in settings_of(kind) if each.name == name))


FAST = {key_of(each.name, kind): max(each.low, LITTLE[each.name]) for kind in ATTACKS.values()
        for each in settings_of(kind) if each.name in LITTLE}


def released(app, value):
    """The session after the panel wrote `value`, as the browser sends it."""
    def run_with(states):
        states.widgets.append(WidgetState(id=app.get_by_key("explore.panel").proto.id,
                                          json_value=json.dumps({"release": value})))
        return states
    app._run(run_with(app._tree.get_widget_states()))
    assert not app.exception, [(each.message, each.stack_trace) for each in app.exception]
    return app


def check(app):
    """Compare the panel's message with what core says for the choices in the session's state; gives the header."""
    header, arrays = panel(app)
    state = app.session_state
    dataset = load(*state["explore.data"].rsplit("/", 1), data_directory())
    x, y = dataset.one(state["explore.index"])
    model = loading.load(state["explore.model"])
    kind = ATTACKS[state["explore.attack"]]
    attack = kind(**{each.name: state[setting_key("explore", each)] for each in settings_of(kind) if each.name != "eps"})
    target, label = None if state["explore.target"] == ANY else state["explore.target"], int(y)
    scale = slider_for(dataset.shape, attack)
    adversarial = attack.path(model, x, y, scale.path, target=None if target is None else torch.tensor([target]))[:, 0]
    channels, height, width = dataset.shape
    count, classes, pixels = len(scale.path), len(dataset.classes), (-1, height, width, channels)

    def probabilities(images):
        with torch.no_grad():
            return model(images).softmax(dim=1).numpy()

    def close(name, expected):
        assert np.allclose(arrays[name].reshape(expected.shape), expected, atol=2e-4), name

    assert header["shape"] == list(dataset.shape) and np.allclose(header["epsilons"], scale.path)
    assert (header["label"], header["target"], header["norm"]) == (
        label, target, attack.norm if attack.bounded else "strength")
    assert len(header["classes"]) == classes and header["marks"] == list(scale.marks)
    assert header["at"] == int(np.abs(np.array(scale.path) - state["explore.eps"]).argmin())

    close("probabilities", probabilities(adversarial))
    first = arrays["adversarial"].reshape(pixels)[0]
    assert np.array_equal(first, dataset.images[state["explore.index"]].reshape(height, width, channels))
    assert np.abs(arrays["adversarial"].reshape(pixels).astype(int) - to_uint8(adversarial)).max() <= 1
    delta = (adversarial - x).permute(0, 2, 3, 1).numpy()
    found = delta.any()  # an attack without eps may find nothing
    assert found or not attack.bounded
    full = max(np.abs(delta).max(), scale.path[-1] if header["norm"] == "linf" else 0) or 1.0
    assert header["gain"] == pytest.approx(1 / full, rel=1e-3)
    assert np.abs(arrays["delta"].reshape(pixels) - delta * header["gain"] * 127).max() <= 1
    assert np.abs(arrays["delta"].astype(int)).max() == round(127 * np.abs(delta).max() / full) and not arrays["delta"].reshape(pixels)[0].any()
    close("linf", np.abs(delta).max(axis=(1, 2, 3)))
    close("l2", np.sqrt((delta ** 2).sum(axis=(1, 2, 3))))
    if attack.bounded:
        assert (arrays["linf" if attack.norm == "linf" else "l2"] <= np.array(scale.path) + 1e-5).all()
    predicted = arrays["probabilities"].reshape(count, classes).argmax(axis=1)
    flips = np.flatnonzero(predicted != predicted[0])
    if len(flips):
        low, high = scale.path[flips[0] - 1], scale.path[flips[0]]
        assert low < header["flip"] <= high + 1e-9
    else:
        assert header["flip"] is None
    assert len(arrays["spectrum"]) == len(arrays["saliency"]) == count * height * width

    if state["explore.defense"] == "none":
        assert header["defense"] is None and "rowImages" not in arrays and "columnImages" not in arrays
        return header
    kind = DEFENSES[state["explore.defense"]]
    settings = {each.name: state[key] for each in settings_of(kind)
                if each.name != kind.slider and (key := setting_key("explore", each)) in state}
    shield, stops = header["defense"], positions(kind)
    assert np.allclose(shield["values"], stops) and (shield["key"], shield["slider"]) == (
        state["explore.defense"], kind.slider)
    strength = stops[shield["at"]]
    assert strength == pytest.approx(state[f"explore.strength.{kind.slider}"]) and shield["columnAt"] == header["at"]
    sent = torch.from_numpy(arrays["adversarial"].reshape(pixels).copy()).permute(0, 3, 1, 2).float() / 255
    if kind is JPEG:
        row = JPEG(quality=strength, **settings)(sent)
        at = header["at"]
        column = torch.cat([JPEG(quality=quality, **settings)(sent[at:at + 1]) for quality in range(1, 101)])
        for name, images in (("row", row), ("column", column)):
            assert np.array_equal(arrays[f"{name}Images"].reshape(pixels), to_uint8(images)), name
            close(f"{name}Probabilities", probabilities(images))
    assert len(arrays["columnImages"]) == len(stops) * channels * height * width
    places = list(range(count)) if isinstance(attack, OneStep) else [header["at"]]
    assert shield["knownAt"] == places
    if attack.gradients > 50 or attack.black_box:
        return header
    told = known(model, kind(**settings, **{kind.slider: strength}), attack, x, y, [scale.path[k] for k in places],
                 target=None if target is None else torch.tensor([target]))
    close("knownProbabilities", told.numpy())
    return header


# Every page

@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("view", VIEWS)
def test_every_page_in_every_language(view, lang):
    app = opened(view, lang=lang)
    assert not app.error and not app.warning
    assert app.session_state["lang"] == lang
    if view == "explore":
        header = check(app)
        assert header["language"] == lang and header["text"]["copy"] == catalogue(lang)["live.copy"]
    elif view != "defenses":  # whose sections have headlines of their own
        assert [title.value for title in app.title] == [catalogue(lang)[f"{view}.title"]]


def test_the_language_can_be_changed_and_stays_in_the_link():
    app = chosen(opened(), "lang", "fr")
    assert app.query_params["lang"] == "fr" and panel(app)[0]["language"] == "fr"
    assert opened(query={"lang": "es"}).session_state["lang"] == "es"
    assert opened(query={"lang": "tlh"}).session_state["lang"] in LANGUAGES


# Explore

def test_the_first_page_shows_a_misread_image():
    header, arrays = panel(opened())
    predicted = arrays["probabilities"].reshape(len(header["epsilons"]), -1).argmax(axis=1)
    assert predicted[0] == header["label"] != predicted[header["at"]]
    assert header["flip"] <= header["epsilons"][header["at"]]


ON_PHOTOS = ("fgsm", "pgd", "pgd-l2", "apgd-t", "cw", "square", "one-pixel", "noise")


@pytest.mark.parametrize(("data", "attack"), [*((DATA[0], name) for name in ATTACKS), *((DATA[1], name) for name in ON_PHOTOS)])
def test_every_attack_with_a_defense_and_a_target(data, attack):
    app = opened(explore__data=data, **FAST)
    first = check(chosen(app, "explore.attack", attack))
    target = (first["label"] + 1) % 10
    check(chosen(app, "explore.target", target))
    check(chosen(app, "explore.defense", "none"))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("defense", [name for name in DEFENSES if name != "jpeg"])
def test_every_defense_and_its_slider(data, defense):
    app = chosen(opened(explore__data=data), "explore.defense", defense)
    first = check(app)
    stops = first["defense"]["values"]
    released(app, {"epsilon": first["epsilons"][3], "defense": defense, "strength": stops[-1], "scale": first["scale"]})
    header = check(app)
    assert header["defense"]["at"] == len(stops) - 1
    slider = header["defense"]["slider"]
    assert float(app.query_params[slider]) == pytest.approx(stops[-1])
    again = opened(query=dict(app.query_params))
    assert panel(again)[0]["defense"] == header["defense"]


def test_every_target():
    app = opened()
    label = panel(app)[0]["label"]
    for target in (c for c in range(10) if c != label):
        assert panel(chosen(app, "explore.target", target))[0]["target"] == target
    assert check(chosen(app, "explore.target", ANY))["target"] is None


def test_the_target_goes_when_it_becomes_the_label():
    app = opened()
    digits = load("mnist", "sample", SAMPLES)
    chosen(app, "explore.target", 3)
    chosen(app, "explore.index", int(np.flatnonzero(digits.labels == 3)[0]))
    assert app.session_state["explore.target"] == ANY
    check(app)


@pytest.mark.parametrize("data", DATA)
def test_images_are_chosen_by_number_class_and_chance(data):
    app = opened(explore__data=data)
    dataset = load(*data.split("/"), SAMPLES)
    for index in (0, len(dataset) - 1):
        chosen(app, "explore.index", index)
        check(app)
    for kind in sorted(set(dataset.labels.tolist())):
        chosen(app, "explore.class", kind)
        app.button(key="explore.random").click()
        ran(app)
        assert panel(app)[0]["label"] == kind == dataset.labels[app.session_state["explore.index"]]
    check(chosen(app, "explore.class", ANY))


def test_thumbnails_are_images_of_the_class_and_a_click_chooses_one():
    app = opened()
    digits = load("mnist", "sample", SAMPLES)
    for kind in (ANY, 0, 9):
        chosen(app, "explore.class", kind)
        header, arrays = decode(app.get_by_key("explore.picker").proto.bytes)
        shown = header["indices"]
        assert np.array_equal(arrays["images"].reshape(-1, 28, 28), digits.images[shown])
        assert kind == ANY or set(digits.labels[shown]) == {kind}
    assert header["names"] == ["9"] * len(shown)


def test_every_model_and_data_set():
    app = opened()
    for data in DATA:
        chosen(app, "explore.data", data)
        shape = load(*data.split("/"), SAMPLES).shape
        names = [name for name, card in MODELS.items() if card.shape == shape and card.weights.is_file()
                 and not card.labels]
        for name in names:
            chosen(app, "explore.model", name)
            assert app.session_state["explore.model"] == name
            assert not app.error
            check(app)


def test_networks_that_know_some_classes_are_offered_for_these_alone():
    app = opened(**{"explore.data": "mnist-37/sample"})
    for name in ("logistic37", "lenet5"):
        chosen(app, "explore.model", name)
        assert not app.error and app.session_state["explore.model"] == name
        check(app)
    app = opened(query={"data": "mnist/sample", "model": "logistic37"})
    assert app.session_state["explore.model"] != "logistic37" or app.error


def test_settings_reach_the_attack_and_the_defense():
    app = chosen(opened(explore__data="cifar10/sample"), "explore.attack", "pgd")
    for key, value in (("steps", 2), ("step_size", 0.5), ("random_start", False), ("restarts", 2)):
        chosen(app, key_of(key, PGD), value)
    chosen(app, key_of("subsampling", JPEG), "4:4:4")
    check(app)
    assert app.query_params["steps"] == "2" and app.query_params["random_start"] == "no"


# What the sliders write back

def test_a_release_moves_epsilon_and_quality():
    app = opened()
    header = panel(app)[0]
    released(app, {"epsilon": header["epsilons"][20], "defense": "jpeg", "strength": 77, "scale": header["scale"]})
    header = check(app)
    assert (header["at"], header["defense"]["at"]) == (20, 76)
    assert float(app.query_params["eps"]) == pytest.approx(header["epsilons"][20])
    assert app.query_params["quality"] == "77"
    chosen(app, "explore.index", 3)  # the sliders stay where they are with the next image
    header = check(app)
    assert (header["at"], header["defense"]["at"]) == (20, 76)


def test_a_release_on_another_range_does_not_move_epsilon():
    app = opened()
    before = panel(app)[0]
    released(app, {"epsilon": 0.01, "defense": "jpeg", "strength": 50, "scale": "32-linf"})
    header = check(app)
    assert header["at"] == before["at"] and before["scale"] != "32-linf"


def test_another_range_starts_at_its_own_epsilon():
    app = opened()
    for data, attack in (("mnist/sample", "fgm"), ("cifar10/sample", "fgm"), ("cifar10/sample", "fgsm")):
        chosen(app, "explore.data", data)
        header = check(chosen(app, "explore.attack", attack))
        start = scale_for(tuple(header["shape"]), header["norm"]).start
        assert header["epsilons"][header["at"]] == pytest.approx(start, abs=1e-6)


NONSENSE = [None, 0, 3, "far", [], [1], {}, {"epsilon": 0.1}, {"scale": "28-linf"},
            *({"scale": "28-linf", "defense": defense, "epsilon": epsilon, "strength": strength}
              for defense, epsilon, strength in (
                  ("jpeg", "x", 40), ("jpeg", 0.1, "x"), ("jpeg", None, None), ("jpeg", float("nan"), 40),
                  ("jpeg", float("inf"), 40), ("jpeg", 1e99, 9999), ("jpeg", -5, -5), ("jpeg", 0.1, float("nan")),
                  ("magic", 0.1, 3), (None, 0.1, 3)))]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_a_nonsense_release_does_no_harm(value):
    app = released(opened(), value)
    header = panel(app)[0]
    assert 0 <= header["defense"]["at"] < 100 and 0 <= header["at"] < len(header["epsilons"])
    ran(app)


# Links

FULL_LINK = {"data": "cifar10/sample", "image": "7", "model": "resnet20", "attack": "pgd", "steps": "4",
             "step_size": "0.5", "random_start": "no", "restarts": "2", "target": "3", "defense": "jpeg",
             "subsampling": "4:4:4", "eps": f"{6 / 510:.6g}", "quality": "63"}


def test_a_link_restores_everything_and_the_page_writes_the_same_one():
    app = opened(query=FULL_LINK)
    assert not app.toast and not app.error
    state = app.session_state
    assert state["explore.data"] == "cifar10/sample" and state["explore.index"] == 7
    assert state["explore.model"] == "resnet20" and state["explore.target"] == 3
    assert [state[key_of(name, PGD)] for name in ("steps", "step_size", "random_start", "restarts")] == [4, 0.5, False, 2]
    assert state[key_of("subsampling", JPEG)] == "4:4:4"
    header = check(app)
    assert (header["at"], header["defense"]["at"], header["target"]) == (6, 62, 3)
    assert dict(app.query_params) == FULL_LINK


@pytest.mark.parametrize("changes", [
    {}, {"explore.index": 123, "explore.attack": "fgm", "explore.defense": "none", "explore.model": "lenet5"},
    {"explore.data": "cifar10/sample", "explore.index": 4, "explore.attack": "noise-l2", "explore.target": 2}], ids=len)
def test_a_new_session_at_the_written_link_is_the_same(changes):
    app = opened()
    for key, value in changes.items():
        chosen(app, key, value)
    header = panel(app)[0]
    released(app, {"epsilon": header["epsilons"][-3], "defense": "jpeg", "strength": 12, "scale": header["scale"]})
    again = opened(query=dict(app.query_params))
    assert dict(again.query_params) == dict(app.query_params)
    assert again.get_by_key("explore.panel").proto.bytes == app.get_by_key("explore.panel").proto.bytes
    assert not again.toast


BAD = ("", "-1", "99999999999999999999", "nan", "-inf", "1e99", "ñ", "<b>", "1" * 5000)
PARAMETERS = tuple(FULL_LINK)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_nonsense_in_a_link_is_ignored(parameter):
    for value in BAD:
        app = opened(query={parameter: value})
        assert not app.error, (value, app.error[0].value)
        header = panel(app)[0]
        assert 0 <= header["defense"]["at"] < 100 and 0 <= header["at"] < len(header["epsilons"])


@pytest.mark.parametrize("query", [
    {"data": "mnist/sample", "model": "resnet20"}, {"data": "cifar10/sample", "model": "lenet5"},
    {"data": "mnist/sample", "image": "999999"}, {"data": "cifar10/sample", "image": "20"},
    {"image": "0", "target": str(int(load("mnist", "sample", SAMPLES).labels[0]))}, {"target": "999"},
    {"data": "cifar10/sample", "eps": "nan"}, {"data": "cifar10/sample", "eps": "50"}, {"eps": "1e99"},
    {"attack": "fgm", "eps": "100"}, {"attack": "noise", "steps": "5"}, {"steps": "201"}, {"steps": "2.5"},
    {"attack": "pgd", "random_start": "maybe", "step_size": "0", "restarts": "21"}, {"defense": "none", "quality": "5"},
    {"model": "convnet3"}, {"data": "../../etc/passwd"}, {"unknown": "x"}], ids=repr)
def test_a_link_whose_parts_do_not_fit(query):
    app = opened(query=query)
    assert not app.error
    check(app)


def test_what_a_link_says_wrongly_is_said_once():
    app = opened(query={"eps": "nan", "attack": "pdg"})
    assert len(app.toast) == 1 and "eps" in app.toast[0].value and "attack" in app.toast[0].value
    assert not ran(app).toast


@pytest.mark.parametrize("parameter", ["data", "n", "defense", "quality", "attacks"])
def test_nonsense_in_a_link_to_the_curves(parameter):
    for value in (*BAD, "fgsm,fgsm", "fgsm,", ",", "0", "61000", "2.5"):
        opened("curves", {parameter: value})


def test_a_link_restores_the_curves():
    link = {"data": "cifar10/sample", "n": "7", "defense": "jpeg", "quality": "33", "attacks": "fgm,pgd"}
    app = opened("curves", link)
    assert not app.toast and dict(app.query_params) == link
    assert [app.session_state[f"curves.{name}"] for name in ("data", "n", "defense", "attacks")] \
        == ["cifar10/sample", 7, "jpeg", ["fgm", "pgd"]]
    bits = {**link, "defense": "bits", "bits": "2"}
    del bits["quality"]
    assert dict(opened("curves", bits).query_params) == bits


def test_a_link_to_no_curve_at_all_is_taken_back():
    app = chosen(opened("curves"), "curves.attacks", [])
    assert not opened("curves", dict(app.query_params)).toast


# One's own images

def png(array, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


def seven():
    digits = load("mnist", "sample", SAMPLES)
    return np.kron(255 - digits.images[int(np.flatnonzero(digits.labels == 7)[0])], np.ones((8, 8), np.uint8))


@pytest.mark.parametrize("data", DATA)
def test_an_uploaded_image_is_used(data):
    app = opened(explore__data=data)
    picture = seven() if data == "mnist/sample" else np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    content = png(picture)
    app.file_uploader(key="explore.file").upload("mine.png", content, "image/png")
    ran(app)
    assert not app.error
    button(app, "upload.use").click()
    ran(app)
    header, arrays = panel(app)
    channels, height, width = header["shape"]
    seen = as_seen(Image.open(io.BytesIO(content)).convert("RGB"), tuple(header["shape"]))
    first = arrays["adversarial"].reshape(-1, height, width, channels)[0]
    assert np.array_equal(first, seen.reshape(height, width, channels))
    assert header["label"] is None and "image" not in app.query_params
    if channels == 1:
        assert arrays["probabilities"][:10].argmax() == 7
    chosen(app, "explore.attack", "fgm")  # the image stays with another attack and goes with another choice
    assert panel(app)[0]["label"] is None
    chosen(app, "explore.index", 5)
    check(app)


@pytest.mark.parametrize(("name", "content"), [
    ("broken.png", b"no image at all"), ("empty.png", b""), ("cut.png", png(seven())[:200]),
    ("bomb.png", png(np.zeros((8001, 8001), np.uint8))), ("disguised.png", b"PK\x03\x04" + b"\0" * 100)],
    ids=lambda p: p if isinstance(p, str) else "")
def test_a_bad_image_is_one_sentence_that_names_it(name, content):
    app = opened()
    app.file_uploader(key="explore.file").upload(name, content, "image/png")
    ran(app)
    assert len(app.error) == 1 and name in app.error[0].value
    check(app)


# One's own checkpoints

class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def altered(name):
    """The shipped weights, scaled a little: another network of the same architecture."""
    return {key: value * 0.9 for key, value in
            safetensors.torch.load_file(WEIGHTS / f"{name}.safetensors").items()}


def give(app, name, content):
    app.file_uploader(key="explore.own.file").upload(name, content)
    ran(app)
    app.button(key="explore.own.use").click()
    return ran(app)


def test_an_own_checkpoint_is_selected_and_computed_with():
    content = safetensors.torch.save(altered("tutorial-cnn"))
    app = give(opened(), "my network.safetensors", content)
    assert not app.error and app.session_state["explore.model"] == "my network.safetensors"
    assert app.selectbox(key="explore.model").options[:2] == ["my network.safetensors", "Tutorial CNN"]  # own on top
    header, arrays = panel(app)
    model = loading.load("tutorial-cnn", checkpoint=content)
    x, y = load("mnist", "sample", SAMPLES).one(app.session_state["explore.index"])
    adversarial = ATTACKS["fgsm"]().path(model, x, y, header["epsilons"])[:, 0]
    with torch.no_grad():
        expected = model(adversarial).softmax(dim=1).numpy()
    assert np.allclose(arrays["probabilities"].reshape(expected.shape), expected, atol=1e-4)
    shipped = panel(chosen(app, "explore.model", "tutorial-cnn"))[1]["probabilities"]
    assert not np.allclose(shipped, arrays["probabilities"], atol=1e-3)
    check(app)
    chosen(app, "explore.data", "cifar10/sample")  # it reads digits only
    assert app.session_state["explore.model"] in MODELS
    check(app)


def test_an_image_at_which_the_gradient_is_zero_is_said():
    """A network so sure of itself that its softmax is exactly 1."""
    sure = altered("tutorial-cnn")
    sure |= {name: 1e5 * weights for name, weights in sure.items() if name.startswith("fc2")}
    app = opened()
    assert not any("alarms" in each.proto.body for each in app.get("html"))
    app = give(app, "sure.safetensors", safetensors.torch.save(sure))
    assert not app.error
    told = [words("alarm.zero_gradients.here") in html.unescape(each.proto.body) for each in app.get("html")]
    assert sum(told) == 1
    chosen(app, "explore.attack", "noise")  # follows no gradient
    assert not any("alarms" in each.proto.body for each in app.get("html"))


def test_bad_checkpoints_are_one_sentence_that_names_them(tmp_path):
    marker = tmp_path / "opened"
    wrong = altered("tutorial-cnn")
    wrong["fc2.bias" if "fc2.bias" in wrong else list(wrong)[-1]] = torch.zeros(3)
    not_finite = {key: value * float("nan") for key, value in altered("tutorial-cnn").items()}
    torch_file = io.BytesIO()
    torch.save({"x": Malicious(marker)}, torch_file)
    for name, content in (("wrong shape.safetensors", safetensors.torch.save(wrong)),
                          ("other.safetensors", safetensors.torch.save(altered("lenet5"))),
                          ("nan.safetensors", safetensors.torch.save(not_finite)),
                          ("evil.pth", pickle.dumps({"x": Malicious(marker)})), ("evil zip.pth", torch_file.getvalue()),
                          ("junk.pt", b"junk"), ("empty.pt", b"")):
        app = give(opened(), name, content)
        assert len(app.error) == 1 and name in app.error[0].value, name
        assert app.session_state["explore.model"] in MODELS and not marker.exists()
        check(app)


def test_a_bad_normalisation_is_one_sentence():
    app = opened()
    for mean, std in (("x", "1"), ("0", "0"), ("0, 0", "1, 1"), ("nan", "1")):
        app.get_by_key("explore.own.mean.tutorial-cnn").set_value(mean)
        app.get_by_key("explore.own.std.tutorial-cnn").set_value(std)
        give(app, "mine.safetensors", safetensors.torch.save(altered("tutorial-cnn")))
        assert len(app.error) == 1 and app.session_state["explore.model"] == "tutorial-cnn", (mean, std)


# One's own data sets

def own_data(directory, name, images, labels):
    np.savez(directory / f"{name}.npz", images=images, labels=np.asarray(labels))


@pytest.fixture
def own(directory):
    random = np.random.default_rng(3)
    own_data(directory, "my_digits_test", load("mnist", "sample", SAMPLES).images[:30],
             load("mnist", "sample", SAMPLES).labels[:30])
    own_data(directory, "my_photos_test", random.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8), np.arange(12) % 10)
    return directory


@pytest.mark.parametrize("name", ["my_digits/test", "my_photos/test"])
def test_own_data_sets_work_on_every_page(own, name):
    app = opened()
    chosen(app, "explore.data", name)
    check(app)
    app = opened("curves")
    chosen(app, "curves.data", name)
    chosen(app, "curves.n", 5)
    chosen(app, "curves.attacks", ["fgsm"])
    button(app, "curves.compute", n=5).click()
    assert not ran(app).error and len(app.dataframe) == 1
    app = chosen(opened("data"), "data.data", name)
    assert not app.error


@pytest.mark.parametrize("labels", [np.arange(30) % 26, np.full(30, 17)], ids=["some above 9", "all above 9"])
@pytest.mark.parametrize("view", WITH_IMAGES)
def test_labels_that_do_not_fit_the_networks_are_one_sentence(directory, view, labels):
    own_data(directory, "letters_train", load("mnist", "sample", SAMPLES).images[:30], labels)
    app = chosen(opened(view), f"{view}.data", "letters/train")
    if view == "explore":
        chosen(app, "explore.index", 20)
        assert len(app.error) == 1
    if view == "curves":
        compute = [each for each in app.button if each.label == words("curves.compute", n=30)]
        if not app.error:
            compute[0].click()
            ran(app)
        assert len(app.error) == 1 and "letters" in app.error[0].value


@pytest.mark.parametrize("names", [["cat", "dog", "fox"], [f"kind {k}" for k in range(12)]], ids=len)
def test_probabilities_have_as_many_columns_as_classes(directory, names):
    """The panel reads probabilities row by row with the number of classes."""
    own_data(directory, "pets_test", np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.uint8),
             np.arange(9) % 3)
    (directory / "pets.json").write_text(json.dumps(names))
    app = chosen(opened(), "explore.data", "pets/test")
    if not app.error:
        header, arrays = panel(app)
        assert arrays["probabilities"].size == len(header["epsilons"]) * len(header["classes"])


@pytest.mark.parametrize("view", WITH_IMAGES)
def test_a_damaged_data_set_is_one_sentence(directory, view):
    (directory / "cut_train.npz").write_bytes(b"PK\x03\x04 and nothing more")
    app = chosen(opened(view), f"{view}.data", "cut/train")
    assert len(app.error) == 1 and "cut_train.npz" in app.error[0].value
    chosen(app, f"{view}.data", "mnist/sample")
    assert not app.error


# Accuracy curves

@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of shipped results, empty at first."""
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setattr(results, "RESULTS", folder)
    results.shipped.clear()
    yield folder
    results.shipped.clear()


def cheap(**query):
    """The curves page set to one network and FGSM on 20 digits."""
    app = opened("curves", {"attacks": "fgsm", "n": "20", **query})
    return chosen(app, "curves.models", ["tutorial-cnn"])


def computed(app, n=20):
    button(app, "curves.compute", n=n).click()
    return ran(app)


def expected_points(n=20, **options):
    *_, points = evaluation.accuracy_curve(loading.load("tutorial-cnn"), ATTACKS["fgsm"](),
                                           load("mnist", "sample", SAMPLES), scale_for((1, 28, 28), "linf").curve,
                                           limit=n, **options)
    return points


def assert_rows(rows, points, origin):
    assert [(float(row["epsilon"]), int(row[words("curves.correct")]), int(row["n"]), float(row[words("curves.accuracy")]),
             float(row[words("curves.low")]), float(row[words("curves.high")])) for row in rows] == [
        (pytest.approx(p.epsilon, abs=1e-6), p.correct, p.total, pytest.approx(p.accuracy, abs=1e-4),
         pytest.approx(p.low, abs=1e-4), pytest.approx(p.high, abs=1e-4)) for p in points]
    assert {row[words("curves.origin")] for row in rows} == {words(f"curves.origin.{origin}")}


def test_nothing_shipped_is_said_and_nothing_drawn(shipped):
    app = cheap()
    assert len(app.info) == 1 and not app.dataframe and not app.get("plotly_chart")


def test_computed_numbers_are_cores(shipped, downloads):
    app = computed(cheap())
    assert not app.error and not app.info and app.get("plotly_chart")
    table = app.dataframe[0].value.to_dict("records")
    assert_rows(table, expected_points(), "live")
    text, = (content for name, content in downloads.items() if name.endswith(".csv"))
    assert_rows(list(csv.DictReader(io.StringIO(text))), expected_points(), "live")
    assert len(ran(app).dataframe[0].value) == len(table)  # kept


def test_the_defense_adds_two_attackers(shipped):
    app = cheap(defense="jpeg", quality="30")
    rows = computed(app).dataframe[0].value.to_dict("records")
    curves = {attacker: [row for row in rows if row[words("curves.attacker")] == attacker]
              for attacker in dict.fromkeys(row[words("curves.attacker")] for row in rows)}
    assert list(curves)[1:] == [words("curves.unaware"), words("curves.aware")]
    for found, options in zip(curves.values(), ({}, {"defense": JPEG(quality=30)},
                                                {"defense": JPEG(quality=30), "aware": True})):
        assert_rows(found, expected_points(**options), "live")


def test_smallest_epsilons_that_contradict_each_other_raise_an_alarm(monkeypatch):
    from dashboard.views import minimal

    def planted(model, attack, dataset, top, *, tolerance, limit):
        yield torch.full((limit,), {"FGSM": 0.02}.get(attack.title, 0.3))
    silent = opened("minimal", minimal__n=40)
    assert not [each for each in silent.get("html") if "alarms" in each.proto.body]
    monkeypatch.setattr(minimal, "minimal_epsilons", planted)
    app = opened("minimal", minimal__n=40)
    cards = [each.proto.body for each in app.get("html") if "alarms" in each.proto.body]
    assert len(cards) == 1 and words("alarm.one_step_wins") in cards[0]
    assert words("alarm.gradient_free_wins") not in cards[0]


def test_curves_that_contradict_each_other_raise_an_alarm(shipped, monkeypatch):
    from core.statistics import wilson
    from dashboard.views import curves

    def planted(model, attack, dataset, epsilons, **options):
        right = {0.0: 20}
        yield [evaluation.Point(eps, k, 20, k / 20, *wilson(k, 20)) for eps in epsilons
               for k in [right.get(eps, 1 if attack.title == "FGSM" else 19)]]
    monkeypatch.setattr(curves, "accuracy_curve", planted)
    app = cheap(attacks="fgsm,pgd")
    button(app, "curves.compute", n=20).click()
    ran(app)
    cards = [each.proto.body for each in ran(app).get("html") if "alarms" in each.proto.body]
    assert len(cards) == 1 and words("alarm.one_step_wins") in cards[0] and "clean" not in cards[0].partition("</style>")[2].lower()


def test_a_stop_keeps_what_was_measured(shipped, monkeypatch):
    from dashboard.views import curves
    monkeypatch.setattr(evaluation, "BATCH", 8)
    original = curves.accuracy_curve

    def stopped(*args, **options):
        yield next(original(*args, **options))
        st.stop()
    monkeypatch.setattr(curves, "accuracy_curve", stopped)
    app = computed(cheap())
    points, = app.session_state["curves.done"].values()
    assert points[0].total == 8
    assert_rows(ran(app).dataframe[0].value.to_dict("records"), expected_points(8), "live")


@pytest.mark.parametrize("text", ["", "abc", "0, -1", "nan", "0, inf", "1/0", "0;1"])
def test_bad_epsilons_are_one_sentence_and_the_defaults_are_used(shipped, text):
    app = cheap()
    chosen(app, "curves.eps.28.linf", text)
    if text:
        assert len(app.error) == 1
    computed(app)
    assert_rows(app.dataframe[0].value.to_dict("records"), expected_points(), "live")


def test_own_epsilons_are_used(shipped):
    app = computed(chosen(cheap(), "curves.eps.28.linf", "0, 51/255"))
    assert [row["epsilon"] for row in app.dataframe[0].value.to_dict("records")] == [0, 0.2]


def test_another_checkpoint_of_the_same_name_has_its_own_numbers(shipped):
    def own(factor):
        content = safetensors.torch.save({key: value * factor for key, value in altered("tutorial-cnn").items()})
        return {"mine.pth": {"architecture": "tutorial-cnn", "digest": str(factor), "mean": (0.0,), "std": (1.0,),
                             "content": content}}
    app = opened("curves", {"attacks": "fgsm", "n": "20"}, own_checkpoints=own(1.0))
    chosen(app, "curves.models", ["mine.pth"])
    first = computed(app).dataframe[0].value
    app.session_state["own_checkpoints"] = own(-1.0)
    again = ran(app).dataframe
    assert not again or not again[0].value.equals(first)


def test_shipped_results_are_drawn_as_precomputed(shipped, capsys, downloads):
    assert evaluate.main(["--dataset", "mnist", "--split", "sample", "--model", "tutorial-cnn", "--attack", "fgsm",
                          "--limit", "20", "--json"]) == 0
    text = capsys.readouterr().out
    (shipped / "mnist.json").write_text(text, "utf-8")
    app = cheap()
    assert not app.info and not app.error
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert any(trace.get("fill") for trace in figure["data"])  # the interval as a band
    assert any(words("curves.precomputed", n=20) in str(trace.get("name")) for trace in figure["data"])
    assert_rows(app.dataframe[0].value.to_dict("records"), expected_points(), "precomputed")
    chosen(app, "curves.attacks", ["fgm"])
    assert app.info  # nothing is shipped for that


def test_no_models_or_attacks_give_a_page_without_compute(shipped):
    app = cheap()
    for key in ("curves.models", "curves.attacks"):
        chosen(app, key, [])
        assert button(app, "curves.compute", n=20).disabled and not app.error


@pytest.mark.parametrize("data", DATA)
def test_shipped_curves_of_plain_networks_raise_no_alarm(data):
    app = opened("curves", {"data": data, "attacks": "fgsm,pgd,noise,fgm,pgd-l2,noise-l2", "defense": "jpeg", "quality": "40"})
    assert not [each for each in app.get("html") if "class=\"alarms\"" in each.proto.body]


# Data

@pytest.mark.parametrize("data", DATA)
def test_the_counts_are_numpys(data, downloads):
    chosen(opened("data"), "data.data", data)
    dataset = load(*data.split("/"), SAMPLES)
    name = data.replace("/", "-")
    rows = list(csv.reader(io.StringIO(next(text for file, text in downloads.items() if name in file))))[1:]
    assert [int(count) for _, count in rows] == np.bincount(dataset.labels, minlength=10).tolist()
    assert [kind for kind, _ in rows] == list(dataset.classes)


def test_a_class_name_with_a_comma_stays_one_cell(directory, downloads):
    own_data(directory, "pets_test", np.zeros((4, 28, 28), np.uint8), [0, 1, 1, 1])
    (directory / "pets.json").write_text(json.dumps(["cat, big", 'a "dog"']))
    chosen(opened("data"), "data.data", "pets/test")
    rows = list(csv.reader(io.StringIO(next(text for file, text in downloads.items() if "pets" in file))))[1:]
    assert rows == [["cat, big", "1"], ['a "dog"', "3"]]


def test_first_and_random_samples():
    app = opened("data")
    for which in ("random", "first"):
        chosen(app, "data.which", which)
        assert sum(element.proto.body.count("<figure>") for element in app.html) == 50


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_download_without_network_is_one_sentence(monkeypatch, name):
    from core import downloads

    def unreachable(name, directory, on_progress=None):
        on_progress(1, 10)
        raise UserError("data.no_network", name=name.upper())
    monkeypatch.setattr(downloads, "download", unreachable)
    app = opened("data")
    app.button(key=f"data.get.{name}").click()
    ran(app)
    assert len(app.error) == 1 and name.upper() in app.error[0].value
    assert not ran(app).error
