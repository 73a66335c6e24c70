"""Are the cards true? Everything on them measured once more."""
from collections.abc import Callable
from pathlib import Path

from core.data import load
from core.device import best_device
from core.models import loading
from core.models.cards import ModelCard
from core.training import measure


def check(cards: list[ModelCard], directory: Path, say: Callable[[str], None] = print) -> int:
    """Measure every number of `cards` again; 1 if one lies outside the interval on its card, else 0."""
    device, wrong = best_device(), 0
    for card in cards:
        model = loading.load(card.name, device)  # refuses weights that are not the card's
        test, sample = (load(card.dataset, split, directory).only(card.labels) for split in ("test", "sample"))
        found = [("clean", card.measured["accuracy"], measure.clean(model, test, device)),
                 ("sample", card.measured["sample_accuracy"], measure.clean(model, sample, device))]
        if card.measured["robust"]:
            found += [(f"{line['attack']} at {line['eps']:.4g}", line, again)
                      for line, again in zip(card.measured["robust"], measure.robust(model, card, test), strict=True)]
        else:
            wrong += 1
            say(f"{card.name:20} has no robust accuracy on its card: python -m core.training {card.name} --measure")
        for what, line, again in found:
            right = line["low"] <= again["accuracy"] <= line["high"]
            wrong += not right
            say(f"{card.name:20} {what:18} card {line['accuracy']:.4f} ({line['low']:.4f} to {line['high']:.4f})  "
                f"now {again['accuracy']:.4f} of {again['n']}{'' if right else '  DIFFERS'}")
    say(f"{wrong} differ" if wrong else f"all cards are true: {len(cards)}")
    return int(wrong > 0)
