"""R2's accuracy curves: over layers, over lengths of training, over epsilon and JPEG quality; and its first errors."""
from pathlib import Path

import torch

from core.attacks import APGDT, FGSM, PGD
from core.attacks.base import Attack, margin
from core.data import DataSet, load
from core.defense_grid import defense_grid
from core.defenses import JPEG
from core.device import best_device
from core.epsilons import scale_for
from core.evaluation import accuracy_curve, minimal_epsilons
from core.models import loading
from core.models.cards import MODELS
from core.settings import values_of

EXTRA = ("lenet5", "lenet5-2", "lenet5-4", "lenet5-6", "lenet5-10", "lenet5-20")
EPOCHS = ("lenet5-e5", "lenet5-e10", "lenet5-e50", "lenet5-e100", "lenet5-e200")
QUALITIES = (2, 5, 10, 20, 30, 40, 50, 60, 75, 90, 100)


def layers(directory: Path) -> dict:
    """Accuracy over eps for LeNet-5 with more and more layers of 256 units."""
    return _curves(EXTRA, ((FGSM(), None), (PGD(), None)), load("mnist", "test", directory))


def lengths(directory: Path) -> dict:
    """Accuracy over eps for LeNet-5 after 5 to 200 epochs of the same training, under attacks along the gradient of the
    cross-entropy and under one along the logits'; and for how many digits the former is cut off by rounding."""
    test = load("mnist", "test", directory)
    found = _curves(EPOCHS, ((FGSM(), None), (PGD(), None), (APGDT(), 1000)), test)
    return {**found, "certainty": {name: _certainty(name, test) for name in EPOCHS}}


def _certainty(name: str, test: DataSet) -> dict:
    """How many images have a softmax of exactly 1 in float32 for their class, and the median of the logits' margin.

    The cross-entropy's gradient in the logits is softmax - onehot: at exactly 1 its part in the true class is lost, and
    an attack no longer learns what speaks for it (Carlini & Wagner 2017, https://arxiv.org/abs/1608.04644, on defensive
    distillation)."""
    device = best_device()
    model, saturated, margins = loading.load(name, device), 0, []
    for start in range(0, len(test), 1000):
        x, y = (part.to(device) for part in test.batch(slice(start, start + 1000)))
        with torch.no_grad():
            logits = model(x)
        saturated += int((logits.softmax(dim=1).gather(1, y[:, None]) == 1).sum())
        margins.append(margin(logits, y, None).cpu())
    return {"saturated": saturated, "margin": round(float(torch.cat(margins).median()), 2)}


def _curves(names: tuple[str, ...], attacks: tuple[tuple[Attack, int | None], ...], test: DataSet) -> dict:
    """A curve for each network and attack; the latter comes with how many images it sees (None: all)."""
    epsilons, found = scale_for(test.shape, "linf").curve, []
    for name in names:
        model = loading.load(name, best_device())
        for attack, limit in attacks:
            *_, points = accuracy_curve(model, attack, test, epsilons, limit=limit)
            found.append({"model": name, "attack": attack.title, "settings": values_of(attack), "n": points[0].total,
                          "correct": [point.correct for point in points]})
    return {"data": "mnist/test", "n": len(test), "epsilons": epsilons, "curves": found}


def first_error(directory: Path) -> dict:
    """The smallest eps that fools each digit: FGSM and PGD on LeNet-5 and ResNet-20. 0: misread anyway; none: above
    the top."""
    test, top = load("mnist", "test", directory), 0.5
    edges = torch.linspace(0, top, 51)
    found = []
    for name in ("lenet5", "lenet5-20", "resnet20-mnist"):
        for attack in (FGSM(), PGD()):
            limit = len(test) if name != "resnet20-mnist" and not attack.iterated else 1000  # hundreds of eps each
            values = torch.cat(list(minimal_epsilons(loading.load(name, best_device()), attack, test, top, limit=limit)))
            finite = values[values.isfinite() & (values > 0)]
            found.append({"model": name, "attack": attack.title, "settings": values_of(attack), "n": len(values),
                          "wrong": int((values == 0).sum()), "unfooled": int(values.isinf().sum()),
                          "median": round(float(values.median()), 4) if values.median().isfinite() else None,
                          "counts": torch.histc(finite, 50, 0, top).int().tolist()})
    return {"data": "mnist/test", "edges": [round(float(edge), 3) for edge in edges], "tolerance": 1e-3, "networks": found}


def qualities(directory: Path) -> dict:
    """Accuracy over eps and JPEG quality under FGSM, an attacker who does not know the defense."""
    found = []
    for name in ("lenet5", "convnet3"):
        card = MODELS[name]
        test, epsilons = load(card.dataset, "test", directory), scale_for(card.shape, "linf").curve
        *_, grid = defense_grid(loading.load(name, best_device()), FGSM(), [JPEG(quality) for quality in QUALITIES], test,
                                epsilons)
        found.append({"model": name, "data": f"{card.dataset}/test", "n": grid.total, "epsilons": epsilons,
                      "bare": grid.bare.tolist(), "correct": grid.correct.tolist(), "fooled": grid.fooled.tolist(),
                      "recovered": grid.recovered.tolist(), "spoiled": grid.spoiled.tolist()})
    return {"attack": FGSM.title, "qualities": QUALITIES, "networks": found}
