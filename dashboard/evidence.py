"""Shipped figures (assets/results/evidence) as charts, and the numbers that their statements name."""
from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go

from core.evaluation import Point
from core.models.cards import MODELS
from core.statistics import wilson
from dashboard import figures, palette, results
from dashboard.frequency.figures import Line, coloured, error_map, over_rings, tile
from dashboard.i18n import attack_title, network_title, number, t
from dashboard.tiles import grid

KNOWN = 40  # the quality of JPEG in the shipped curves of an attacker who knows it
Shown = tuple[list[go.Figure | str], dict[str, str]]  # charts (HTML where a string), and a statement's numbers


def _model(name: str) -> str:
    return network_title(MODELS[name])


def _key(model: str, attack: str = "") -> str:
    """What a statement's numbers begin with: the model, and the first word of the attack's title."""
    return "_".join([model, *attack.partition("-")[0].split()[:1]]).replace("-", "_").lower()


def _percent(value: float, digits: int = 0) -> str:
    return f"{number(100 * value, digits)} %"


def _decibels(curve, reference: float) -> np.ndarray:
    return 20 * np.log10(np.maximum(np.array(curve), 1e-6) / reference)


def transfer(found: dict) -> Shown:
    """Gains over frequency for each network, and how much JPEG changes them over quality."""
    lines, changes, numbers = [], [], {}
    for k, each in enumerate(found["models"]):
        first = each["layers"][0]
        curve, name = np.array(first["radial"])[1:], _model(each["model"])
        lines.append(Line(name, k, _decibels(curve, np.sqrt((curve ** 2).mean()))))
        changes.append(figures.Share(name, palette.CURVES[k], "solid", [q["change_db"] for q in first["jpeg"]], [], []))
        key = _key(each["model"])
        at = {q["quality"]: q for q in first["jpeg"]}
        numbers |= {f"{key}_tilt": number(first["tilt_db"], 1), f"{key}_10": number(at[10]["change_db"], 1),
                    f"{key}_16": number(at[16]["change_db"], 1), f"{key}_erased_1": _percent(at[1]["erased"]),
                    f"{key}_erased_5": _percent(at[5]["erased"])}
    cycles = np.array(found["models"][0]["radii"])[1:]
    lines = [Line(line.name, line.colour, np.interp(cycles, each["radii"][1:], line.values))
             for line, each in zip(lines, found["models"])]  # photos have more rings than digits
    qualities = [str(q["quality"]) for q in found["models"][0]["layers"][0]["jpeg"]]
    return [over_rings(lines, cycles, t("evidence.transfer.chart"), t("frequency.axis"), t("frequency.gain")),
            figures.levels(changes, qualities, t("evidence.transfer.jpeg"), t("setting.quality"), t("evidence.change"))
            ], numbers


def curves(found: dict) -> Shown:
    """Accuracy over eps, a chart for each attack, a line for each network."""
    shown, numbers = [], {}
    attacks = list(dict.fromkeys(each["attack"] for each in found["curves"]))
    epsilons = [number(eps, 2) for eps in found["epsilons"]]
    for attack in attacks:
        mine = [each for each in found["curves"] if each["attack"] == attack]
        n = mine[0].get("n", found["n"])
        lines = [_counts(_model(each["model"]), colour, each["correct"], [n] * len(epsilons))
                 for each, colour in zip(mine, palette.ramp(len(mine)))]
        title = attack_title(attack) + (f" (n = {n})" if n != found["n"] else "")
        shown.append(figures.shares(lines, epsilons, title, "ε", t("curves.accuracy"),
                                    columns=2 if len(attacks) < 3 else 1))  # three charts in a row are narrow
        for each in mine:
            key = _key(each["model"], attack)
            numbers |= {f"{key}_{round(100 * eps)}": _percent(right / n, 1)
                        for eps, right in zip(found["epsilons"], each["correct"])}
    for model, each in found.get("certainty", {}).items():
        key = _key(model)
        numbers |= {f"{key}_saturated": _percent(each["saturated"] / found["n"]), f"{key}_margin": number(each["margin"], 1)}
    return shown, numbers


def _counts(name: str, colour: str, counts, totals) -> figures.Share:
    ends = [wilson(int(count), int(total)) for count, total in zip(counts, totals)]
    return figures.Share(name, colour, "solid", [count / total for count, total in zip(counts, totals)],
                         [low for low, _ in ends], [high for _, high in ends])


def first_error(found: dict) -> Shown:
    """The share of images that are fooled up to each eps."""
    shown, numbers = [], {}
    edges = found["edges"]
    for attack in dict.fromkeys(each["attack"] for each in found["networks"]):
        lines = []
        for k, each in enumerate(one for one in found["networks"] if one["attack"] == attack):
            fooled = (each["wrong"] + np.cumsum([0, *each["counts"]])).tolist()
            lines.append(_counts(f"{_model(each['model'])} (n = {each['n']})", palette.CURVES[k], fooled,
                                 [each["n"]] * len(fooled)))
            key = _key(each["model"], attack)
            numbers[key] = number(each["median"], 3) if each["median"] else "> " + number(0.5, 1)
        shown.append(figures.shares(lines, [number(edge, 2) for edge in edges], attack_title(attack), "ε",
                                    t("minimal.fooled"), every=10))
    return shown, numbers


def qualities(found: dict) -> Shown:
    """Accuracy over eps and JPEG quality, a map for each network, and beside it the two attackers at one quality."""
    shown, numbers, names = [], {}, [str(quality) for quality in found["qualities"]]
    for each in found["networks"]:
        per_255 = MODELS[each["model"]].dataset == "cifar10"
        epsilons = [f"{255 * eps:.0f}/255" if per_255 else number(eps, 2) for eps in each["epsilons"]]
        n, correct = each["n"], np.array(each["correct"])
        values = np.concatenate([correct, [each["bare"]]]).T / n
        shown.append(figures.accuracy_map(values, [*names, t("defenses.none")], epsilons,
                                          f"{_model(each['model'])} (n = {n})", t("setting.quality"), "ε"))
        middle, attackers = len(epsilons) // 2, _attackers(each["model"])
        shown.append(figures.shares(
            [_counts(t(key), palette.CURVES[k], [p.correct for p in points], [p.total for p in points])
             for k, (key, points) in enumerate(attackers.items())], epsilons,
            f"{_model(each['model'])}, JPEG {KNOWN}", "ε", t("curves.accuracy"), columns=1))
        best = int(correct[:, middle].argmax())
        numbers |= {f"{each['model']}_{key}": value for key, value in {
            "eps": epsilons[middle], "bare": _percent(each["bare"][middle] / n, 1), "best": names[best],
            "top": _percent(correct[best, middle] / n, 1), "clean": _percent(each["bare"][0] / n, 1),
            "clean_best": _percent(correct[best, 0] / n, 1), "clean_low": _percent(correct[0, 0] / n, 1),
            **{key.rpartition(".")[2]: _percent(points[middle].accuracy, 1) for key, points in attackers.items()}}.items()}
    return shown, numbers


def _attackers(model: str) -> dict[str, list[Point]]:
    """The shipped FGSM curves of a network without defense, with JPEG, and with JPEG against who knows it."""
    mine = [each for each in results.shipped() if each["model"] == model and each["attack"] == "fgsm"]
    behind = [each for each in mine if each.get("defense") == "jpeg" and each["defense_settings"]["quality"] == KNOWN]
    wanted = {"live.noDefense": [each for each in mine if not each.get("defense")],
              "curves.unaware": [each for each in behind if not each["attacker_knows_defense"]],
              "curves.aware": [each for each in behind if each["attacker_knows_defense"]]}
    return {key: each[0]["points"] for key, each in wanted.items()}


def saliency(found: dict) -> Shown:
    """How alike the maps are before and after, for images that flip and for those that hold; and noise on the map."""
    names, numbers = [], {}
    series: dict[str, list] = {"flipped": [], "held": [], "noise": []}
    for each in found["results"]:
        names.append(f"{_model(each['model'])}<br>{attack_title(each['attack'])}")
        for part in ("flipped", "held"):
            series[part].append(each[part]["kept_rank"])
        both = [each[part] for part in ("flipped", "held") if each[part]["n"]]
        series["noise"].append(max((part["noise_rank"] for part in both), key=lambda mean: mean["n"]))
        key = _key(each["model"], each["attack"])
        numbers |= {f"{key}_{part}": number(each[part]["kept_rank"]["mean"], 2) for part in ("flipped", "held")}
        numbers |= {f"{key}_{part}_n": str(each[part]["n"]) for part in ("flipped", "held")}
        numbers[f"{key}_noise"] = number(series["noise"][-1]["mean"], 2)
    lines = [figures.Share(t(f"evidence.saliency.{part}"), palette.CURVES[k], "solid", [m["mean"] for m in means],
                           [m["low"] for m in means], [m["high"] for m in means])
             for k, (part, means) in enumerate(series.items())]
    return [figures.bars(lines, names, t("evidence.saliency.chart"), t("evidence.correlation"))], numbers


def fourier(found: dict) -> Shown:
    """Error maps side by side."""
    top = max(max(map(max, each["error"])) for each in found["models"])
    shown, numbers = [], {}
    for each in found["models"]:
        error, n = np.array(each["error"]), found["n"]
        ends = np.array([[wilson(round(value * n), n) for value in row] for row in error])
        shown.append(error_map(error, ends, top, [], _model(each["model"]), t("frequency.across"), t("frequency.down"),
                               t("frequency.error")).update_layout(height=450))  # three in a row are narrow
        key = _key(each["model"])
        numbers |= {f"{key}_most": _percent(error.max()), f"{key}_mean": _percent(error.mean(), 1),
                    f"{key}_clean": _percent(each["clean"], 1)}
    return shown, numbers


def spectra(found: dict) -> Shown:
    """The mean spectra of the attacks on one colour scale, and their power over frequency."""
    maps = [20 * np.log10(np.maximum(np.array(each["magnitude"]), 1e-6)) for each in found["attacks"]]
    top = max(each.max() for each in maps)
    cells = [tile(coloured(each, top - 30, top), attack_title(one["attack"]), attack_title(one["attack"]))
             for each, one in zip(maps, found["attacks"])]
    cycles = np.array(found["radii"])
    lines = [Line(attack_title(each["attack"]), k, *(10 * np.log10(np.maximum(np.array(each[part]), 1e-12))
                                                     for part in ("radial", "low", "high")))
             for k, each in enumerate(found["attacks"])]
    numbers = {}
    for each, one in zip(found["attacks"], maps):
        key = _key(each["attack"].split()[0])
        whole = each["radial"][0] * one.size  # power at frequency 0 of noises of norm 1, whose power sums up to 1 / HW
        numbers |= {f"{key}_fast": _percent(each["high_share"]), f"{key}_zero": _percent(whole),
                    f"{key}_l2": number(each["l2"], 2)}
    chart = over_rings(lines, cycles, t("evidence.spectra.chart"), t("frequency.axis"), t("frequency.power"))
    return [grid(cells, 150, 230), chart], numbers


def hardening(found: dict) -> Shown:
    """Accuracy clean and under R3's attacks, R3's own and the lab's; beside it what better tuned steps leave."""
    shown, numbers = [], {}
    parts = ("clean", "fgsm", "pgd")
    titles = [t("networks.clean"), "FGSM", t("evidence.hardening.pgd"), t("evidence.hardening.tuned")]
    for each in found["networks"]:
        card, n = MODELS[each["model"]], found["n"]
        tuned = next(line for line in card.measured["robust"] if line["attack"] == "pgd" and line["eps"] == 8 / 255)
        counts, reported = [each["correct"][part] for part in parts], [each["reported"][part] for part in parts]
        here = _counts(t("evidence.hardening.here"), palette.CURVES[0], [*counts, tuned["correct"]], [n] * 3 + [tuned["n"]])
        there = figures.Share("R3", palette.CURVES[3], "solid", *([*reported, float("nan")] for _ in range(3)))
        shown.append(figures.bars([there, here], titles, _model(each["model"]), t("evidence.hardening.axis"), percent=True))
        key = _key(each["model"])
        numbers |= {f"{key}_{part}": _percent(count / n, 1) for part, count in zip(parts, counts)}
        numbers[f"{key}_tuned"] = _percent(tuned["accuracy"], 1)
    return shown, numbers


DRAWN: dict[str, Callable[[dict], Shown]] = {
    "spectra": spectra, "transfer": transfer, "qualities": qualities, "first-error": first_error, "lengths": curves,
    "layers": curves, "saliency": saliency, "fourier": fourier,
    "hardening": hardening,
}
