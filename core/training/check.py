"""Are the cards true? Everything on them measured once more."""
from collections.abc import Callable
from pathlib import Path

from core.data import load
from core.device import best_device
from core.errors import UserError
from core.models import loading
from core.models.cards import ModelCard
from core.training import measure


def check(cards: list[ModelCard], directory: Path, say: Callable[[str], None] = print) -> int:
    """Measure every number of `cards` again; 1 if one lies outside the interval on its card or cannot be measured,
    else 0. Networks that have neither weights nor a card yet are only named."""
    wrong = true = 0
    for card in cards:
        if not card.weights.is_file() and not card.weights.with_suffix(".json").is_file():
            say(f"{card.name:20} has not been trained yet")
            continue
        try:
            differing = _differing(card, directory, say)
        except UserError as error:
            differing = 1
            say(f"{card.name:20} {error}")
        wrong, true = wrong + differing, true + (not differing)
    say(f"{wrong} differ" if wrong else f"all cards are true: {true}")
    return int(wrong > 0)


def _differing(card: ModelCard, directory: Path, say: Callable[[str], None]) -> int:
    """How many numbers of one card are not what is measured now."""
    device = best_device()
    model = loading.load(card.name, device)  # refuses weights that are not the card's
    test, sample = (load(card.dataset, split, directory).only(card.labels) for split in ("test", "sample"))
    found = [("clean", card.measured["accuracy"], measure.clean(model, test, device)),
             ("sample", card.measured["sample_accuracy"], measure.clean(model, sample, device))]
    if not card.measured["robust"]:
        say(f"{card.name:20} has no robust accuracy on its card: python -m core.training {card.name} --measure")
        return 1
    found += [(f"{line['attack']} at {line['eps']:.4g}", line, again)
              for line, again in zip(card.measured["robust"], measure.robust(model, card, test), strict=True)]
    wrong = 0
    for what, line, again in found:
        right = line["low"] <= again["accuracy"] <= line["high"]
        wrong += not right
        say(f"{card.name:20} {what:18} card {line['accuracy']:.4f} ({line['low']:.4f} to {line['high']:.4f})  "
            f"now {again['accuracy']:.4f} of {again['n']}{'' if right else '  DIFFERS'}")
    return wrong
