"""The networks of assets/weights in the shell.

    python -m core.training NAME [--data-dir D]     train one, or go on where it stopped; write weights and card
    python -m core.training --list                  name, data, parameters, accuracies
    python -m core.training --check                 measure all cards again; fails where one lies outside its interval
"""
import argparse
import sys
from pathlib import Path

from core.data import ROOT, data_directory
from core.errors import UserError
from core.models.cards import MODELS, ModelCard
from core.models.loading import card_named
from core.training.check import check
from core.training.recipes import RECIPES
from core.training.run import measure_again, reproduce


def listing() -> str:
    """The table of --list."""
    rows = [("name", "data", "parameters", "clean", "FGSM", "PGD-20", "strong", "at eps (L-inf)")]
    for card in MODELS.values():
        score = card.measured.get("accuracy")
        robust = card.measured.get("robust", [])
        eps = max((line["eps"] for line in robust), default=None)
        by_attack = {line["attack"]: f"{line['accuracy']:.2%}" for line in robust if line["eps"] == eps}
        clean = f"{score['accuracy']:.2%}" if score else "not yet"
        rows.append((card.name, card.dataset, f"{card.parameters:,}", clean,
                     *(by_attack.get(attack, "") for attack in ("fgsm", "pgd", "strong")),
                     f"{eps:.4g}" if eps else ""))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(part.ljust(width) if k < 2 else part.rjust(width)
                               for k, (part, width) in enumerate(zip(row, widths))) for row in rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.training", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true", help="all networks, or those named")
    parser.add_argument("--measure", action="store_true", help="measure anew and write the card, without training")
    parser.add_argument("--data-dir", help="where the official data is (default: EPSILON_LAB_DATA, or data/)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="logs and checkpoints to resume from")
    parser.add_argument("--compile", action="store_true", help="a quarter faster; needs a C++ compiler")
    return parser


def _one(card: ModelCard, arguments: argparse.Namespace) -> None:
    directory = data_directory(arguments.data_dir)
    if arguments.measure:
        facts = measure_again(card, directory, _say)
    else:
        facts = reproduce(card, directory, arguments.runs, arguments.compile, _say)
    score = facts["accuracy"]
    _say(f"{facts['name']}: {facts['parameters']} parameters, {score['correct']} of {score['n']} test images right "
         f"= {score['accuracy']:.2%} (95 %: {score['low']:.2%} to {score['high']:.2%})")


def _say(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not (arguments.names or arguments.check or arguments.list):
        parser.error("name a network, or --list, or --check")
    try:
        if arguments.list:
            _say(listing())
            return 0
        cards = [card_named(name) for name in arguments.names]
        if arguments.check:
            return check(cards or list(MODELS.values()), data_directory(arguments.data_dir), _say)
        for card in cards:
            _one(card, arguments)
    except UserError as error:
        print(f"core.training: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
