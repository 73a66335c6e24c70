"""R2's saliency maps before and after: over the test set, how far they move and whether the noise falls on them."""
from dataclasses import asdict
from pathlib import Path

from core.analysis.overlap import joined, mean, overlaps
from core.attacks import FGM, FGSM, PGD
from core.data import load
from core.device import best_device
from core.models import loading
from core.settings import values_of


def saliency(directory: Path) -> dict:
    """Rank correlation and top-10 % intersection of noise and gradient map, and of the maps before and after, apart for
    images whose prediction flips and for those that hold."""
    test, found = load("mnist", "test", directory), []
    for name in ("lenet5", "lenet5-pgd"):
        model = loading.load(name, best_device())
        for attack in (FGSM(eps=0.15), FGM(eps=2.0), PGD(eps=0.15)):
            all_of = joined(list(overlaps(model, attack, test, "gradient")))
            parts = {"flipped": all_of.flipped, "held": ~all_of.flipped}
            found.append({"model": name, "attack": attack.title, "settings": values_of(attack), **{
                part: {"n": int(rows.sum()), **{key: asdict(mean(getattr(all_of, key)[rows])) for key in (
                    "noise_rank", "noise_top", "kept_rank", "kept_top")}} for part, rows in parts.items()}})
    return {"data": "mnist/test", "n": len(test), "method": "gradient", "top": 0.1, "chance_top": 0.1, "results": found}
