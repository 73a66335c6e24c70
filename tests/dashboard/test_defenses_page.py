"""The defenses page: JPEG's steps as they are sent, the grid and the curves as core computes them, the alarms."""
import csv
import io

import numpy as np
import pytest
import streamlit as st
import torch

from core.analysis.checks import CHECKS
from core.attacks import ATTACKS
from core.data import SAMPLES, load
from core.defense_grid import defense_grid
from core.defenses import DEFENSES, JPEG, Stack
from core.defenses.jpeg_steps import file_bytes, jpeg_steps
from core.epsilons import scale_for
from core.evaluation import accuracy_curve
from core.images import to_uint8
from core.models import loading
from dashboard.controls import setting_key
from dashboard.views import defenses
from driver import button, chosen, decode, opened, ran, words


@pytest.fixture
def downloads(monkeypatch):
    """What st.download_button offers in a run, by file name."""
    offered, original = {}, st.download_button

    def download_button(label, data, file_name, *args, **options):
        offered[file_name] = list(csv.DictReader(io.StringIO(data)))
        return original(label, data, file_name, *args, **options)
    monkeypatch.setattr(st, "download_button", download_button)
    return offered


def page(section, **query):
    return opened("defenses", {"section": section, **query})


def steps(app):
    return decode(app.get_by_key("defenses.steps").proto.bytes)


@pytest.mark.parametrize(("data", "model", "attack"), [
    ("mnist/sample", "tutorial-cnn", "fgsm"), ("cifar10/sample", "convnet3", "fgm"), ("mnist/sample", "lenet5", "deepfool")])
def test_the_steps_are_cores_and_pillows(data, model, attack):
    app = page("jpeg", data=data, model=model, attack=attack, image="3", quality="30")
    header, arrays = steps(app)
    dataset = load(data.partition("/")[0], "sample", SAMPLES)
    x, y = dataset.one(3)
    network = loading.load(model)
    kind = ATTACKS[attack]
    eps = {"eps": scale_for(dataset.shape, kind.norm).start} if kind.bounded else {}
    attacked = kind(**eps)(network, x, y).adversarial
    sent = arrays["original"].reshape(1, *dataset.shape[1:], dataset.shape[0])
    assert np.abs(sent.astype(int) - to_uint8(attacked)).max() <= 1 and header["quality"] == 30
    image = torch.from_numpy(sent.copy()).permute(0, 3, 1, 2).float() / 255
    results = arrays["results"].reshape(100, *dataset.shape[1:], dataset.shape[0])
    for quality in (1, 30, 77, 100):
        each = jpeg_steps(image, quality)
        assert np.array_equal(results[quality - 1], to_uint8(JPEG(quality)(image))[0])
        assert arrays["bytes"][quality - 1] == int(file_bytes(image, quality)[1])
        for k, plane in enumerate(each.planes):
            count = plane.quantized.numel()
            stored = arrays[f"quantized{k}"][(quality - 1) * count:quality * count]
            assert np.array_equal(stored, plane.quantized.numpy().flatten().astype(int))
            assert np.array_equal(arrays[f"tables{k}"][64 * (quality - 1):64 * quality],
                                  plane.table.numpy().flatten().astype(int))
    with torch.no_grad():
        shares = network(JPEG(30)(image)).softmax(dim=1)[0].numpy()
    assert np.allclose(arrays["probabilities"].reshape(100, -1)[29], shares, atol=1e-3)


def test_the_clean_image_and_an_upload_without_a_label_work():
    app = page("jpeg")
    chosen(app, "defenses.image", "clean")
    dataset = load("mnist", "sample", SAMPLES)
    assert np.array_equal(steps(app)[1]["original"], dataset.images[defenses.FIRST_DIGIT].flatten())
    app.session_state["defenses.upload"] = (dataset.shape, dataset.images[7].tobytes())
    ran(app)
    assert np.array_equal(steps(app)[1]["original"], dataset.images[7].flatten())
    chosen(app, "defenses.image", "attacked")
    assert not np.array_equal(steps(app)[1]["original"], dataset.images[7].flatten())


@pytest.mark.parametrize("name", DEFENSES)
def test_the_grid_is_cores(name, downloads):
    app = page("helps", defense=name, n="20")
    if not app.dataframe:
        button(app, "curves.compute", n=20).click()
        ran(app)
    kind, dataset = DEFENSES[name], load("mnist", "sample", SAMPLES)
    stops = defenses.STOPS.get(name) or defenses._some(defenses.positions(kind), 8)
    epsilons = scale_for(dataset.shape, "linf").curve
    *_, grid = defense_grid(loading.load("tutorial-cnn"), ATTACKS["fgsm"](), [kind(**{kind.slider: s}) for s in stops],
                            dataset, epsilons, limit=20)
    rows = downloads["epsilon-lab-defense-grid.csv"]
    assert len(rows) == len(stops) * len(epsilons)
    assert [int(row[words("curves.correct")]) for row in rows] == grid.correct.T.flatten().tolist()
    assert [int(row[words("defenses.recovered")]) for row in rows] == grid.recovered.T.flatten().tolist()
    assert {row["n"] for row in rows} == {"20"}
    middle = epsilons[len(epsilons) // 2]
    *_, points = accuracy_curve(loading.load("tutorial-cnn"), ATTACKS["fgsm"](), dataset, [middle], limit=20,
                                defense=kind(**{kind.slider: stops[2]}), aware=True)
    knows = [row[words("curves.aware")] for row in rows if float(row["epsilon"]) == round(middle, 6)]
    assert knows[2] == str(points[0].correct) and len(knows) == len(stops)


def test_the_three_curves_are_cores_for_a_stack(downloads):
    app = page("holds", attacker="fgsm", stack="blur,jpeg", n="20")
    rows = downloads["epsilon-lab-defense-curves.csv"]
    dataset, network = load("mnist", "sample", SAMPLES), loading.load("tutorial-cnn")
    defense = Stack(DEFENSES["blur"](), JPEG())
    for name, options in (("defenses.holds.none", {}), ("curves.unaware", {"defense": defense}),
                          ("curves.aware", {"defense": defense, "aware": True})):
        mine = [row for row in rows if row[words("curves.attacker")] == words(name)]
        *_, points = accuracy_curve(network, ATTACKS["fgsm"](), dataset, [float(row["epsilon"]) for row in mine], limit=20,
                                    **options)
        assert [int(row[words("curves.correct")]) for row in mine] == [point.correct for point in points]
    assert app.query_params["stack"] == "blur,jpeg"


def test_no_defense_is_one_sentence():
    app = page("holds", attacker="fgsm", n="4")
    chosen(app, "defenses.stack", [])
    assert app.info[0].value == words("defenses.holds.choose")


def test_the_checks_come_as_cards():
    app = page("holds", attacker="fgsm", n="10")
    button(app, "defenses.alarms.run").click()
    ran(app)
    cards = next(each.proto.body for each in app.get("html") if "alarms" in each.proto.body)
    assert cards.count("<section") == len(CHECKS) and "fired" not in cards.partition("</style>")[2]
    assert all(words(f"alarm.{name}") in cards for name in CHECKS)


@pytest.mark.parametrize("section", defenses.SECTIONS)
@pytest.mark.parametrize("query", [{"data": "cifar10/sample"}, {"data": "mnist-37/sample", "model": "logistic37"},
                                   {"model": "softmax"}], ids=str)
def test_every_section_opens_everywhere(section, query):
    app = page(section, **{"n": "4", **query})
    assert not app.error and app.query_params["section"] == section


def test_settings_are_each_defenses_own():
    app = page("holds", attacker="fgsm", stack="bits,noise", n="4")
    for kind in (DEFENSES["bits"], DEFENSES["noise"]):
        for each in defenses.controls.settings_of(kind):
            assert setting_key("defenses", each) in app.session_state
