"""R3's table of adversarial training: its network, plain, trained with FGSM and with PGD, under its own attacks."""
from pathlib import Path

import torch

from core.attacks import FGSM, PGD
from core.data import load
from core.device import best_device
from core.models import loading
from core.models.cards import MODELS
from core.settings import values_of

EPS = 0.031
REPORTED = {  # accuracy on test photos by R3; the plain one's by its tables 1 and 2
    "convnet3": {"clean": 0.684, "fgsm": 0.0014, "pgd": 0.1465},
    "convnet3-fgsm": {"clean": 0.4321, "fgsm": 0.3618, "pgd": 0.3683},
    "convnet3-pgd": {"clean": 0.5863, "fgsm": 0.3823, "pgd": 0.4048}}
# Steps of 0.05, longer than the ball's radius, from the image itself; what counts is where the last one ends.
OWN = PGD(eps=EPS, steps=20, step_size=0.05 / EPS, random_start=False)


def hardening(directory: Path) -> dict:
    """How many photos each network reads correctly clean, under one step, and after R3's 20 steps."""
    test, device = load("cifar10", "test", directory), best_device()
    attacks = {"fgsm": FGSM(eps=EPS), "pgd": OWN}
    found = []
    for name, reported in REPORTED.items():
        if not MODELS[name].weights.is_file():
            continue
        model, right = loading.load(name, device), {"clean": 0, **dict.fromkeys(attacks, 0)}
        for start in range(0, len(test), 500):
            x, y = (part.to(device) for part in test.batch(slice(start, start + 500)))
            with torch.no_grad():
                read = model(x).argmax(dim=1) == y
            right["clean"] += int(read.sum())
            x, y = x[read], y[read]
            for key, attack in attacks.items():
                right[key] += int((~attack(model, x, y).success).sum())
        found.append({"model": name, "correct": right, "reported": reported})
    return {"data": "cifar10/test", "n": len(test), "eps": EPS, "settings": values_of(OWN), "networks": found}
