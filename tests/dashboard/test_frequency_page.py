"""The Frequency lab through AppTest: every section with every network, link and data set, its numbers against core."""
import csv
import io

import numpy as np
import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from core.analysis import spectrum
from core.analysis.fourier import sensitivity
from core.analysis.transfer_function import LOGITS, bode, transfer_function
from core.attacks import ATTACKS
from core.data import SAMPLES, load
from core.defenses import JPEG
from core.epsilons import scale_for
from core.models import loading
from core.models.cards import MODELS
from dashboard.frequency import gains
from dashboard.i18n import LANGUAGES, catalogue
from driver import decode

PAGE = "frequency"
SMALL = {"n": 4, "images": 4}  # what is checked does not depend on these
QUALITIES = (1, 7, 95)  # of those that the page measures; a dozen take a while
SCRIPT = "from dashboard import shell\nshell.run({'': {'frequency': None}})\n"


@pytest.fixture
def downloads(monkeypatch):
    """What st.download_button offers in a run, by file name, as rows."""
    offered, button = {}, st.download_button

    def download_button(label, data, file_name, *args, **options):
        offered[file_name] = list(csv.reader(io.StringIO(data)))
        return button(label, data, file_name, *args, **options)
    monkeypatch.setattr(st, "download_button", download_button)
    monkeypatch.setattr(st.delta_generator.DeltaGenerator, "download_button",
                        lambda self, label, data, file_name, *args, **options: offered.update(
                            {file_name: list(csv.reader(io.StringIO(data)))}))
    return offered


def opened(section="spectra", query=None, **state):
    app = AppTest.from_string(SCRIPT, default_timeout=60)
    for name, value in {"section": section, **SMALL, **state}.items():
        if value is not None:
            app.session_state[f"{PAGE}.{name}"] = value
    for name, value in (query or {}).items():
        app.query_params[name] = value
    return ran(app)


def ran(app):
    app.run()
    assert not app.exception, [(each.message, each.stack_trace) for each in app.exception]
    assert not app.error, [each.value for each in app.error]
    return app


def chosen(app, name, value):
    app.get_by_key(f"{PAGE}.{name}").set_value(value)
    return ran(app)


def model_names(dataset):
    return [name for name, card in MODELS.items() if card.shape == dataset.shape and card.weights.is_file()
            and (not card.labels or np.isin(dataset.labels, card.labels).all())]


def decibels(gain):
    return 20 * np.log10(gain.clamp_min(1e-6).numpy())


def words(key, **values):
    return catalogue("en")[f"frequency.{key}"].format(**values)


def panel(app, kind="plain"):
    """The message of the live transfer function: header, maps [Q, H, W], curves [Q, K, R]."""
    header, arrays = decode(app.get_by_key(f"{PAGE}.bode.{kind}").proto.bytes)
    shape = (-1, header["height"], header["width"])
    curves = arrays["curves"].reshape(-1, len(header["names"]), len(header["cycles"]))
    return header, arrays["maps"].reshape(shape), curves


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("section", ["spectra", "transfer", "fourier"])
def test_every_section_in_every_language(section, lang):
    app = opened(section, {"lang": lang}, **({"attacks": ["fgsm", "fgm"]} if section == "spectra" else {}))
    assert [title.value for title in app.title] == [catalogue(lang)["frequency.title"]]
    assert app.subheader and not app.warning and app.query_params["section"] == section


# Spectra

def test_one_image_and_a_set_against_core(downloads):
    app = opened(attacks=["fgsm", "fgm"], model="lenet5", index=7)
    model, digits = loading.load("lenet5"), load("mnist", "sample", SAMPLES)
    x, y = digits.one(7)
    built = ATTACKS["fgsm"](eps=scale_for(digits.shape, "linf").start)
    powers = spectrum.power((built(model, x, y).adversarial - x).double())
    rows = downloads["epsilon-lab-spectra.csv"]
    expected = 10 * np.log10(spectrum.radial(powers)[0].numpy())
    assert np.allclose([float(row[2]) for row in rows[1:]], expected, atol=1e-3)
    image, share = (f"{100 * float(spectrum.high_share(each)[0]):.0f}" for each in (spectrum.power(x.double()), powers))
    assert app.subheader[0].value == words("image.headline", attack="FGSM", image=image, share=share)
    app.button(key=f"{PAGE}.compute").click()
    ran(app)
    *_, found = spectrum.perturbation_spectra(model, built, digits, 4)
    rows = [row for row in downloads["epsilon-lab-perturbations-mnist.csv"][1:] if row[0] == "FGSM"]
    part = found.scaled
    expected = torch.stack([spectrum.ring_radii(28, 28), part.radial, part.low, part.high], dim=1)
    assert np.allclose([[float(cell) for cell in row[2:]] for row in rows], expected, rtol=1e-4)


def test_the_first_visit_computes_by_itself():
    app = opened()
    done = app.session_state[f"{PAGE}.spectra"]
    assert [key[2] for key in done] == ["fgsm", "fgm", "pgd", "cw"] and {found.n for found in done.values()} == {4}
    chosen(app, "size", "as_made")


@pytest.mark.parametrize("data", ["mnist/sample", "cifar10/sample", "mnist-37/sample"])
def test_spectra_of_every_network(data):
    app = opened(data=data, attacks=["fgm"])
    for name in model_names(load(*data.split("/"), SAMPLES)):
        chosen(app, "model", name)
    if data == "cifar10/sample":
        chosen(app, "channel", "green")
        app.button(key=f"{PAGE}.compute").click()
        ran(app)


def test_an_upload_has_no_label():
    digits = load("mnist", "sample", SAMPLES)
    app = opened(attacks=["fgsm"], upload=(digits.shape, digits.images[3].tobytes()))
    assert "image" not in app.query_params


def test_an_attack_that_leaves_the_image_alone():
    app = opened(attacks=["fgsm"], **{"eps.28.linf": 0.0})
    assert app.subheader[0].value == words("image.nothing", attack="FGSM")
    assert app.button(key=f"{PAGE}.compute").disabled
    chosen(app, "attacks", [])


# Transfer function

@pytest.mark.parametrize("data", ["mnist/sample", "cifar10/sample", "mnist-37/sample"])
def test_the_transfer_function_of_every_network(data):
    app, dataset = opened("transfer", data=data), load(*data.split("/"), SAMPLES)
    for name in model_names(dataset):
        if data == "mnist-37/sample" and not MODELS[name].labels:
            continue
        chosen(app, "models", [name])
        header, maps, curves = panel(app)
        found = transfer_function(loading.load(name), MODELS[name].shape, amplitude=0.05)
        assert header["known"] == [0] and header["names"] == [MODELS[name].title]
        assert np.allclose(maps[0], decibels(found.mean), atol=1e-3)
        assert np.allclose(curves[0, 0], decibels(bode(found.mean)[1:]), atol=1e-3)


def test_layers_filters_and_several_networks(downloads):
    app = opened("transfer", {"layer": LOGITS, "models": "lenet5,softmax,tutorial-cnn"})
    model = loading.load("lenet5")
    header, maps, curves = panel(app)
    assert curves.shape == (1, 3, 14) and header["names"] == ["LeNet-5", "Softmax regression", "Tutorial CNN"]
    chosen(app, "unit", 3)
    found = transfer_function(model, (1, 28, 28), LOGITS, amplitude=0.05)
    assert np.allclose(panel(app)[1][0], decibels(found.gain[3]), atol=1e-3)
    rows = downloads["epsilon-lab-transfer-map.csv"]
    assert len(rows) == 785 and float(rows[1][4]) == pytest.approx(float(found.gain[3, 0, 0]), rel=1e-4)
    app = chosen(chosen(app, "models", ["lenet5", "softmax"]), "layer", "network.features.3")
    assert panel(app)[0]["names"] == ["LeNet-5 · Filter 4"]  # the other has no such layer
    assert app.query_params["layer"] == "network.features.3" and app.query_params["models"] == "lenet5,softmax"
    chosen(chosen(app, "background", "images"), "amplitude", 0.2)


def test_every_quality_streams_in(downloads, monkeypatch):
    monkeypatch.setattr(gains, "QUALITIES", QUALITIES)
    monkeypatch.setattr(gains, "ORDER", (7, 95, 1))
    app = opened("transfer", {"jpeg": "yes"}, models=["lenet5"])
    for _ in range(len(QUALITIES) + 1):  # each run measures one more
        header, maps, curves = panel(app, "jpeg")
        if min(header["known"]) >= 0:
            break
        ran(app)
    assert sorted(header["known"]) == list(range(len(QUALITIES) + 1)) and len(maps) == len(QUALITIES) + 1
    model, row = loading.load("lenet5"), header["known"][QUALITIES.index(7)]
    found = transfer_function(model, (1, 28, 28), amplitude=0.05, defense=JPEG(quality=7))
    assert np.allclose(maps[row], decibels(found.mean), atol=1e-3)
    notes = [position["note"] for position in header["positions"]]
    assert notes[0] == words("erased.all", quality=1) and notes[-2:] == [words("erased.none", quality=95), ""]
    assert notes[QUALITIES.index(7)] == words("erased", quality=7, share=f"{100 * found.erased:.0f}")
    assert {row[1] for row in downloads["epsilon-lab-transfer-curves.csv"][1:]} == {"", *map(str, QUALITIES)}


def test_every_quality_of_the_slider_is_measured_once():
    assert sorted(gains.ORDER) == list(gains.QUALITIES)


def test_no_network_is_no_error():
    for section, key in (("transfer", "models"), ("fourier", "pair")):
        app = opened(section, **{key: []})
        assert [each.value for each in app.info] == [words("nothing")]


# Fourier sensitivity

def test_fourier_sensitivity_against_core(downloads):
    app = opened("fourier", {"norm": "9", "pair": "lenet5,softmax"})
    digits = load("mnist", "sample", SAMPLES)
    *_, found = sensitivity(loading.load("softmax"), *digits.batch(slice(0, 4)), 9.0)
    rows = [row for row in downloads["epsilon-lab-fourier-mnist.csv"][1:] if row[0] == "Softmax regression"]
    assert len(rows) == 784 and np.allclose([float(row[3]) for row in rows], found.error.flatten())
    assert app.query_params["pair"] == "lenet5,softmax" and app.query_params["norm"] == "9"
    chosen(chosen(chosen(app, "energy", "fgsm"), "cut", True), "quality", 3)
    assert app.query_params["energy"] == "fgsm" and app.query_params["quality"] == "3"


def test_another_data_set_brings_its_own_networks_and_norm():
    app = opened("fourier", images=1)
    chosen(app, "data", "mnist-37/sample")
    assert app.session_state[f"{PAGE}.pair"] == ["lenet5", "lenet5-pgd"]
    chosen(app, "pair", ["logistic37"])
    chosen(app, "images", 1)
    chosen(chosen(app, "section", "transfer"), "data", "cifar10/sample")
    assert app.session_state[f"{PAGE}.models"] == ["convnet3", "convnet3-fgsm"]
    assert f"{PAGE}.norm" not in app.session_state  # photos start at their own


def test_nonsense_in_a_link_is_said_and_ignored():
    app = opened(None, {"section": "nowhere", "amplitude": "7", "norm": "-1", "models": "nobody", "layer": "nowhere"},
                 attacks=["fgsm"])
    assert [each.value for each in app.toast] == [catalogue("en")["link.ignored"].format(
        names="section, models, amplitude, norm")]
