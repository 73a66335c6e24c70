"""Colours, one meaning each, the same on every page.

Class colours: Petroff 2021's ten-colour cycle, found by a search over colour-vision-deficiency simulations
(https://arxiv.org/abs/2107.02270); darkened on light and lightened on dark
ground where a contrast of 3:1 needs it. One of its two greys gives way to Okabe and Ito's bluish green
(https://jfly.uni-koeln.de/color), so that no two classes are grey.
"""
import functools

import numpy as np

CLASSES_LIGHT = ("#a96b59", "#d98a00", "#717581", "#e76300", "#832db6", "#3f90da", "#009e73", "#bd1f01", "#2f9fc4",
                 "#948a45")
CLASSES_DARK = ("#c98d7b", "#ffb733", "#9a9eab", "#ff8431", "#b57be0", "#5aa5ea", "#3fcfa5", "#f0563a", "#92dadd",
                "#cfc684")
BOTH_LIGHT, BOTH_DARK = ("#e76300", "#3f90da", "#1d1f23"), ("#e76300", "#3f90da", "#ffffff")  # one, the other, both
CURVES = ("#3f90da", "#e76300", "#832db6", "#94a4a2", "#bd1f01", "#ffa90e", "#a96b59", "#92dadd")


@functools.cache
def scale(name: str) -> np.ndarray:
    """uint8 [256, 3]: viridis or cividis for magnitudes; diverging-light and -dark with their centre at 128."""
    if name.startswith("diverging"):
        dark = name.endswith("dark")
        return _between(_around_zero(_DIVERGING["dark" if dark else "light"]))
    return _between(_ANCHORS[name])


def _between(anchors) -> np.ndarray:
    at = np.linspace(0, 1, 256)
    places = [place for place, _ in anchors]
    return np.stack([np.interp(at, places, [colour[c] for _, colour in anchors]) for c in range(3)],
                    axis=1).round().astype(np.uint8)


def _around_zero(colours: list) -> list:
    """Anchors with the middle colour exactly at 128, where a signed byte's zero falls."""
    places = (0.0, 64 / 255, 128 / 255, 192 / 255, 1.0)
    return [(place, colour) for place, (_, colour) in zip(places, colours)]


def _hexes(*colours: str) -> list:
    step = 1 / (len(colours) - 1)
    return [(k * step, tuple(int(colour[i:i + 2], 16) for i in (1, 3, 5))) for k, colour in enumerate(colours)]


_ANCHORS = {  # matplotlib's maps at ten places (https://bids.github.io/colormap, https://arxiv.org/abs/1712.01662)
    "viridis": _hexes("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58",
                      "#b5de2b", "#fde725"),
    "cividis": _hexes("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369",
                      "#e1cc55", "#fee838"),
}
_DIVERGING = {  # blue below zero, orange above: told apart by every common kind of colour vision
    "light": _hexes("#08306b", "#4f93d2", "#f7f7f5", "#ee8a3c", "#8c2d04"),
    "dark": _hexes("#a8d1ff", "#3f86cc", "#16181c", "#c96a1c", "#ffc38a"),
}


def ramp(count: int) -> list[str]:
    """`count` colours from violet to amber, for lines that follow an order: of viridis, without its faintest end."""
    places = np.linspace(20, 215, count).round().astype(int) if count > 1 else [100]
    return ["#{:02x}{:02x}{:02x}".format(*scale("viridis")[place]) for place in places]
