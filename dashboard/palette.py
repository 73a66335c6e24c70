"""Colours, one meaning each, the same on every page.

Class colours: Petroff 2021's ten-colour cycle, found by a search over colour-vision-deficiency simulations
(https://arxiv.org/abs/2107.02270); on dark ground three of them are lightened to keep a contrast of 3:1.
"""
import functools

import numpy as np

CLASSES_LIGHT = ("#3f90da", "#e08f00", "#bd1f01", "#7c8c8a", "#832db6", "#a96b59", "#e76300", "#948a45", "#717581",
                 "#2f9fc4")
CLASSES_DARK = ("#5aa5ea", "#ffa90e", "#f0563a", "#a9b8b6", "#b57be0", "#c98d7b", "#ff8431", "#cfc684", "#9a9eab",
                "#92dadd")
CURVES = ("#3f90da", "#e76300", "#832db6", "#94a4a2", "#bd1f01", "#ffa90e", "#a96b59", "#92dadd")
COOL, WARM = (24, 92, 176), (200, 84, 0)  # below and above zero
COOL_BRIGHT, WARM_BRIGHT = (98, 172, 255), (255, 158, 64)


@functools.cache
def scale(name: str) -> np.ndarray:
    """uint8 [256, 3]: viridis or cividis for magnitudes; diverging-light and -dark with their centre at 128."""
    if name.startswith("diverging"):
        dark = name.endswith("dark")
        low, high = (COOL_BRIGHT, WARM_BRIGHT) if dark else (COOL, WARM)
        middle = (22, 24, 28) if dark else (247, 247, 245)
        return _between([(0.0, low), (128 / 255, middle), (1.0, high)])
    return _between(_ANCHORS[name])


def _between(anchors) -> np.ndarray:
    at = np.linspace(0, 1, 256)
    places = [place for place, _ in anchors]
    return np.stack([np.interp(at, places, [colour[c] for _, colour in anchors]) for c in range(3)],
                    axis=1).round().astype(np.uint8)


def _hexes(*colours: str) -> list:
    step = 1 / (len(colours) - 1)
    return [(k * step, tuple(int(colour[i:i + 2], 16) for i in (1, 3, 5))) for k, colour in enumerate(colours)]


_ANCHORS = {  # matplotlib's maps at ten places (https://bids.github.io/colormap, https://arxiv.org/abs/1712.01662)
    "viridis": _hexes("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58",
                      "#b5de2b", "#fde725"),
    "cividis": _hexes("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369",
                      "#e1cc55", "#fee838"),
}
