"""Accuracy under attack in the shell.

    python -m core.evaluate --dataset mnist --split test --model tutorial-cnn --attack fgsm --epsilons 0,0.05,0.1
"""
import argparse
import json
import sys
from dataclasses import asdict

from core.attacks import ATTACKS
from core.data import data_directory, load
from core.defenses import DEFENSES
from core.device import best_device
from core.epsilons import scale_for
from core.errors import UserError
from core.evaluation import Point, accuracy_curve, require_fit
from core.models import loading
from core.models.cards import MODELS
from core.settings import Setting, settings_of, values_of


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def parse_epsilons(text: str) -> tuple[float, ...]:
    """'0, 0.05, 8/255' -> (0.0, 0.05, 0.0313...). Raises UserError for anything else, and for none."""
    try:
        values = tuple(float(top) / (float(bottom) if slash else 1) for top, slash, bottom in
                       (part.strip().partition("/") for part in text.split(",")))
    except (ValueError, ZeroDivisionError) as error:
        raise UserError("setting.epsilons", value=text) from error
    if not all(0 <= value < float("inf") for value in values):
        raise UserError("setting.epsilons", value=text)
    return values


def _options(registry: dict[str, type]) -> dict[str, tuple[Setting, list[str]]]:
    """Every setting of every class of a registry, once, with the names of those that have it."""
    found: dict[str, tuple[Setting, list[str]]] = {}
    for name, kind in registry.items():
        for each in settings_of(kind):
            if each.name != "eps":
                found.setdefault(each.name, (each, []))[1].append(name)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m core.evaluate", description="Accuracy under attack over epsilon.")
    parser.add_argument("--dataset", default="mnist", help="mnist, cifar10 or your own NAME_SPLIT.npz")
    parser.add_argument("--split", default="test", help="sample (bundled), test or train")
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--checkpoint", help="your own weights for that architecture, .safetensors or .pth")
    parser.add_argument("--mean", type=_numbers, help="what the checkpoint was trained with, as 0.485,0.456,0.406")
    parser.add_argument("--std", type=_numbers)
    parser.add_argument("--attack", required=True, choices=ATTACKS)
    parser.add_argument("--epsilons", help="as 0,0.05,8/255; the data set's own by default")
    parser.add_argument("--defense", choices=DEFENSES)
    parser.add_argument("--aware", action="store_true", help="the attacker knows the defense (BPDA, smooth twin, averages over draws)")
    for registry in (ATTACKS, DEFENSES):
        for name, (each, users) in _options(registry).items():
            kind = {bool: _truth}.get(each.kind, each.kind)
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, choices=each.choices or None,
                                help=f"{', '.join(users)}; {each.default} by default")
    parser.add_argument("--limit", type=int, help="the first N images only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", help="default: EPSILON_LAB_DATA, or data/")
    parser.add_argument("--json", action="store_true")
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"numbers separated by commas, not {text!r}") from error


def _truth(text: str) -> bool:
    if text.lower() not in ("yes", "true", "no", "false"):
        raise argparse.ArgumentTypeError(f"yes or no, not {text!r}")
    return text.lower() in ("yes", "true")


def _built(registry: dict[str, type], name: str, arguments: argparse.Namespace):
    """An instance with the settings given; a setting given for something that has none is an error."""
    for setting, (_, users) in _options(registry).items():
        if getattr(arguments, setting) is not None and name not in users:
            raise UserError("setting.unused", setting=setting.replace("_", "-"), name=name or "none")
    if name is None:
        return None
    return registry[name](**{each.name: getattr(arguments, each.name) for each in settings_of(registry[name])
                             if getattr(arguments, each.name, None) is not None})


def run(arguments: argparse.Namespace) -> dict:
    """The evaluation as one object: how it was measured, and `points`."""
    card = MODELS[arguments.model]
    attack, defense = _built(ATTACKS, arguments.attack, arguments), _built(DEFENSES, arguments.defense, arguments)
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError("setting.range", name="limit", low=1, high="the size of the data set", value=arguments.limit)
    if not 0 <= arguments.seed < 2 ** 63:
        raise UserError("setting.seed", value=arguments.seed)
    if arguments.aware and defense is None:
        raise UserError("setting.unused", setting="aware", name="no defense")
    epsilons = scale_for(card.shape, attack.norm).curve
    if arguments.epsilons is not None:
        epsilons = parse_epsilons(arguments.epsilons)
    dataset = load(arguments.dataset, arguments.split, data_directory(arguments.data_dir))
    require_fit(card, dataset)
    model = loading.load(card.name, best_device(), arguments.checkpoint, arguments.mean, arguments.std)
    points: list[Point] = []
    for points in accuracy_curve(model, attack, dataset, epsilons, limit=arguments.limit, defense=defense,
                                 aware=arguments.aware, seed=arguments.seed):
        if sys.stderr.isatty():
            print(f"\r{points[0].total} images", end="", file=sys.stderr)
    return {
        "dataset": dataset.name, "split": dataset.split, "model": card.name, "checkpoint": arguments.checkpoint,
        "attack": arguments.attack, "norm": attack.norm,
        "settings": {name: value for name, value in values_of(attack).items() if name != "eps"},
        "defense": arguments.defense, "defense_settings": values_of(defense) if defense else {},
        "attacker_knows_defense": arguments.aware, "seed": arguments.seed,
        "points": [asdict(point) for point in points],
    }


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        result = run(arguments)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if arguments.json:
        print(json.dumps(result, indent=1))
        return 0
    print(f"{'epsilon':>8} {'correct':>8} {'total':>6} {'accuracy':>9} {'low':>7} {'high':>7}")
    for p in result["points"]:
        print(f"{p['epsilon']:8.4f} {p['correct']:8d} {p['total']:6d} "
              f"{p['accuracy']:9.4f} {p['low']:7.4f} {p['high']:7.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
