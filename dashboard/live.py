"""Results of core as the message of the live component: words, colours and bytes."""
import hashlib
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from core.analysis.spectrum import decibels
from core.attacks import Attack, Searched
from core.defenses import Defense, positions
from core.epsilons import slider_for
from core.evaluation import Defended, EpsilonPath
from core.images import to_uint8
from dashboard import palette
from dashboard.i18n import attack_title, class_name, defense_title, language, number, t
from dashboard.component import pack

WORDS = ("copy", "copied", "png", "csv", "epsilon", "bars", "chart", "clean", "adversarial", "defended",
         "flip", "original", "noise", "defendedBy", "noDefense", "spectrum", "saliency", "misread", "holds",
         "wrongAnyway", "mended", "before", "after", "known", "knownLater", "target", "l0", "rounding", "yes", "no", "notFooled", "axis",
         "axis255", "axisL2", "computing")
FLOOR = -45.0  # dB below the strongest frequency at which the spectrum is drawn black


def nearest(epsilons: tuple[float, ...], epsilon: float) -> int:
    """The place among `epsilons` closest to `epsilon`."""
    return int(np.argmin(np.abs(np.array(epsilons) - epsilon)))


def message(subject: tuple, path: EpsilonPath, attack: Attack, shape: tuple[int, int, int],
            classes: tuple[str, ...], label: int | None, target: int | None, at: int,
            shield: "Shield | None") -> bytes:
    """Pack one image's epsilon path, `at` the place of its slider, and what a defense makes of it. A path of only two
    values, 0 and the slider's, is drawn as the first answer while the whole one is computed.
    """
    scale = slider_for(shape, attack)
    norm = attack.norm if attack.bounded else "strength"
    partial = len(path.epsilons) < len(scale.path)
    adversarial = path.adversarial
    delta = adversarial - adversarial[:1]
    outputs = path.probabilities.shape[1]  # a data set may name fewer classes than the network has, or more
    classes = (*classes, *map(str, range(len(classes), outputs)))[:outputs]
    # Full colour is the end of the slider in L-inf, so that the noise is seen to grow with epsilon.
    largest = max(float(delta.abs().max()), scale.path[-1] if norm == "linf" else 0.0) or 1.0
    saliency = path.saliency / path.saliency.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    header = {
        "subject": hashlib.sha256(repr((subject, language())).encode()).hexdigest()[:16],
        "language": language(), "text": {word: t(f"live.{word}") for word in WORDS} | {
            "access": _access(attack)} | ({} if attack.bounded else _strength_words(path, attack)),
        "classes": [class_name(name) for name in classes],
        "hues": {"light": palette.CLASSES_LIGHT, "dark": palette.CLASSES_DARK},
        "shape": shape, "epsilons": scale.path, "partial": partial, "marks": scale.marks, "per255": scale.per_255,
        "norm": norm, "digits": 3 if norm == "linf" else 2, "scale": scale_name(shape, attack),
        "at": at, "flip": None if partial else path.flip,
        "gain": 1 / largest, "label": label, "target": target,
        "defense": shield.header(at) if shield else None,
        "file": f"epsilon-lab-{attack.title.lower().replace(' ', '-').replace('(', '').replace(')', '')}",
    }
    arrays = {
        "adversarial": to_uint8(adversarial),
        "delta": (delta / largest * 127).round().permute(0, 2, 3, 1).numpy().astype(np.int8),
        "spectrum": ((decibels(path.spectrum, FLOOR) / -FLOOR + 1) * 255).round().numpy().astype(np.uint8),
        "saliency": (saliency * 255).round().numpy().astype(np.uint8),
        "probabilities": path.probabilities.numpy(),
        "rounded": path.rounded.numpy().astype(np.int32),
        "linf": path.linf.numpy(), "l2": path.l2.numpy(), "l0": path.l0.numpy().astype(np.int32),
        "viridis": palette.scale("viridis"), "cividis": palette.scale("cividis"),
        "divergingLight": palette.scale("diverging-light"), "divergingDark": palette.scale("diverging-dark"),
    }
    return pack(header, arrays | (shield.arrays() if shield else {}))


@dataclass(frozen=True)
class Shield:
    """A defense with its slider at `value`: `row` is the epsilon path behind it, `column` the image at the chosen
    epsilon with the slider at each position (None while that is not computed), `known` what the defended network says
    of an attacker who knows the defense, at the places `known_at` of the path."""

    name: str
    kind: type[Defense]
    value: float
    row: Defended
    column: Defended | None
    known: Tensor
    known_at: list[int]

    def header(self, at: int) -> dict:
        """What the component says and draws of the slider."""
        values = positions(self.kind)
        last = len(values) - 1
        return {"key": self.name, "name": defense_title(self.kind.title), "slider": self.kind.slider,
                "label": t(f"setting.{self.kind.slider}"), "values": values,
                "digits": 0 if isinstance(values[0], int) else 1 if values[1] - values[0] > 0.05 else 2,
                "ticks": list(range(last + 1)) if last < 8 else [last * k // 4 for k in range(5)],
                "at": nearest(values, self.value), "columnAt": -1 if self.column is None else at,
                "knownAt": self.known_at}

    def arrays(self) -> dict[str, np.ndarray]:
        """Images and probabilities, by the names that the component knows."""
        found = {"rowImages": to_uint8(self.row.images), "rowProbabilities": self.row.probabilities.numpy(),
                 "knownProbabilities": self.known.numpy()}
        if self.column is not None:
            found |= {"columnImages": to_uint8(self.column.images),
                      "columnProbabilities": self.column.probabilities.numpy()}
        return found


def scale_name(shape: tuple[int, int, int], attack: Attack) -> str:
    """Names the range of the epsilon slider: a value released on one range means nothing on another."""
    return f"{shape[1]}-{attack.norm}" if attack.bounded else "strength"


def _access(attack: Attack) -> str:
    if isinstance(attack, Searched):
        return t("live.queries", queries=attack.queries)
    return t("live.black_box") if attack.black_box else t("live.white_box", gradients=attack.gradients)


def _strength_words(path: EpsilonPath, attack: Attack) -> dict[str, str]:
    """The slider of an attack without eps goes along what it found; say so, and how far that is."""
    whole = min(range(len(path.epsilons)), key=lambda k: abs(path.epsilons[k] - 1))
    distance = float(path.l0[whole] if attack.norm == "l0" else path.l2[whole])
    found = t(f"live.found.{attack.norm}", attack=attack_title(attack.title), distance=number(distance, 0 if attack.norm == "l0" else 2))
    return {"epsilon": t("live.strength"), "axis": t("live.axisStrength"), "chart": t("live.chartStrength"),
            "access": (found if distance else t("live.foundNothing", attack=attack_title(attack.title))) + " · " + _access(attack)}
