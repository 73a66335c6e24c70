"""R2's spectra of the noises and its Bode diagrams, and Yin et al.'s error maps."""
from pathlib import Path

import torch
from torch import Tensor

from core.analysis.fourier import NORMS, sensitivity
from core.analysis.spectrum import perturbation_spectra, ring_radii
from core.analysis.transfer_function import LOGITS, bode, tilt, transfer_function
from core.attacks import FGM, FGSM, PGD, CarliniWagner
from core.data import load
from core.defenses import JPEG
from core.device import best_device
from core.models import loading
from core.models.cards import MODELS
from core.settings import values_of

QUALITIES = (1, 3, 5, 7, 10, 13, 16, 20, 30, 50, 75, 100)
AMPLITUDE = 0.1


def spectra(directory: Path) -> dict:
    """The mean spectrum of FGSM, FGM, PGD and Carlini-Wagner on digits: |FFT| of each perturbation scaled to norm 1."""
    name, attacks = "lenet5", (FGSM(eps=0.15), FGM(eps=2.0), PGD(eps=0.15), CarliniWagner())
    test, model = load("mnist", "test", directory), loading.load(name, best_device())
    found = []
    for attack in attacks:
        *_, last = perturbation_spectra(model, attack, test, len(test))
        part = last.scaled
        found.append({"attack": attack.title, "settings": values_of(attack), "n": last.n, "unchanged": last.unchanged,
                      "l2": round(last.l2, 4), "magnitude": rounded(part.magnitude), "radial": rounded(part.radial, 9),
                      "low": rounded(part.low, 9), "high": rounded(part.high, 9),
                      "high_share": round(part.high_share, 4), "high_error": round(part.high_error, 4)})
    return {"data": "mnist/test", "model": name, "radii": rounded(ring_radii(28, 28)), "attacks": found}


def transfer(directory: Path) -> dict:
    """The gain of the first convolution and of the logits for gratings over mid-grey, without JPEG and with it at
    several qualities, in dB against the gain's own mean without JPEG."""
    found = []
    for name in ("lenet5", "lenet5-pgd", "resnet20-mnist", "convnet3", "resnet20"):
        card = MODELS[name]
        model = loading.load(name, best_device())
        lines = []
        for layer in (None, LOGITS):
            bare = transfer_function(model, card.shape, layer, amplitude=AMPLITUDE)
            by_quality = []
            for quality in QUALITIES:
                behind = transfer_function(model, card.shape, layer, amplitude=AMPLITUDE, defense=JPEG(quality))
                ratio = bode(behind.mean)[1:] / bode(bare.mean)[1:]
                by_quality.append({
                    "quality": quality, "erased": round(behind.erased, 4), "radial": rounded(bode(behind.mean)),
                    # How far the curve is from the bare one, both over frequencies of one ring each.
                    "change_db": round(float((20 * torch.log10(ratio.clamp_min(1e-3))).square().mean().sqrt()), 2)})
            lines.append({"layer": layer or "first", "gain": rounded(bare.mean), "radial": rounded(bode(bare.mean)),
                          "tilt_db": round(tilt(bare.mean), 2), "jpeg": by_quality})
        found.append({"model": name, "radii": rounded(ring_radii(*card.shape[1:])), "layers": lines})
    return {"amplitude": AMPLITUDE, "phases": 4, "background": 0.5, "models": found}


def fourier(directory: Path) -> dict:
    """Error rate with noise of one frequency each: the plain LeNet-5 beside those trained against attacks."""
    test, n = load("mnist", "test", directory), 1000
    x, y = test.batch(slice(0, n))
    found = []
    for name in ("lenet5", "lenet5-fgsm", "lenet5-pgd"):
        *_, last = sensitivity(loading.load(name, best_device()), x, y, NORMS[28])
        found.append({"model": name, "clean": round(last.clean, 4), "error": rounded(last.error)})
    return {"data": "mnist/test", "n": n, "norm": NORMS[28], "models": found}


def rounded(values: Tensor, digits: int = 5) -> list:
    """A tensor as nested lists of short numbers."""
    return (values.double() * 10 ** digits).round().div(10 ** digits).tolist()
