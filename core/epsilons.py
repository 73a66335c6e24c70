"""Which epsilon makes sense: the range, the start and the usual marks for each kind of image and norm."""
from dataclasses import dataclass, replace

from core.attacks import Attack, Searched


@dataclass(frozen=True)
class EpsilonScale:
    """`path` is what a live slider steps through, `curve` the default of an accuracy curve, in [0, 1] units."""

    path: tuple[float, ...]
    start: float
    marks: tuple[float, ...]  # values that papers report
    curve: tuple[float, ...]
    per_255: bool  # people say 8/255 for these


def _steps(count: int, top: float) -> tuple[float, ...]:
    return tuple(round(top * k / count, 10) for k in range(count + 1))


_BY_255 = tuple(k / 255 for k in range(17))
SCALES: dict[tuple[int, str], EpsilonScale] = {
    (28, "linf"): EpsilonScale(_steps(50, 0.5), 0.15, (0.1, 0.2, 0.3), _steps(6, 0.3), False),
    (28, "l2"): EpsilonScale(_steps(50, 5.0), 2.0, (1.5, 2.0), _steps(6, 3.0), False),
    (32, "linf"): EpsilonScale(tuple(k / 510 for k in range(33)), 8 / 255, (4 / 255, 8 / 255),
                               _BY_255[:9:2] + _BY_255[12::4], True),
    (32, "l2"): EpsilonScale(_steps(40, 2.0), 0.5, (0.25, 0.5, 1.0), _steps(6, 1.5), False),
}
_PIXELS = EpsilonScale((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), 1.0, (1.0, 3.0, 5.0), (0.0, 1.0, 2.0, 3.0, 4.0, 5.0), False)
SCALES |= {(28, "l0"): _PIXELS, (32, "l0"): _PIXELS}
STRENGTHS = EpsilonScale(_steps(30, 1.5), 1.0, (0.5, 1.0), (0.0, 0.5, 1.0, 1.5), False)


def scale_for(shape: tuple[int, int, int], norm: str) -> EpsilonScale:
    """The scale of images [C, H, W] under a norm."""
    return SCALES[shape[1], norm]


def slider_for(shape: tuple[int, int, int], attack: Attack | type[Attack]) -> EpsilonScale:
    """What a slider runs over: eps, or for an attack without eps the strength along the perturbation that it found
    (1 is that perturbation). A search has to be done anew for each eps, so it gets every fourth."""
    kind = attack if isinstance(attack, type) else type(attack)
    if not kind.bounded:
        return STRENGTHS
    scale = scale_for(shape, kind.norm)
    if not issubclass(kind, Searched):
        return scale
    path = scale.path[::4] if (len(scale.path) - 1) % 4 == 0 else scale.path[::5]
    return replace(scale, path=path)
