"""The saliency page through AppTest: what it says is what core computes, and no choice breaks it."""
import csv
import io
import json

import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from core.analysis import overlap
from core.analysis.overlap import PREDICTED, TRUE
from core.analysis.saliency import METHODS
from core.attacks import ATTACKS, FGSM
from core.data import SAMPLES, load
from core.defenses import JPEG
from core.models import loading
from dashboard.i18n import LANGUAGES, catalogue, number
from dashboard.views import saliency
from driver import ran, words

DIGITS = load("mnist", "sample", SAMPLES)


def opened(query=None, **state):
    """A new session on the page, run once; `state` without the page's prefix. Four images of a set are enough."""
    app = AppTest.from_string("from dashboard import shell\nshell.run({'': {'saliency': None, 'explore': None}})\n",
                              default_timeout=60)
    for name, value in {"n": 4, **state}.items():
        app.session_state[name if name == "lang" else f"saliency.{name}"] = value
    for name, value in (query or {}).items():
        app.query_params[name] = value
    return ran(app)


def chosen(app, name, value):
    app.get_by_key(f"saliency.{name}").set_value(value)
    return ran(app)


def page(app):
    return " ".join(each.proto.body for each in app.html)


def read(model, *images):
    with torch.no_grad():
        return [int(model(image).argmax()) for image in images]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_opens_on_the_story_in_every_language(lang):
    app = opened(lang=lang)
    assert not app.error and not app.warning
    assert [title.value for title in app.title] == [catalogue(lang)["saliency.title"]]
    assert catalogue(lang)["live.misread"].format(was="8", **{"is": "3"}) in page(app)
    assert app.get("plotly_chart"), "a cheap set is computed at once"


@pytest.mark.parametrize("attack", saliency.STORY_EPS)
def test_the_same_8_becomes_a_3_under_each_attack_and_an_8_again_behind_jpeg(attack):
    app = opened(index=3, data="mnist/sample")
    app.button(key=f"saliency.story.{attack}").click()
    app = ran(app)
    assert app.query_params["image"] == str(saliency.STORY) and app.query_params["attack"] == attack
    model, (x, y) = loading.load("tutorial-cnn"), DIGITS.one(saliency.STORY)
    eps = saliency.STORY_EPS[attack]
    adversarial = ATTACKS[attack](**({} if eps is None else {"eps": eps}))(model, x, y).adversarial
    assert read(model, x, adversarial, JPEG(quality=saliency.QUALITY)(adversarial)) == [8, 3, 8] and int(y) == 8
    assert words("live.misread", was="8", **{"is": "3"}) in page(app)


@pytest.mark.parametrize("method", METHODS)
def test_the_overlaps_in_words_are_cores(method):
    app = opened({"data": "mnist/sample", "image": "21", "model": "lenet5", "attack": "fgm", "eps": "1.5",
                  "method": method, "explain": "true"})
    model, (x, y) = loading.load("lenet5"), DIGITS.one(21)
    adversarial = ATTACKS["fgm"](eps=1.5)(model, x, y).adversarial
    found = overlap.overlap(model, method, x, adversarial, y, explain=TRUE)
    text = " ".join(each.value for each in app.markdown)
    for value in (found.noise_rank, found.kept_rank):
        assert f"**{'+' if value > 0 else ''}{number(float(value), 2)}**".replace("-", "\u2212") in text
    for share in (found.noise_top, found.kept_top):
        assert f"**{100 * float(share):.0f}\u00a0%**" in text


def test_a_link_restores_every_choice_and_nonsense_is_left_out():
    wanted = {"data": "mnist/sample", "image": "7", "model": "lenet5", "attack": "pgd", "eps": "0.2", "steps": "3",
              "method": "grad-cam", "layer": "network.features.0", "explain": "4", "drawn": "magnitude",
              "quality": "55", "n": "2"}
    app = opened(wanted)
    assert {name: app.query_params[name] for name in wanted} == wanted
    assert not app.get("plotly_chart") and len(app.info) == 1  # not computed by itself
    app = opened({"data": "mnist/sample", "eps": "x", "method": "7", "explain": "12", "layer": "conv9", "quality": "0"})
    assert not app.error and app.query_params["method"] == "gradient" and app.query_params["explain"] == PREDICTED


@pytest.mark.parametrize("data, model", [("mnist/sample", "softmax"), ("mnist-37/sample", "logistic37")])
def test_networks_without_convolution_have_three_methods(data, model):
    app = opened(data=data, model=model, method="grad-cam", explain="5", layer="conv")
    assert not app.error and app.session_state["saliency.method"] == "gradient"
    assert app.session_state["saliency.explain"] == ("5" if model == "softmax" else PREDICTED)
    assert app.get_by_key("saliency.method").options == [words(f"saliency.method.{name}") for name in list(METHODS)[:3]]
    assert words("saliency.methods.some") in [each.value for each in app.subheader]
    assert words("saliency.no_layers") in [each.value for each in app.caption]


def test_the_default_convolution_follows_the_network():
    app = opened(data="mnist/sample", model="lenet5", method="grad-cam")
    assert app.query_params["layer"] == "network.features.3"
    app = chosen(app, "model", "tutorial-cnn")
    assert not app.error and app.query_params["layer"] == "network.conv2"


def test_an_upload_has_no_true_class():
    pixels = DIGITS.images[21].tobytes()
    app = opened(data="mnist/sample", model="lenet5", explain=TRUE, upload=((1, 28, 28), pixels))
    assert not app.error and app.session_state["saliency.explain"] == PREDICTED and "image" not in app.query_params
    assert words("saliency.explain.true") not in app.get_by_key("saliency.explain").options


def test_photos_and_a_drawn_magnitude():
    app = opened(data="cifar10/sample", model="convnet3", drawn="magnitude", index=1)
    assert not app.error and page(app).count("<section>") == 8


def test_without_noise_there_is_nothing_to_compare():
    app = opened({"data": "mnist/sample", "image": "21", "attack": "fgsm", "eps": "0"})
    assert not app.error and words("saliency.falls.none") in page(app)


def test_the_table_and_the_download_are_cores(downloads):
    app = opened({"data": "mnist/sample", "model": "lenet5", "attack": "fgsm", "eps": "0.2", "n": "20"}, n=20)
    found = overlap.joined(list(overlap.overlaps(loading.load("lenet5"), FGSM(0.2), DIGITS, "gradient", limit=20)))
    rows = app.dataframe[0].value.to_dict("records")
    assert [row["n"] for row in rows] == [int(found.flipped.sum()), int((~found.flipped).sum()), 20]
    every = overlap.mean(found.kept_rank)
    assert rows[2][words("saliency.kept_rank")] == f"{every.mean:.2f} ({every.low:.2f} to {every.high:.2f})"
    lines = list(csv.DictReader(io.StringIO(downloads["epsilon-lab-saliency-mnist.csv"])))
    tops = [float(line[words("saliency.noise_top")]) for line in lines]
    assert tops == pytest.approx(found.noise_top.tolist(), abs=1e-5)
    assert [int(line[words("saliency.flipped")]) for line in lines] == found.flipped.int().tolist()
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert sum(trace["type"] == "histogram" for trace in figure["data"]) == 4


def test_a_stop_keeps_what_was_measured(monkeypatch):
    from dashboard import map_set
    original = map_set.overlaps

    def stopped(*args, **options):
        yield next(original(*args, **options))
        st.stop()
    monkeypatch.setattr(overlap, "BATCH", 8)
    monkeypatch.setattr(map_set, "overlaps", stopped)
    app = opened(data="mnist/sample", model="lenet5", n=20)
    kept, = app.session_state["saliency.done"].values()
    assert len(kept.flipped) == 8
    assert ran(app).dataframe[0].value["n"].tolist()[2] == 8
