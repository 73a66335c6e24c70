"""The live transfer function: every JPEG quality arrives in one message, the browser redraws from it while dragging."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dashboard import palette
from dashboard.component import component, pack
from dashboard.i18n import language

HERE = Path(__file__).parent
_mount = component("bode", HERE, '<div class="bode"></div>')


@dataclass(frozen=True)
class Position:
    """One place of the slider: its name, what is to be said there, and what was measured. None: not yet computed."""

    name: str
    note: str = ""
    map: np.ndarray | None = None  # [H, W] in dB, zero frequency in the middle
    curves: np.ndarray | None = None  # [K, R] in dB, a row for each network, from ring 1 to Nyquist


def bode(positions: Sequence[Position], names: Sequence[str], cycles: np.ndarray, words: dict[str, str], start: int,
         key: str) -> None:
    """Show the map of the first network and the curves of all `names`. `cycles` [R] in cycles per pixel; `start` is
    where the slider stands at first. The last position is that without JPEG. `words`: map, chart, alt, x, y, slider,
    quality, reference, plain, unit, mapX, mapY."""
    known = [position for position in positions if position.map is not None]
    maps = np.stack([position.map for position in known])
    curves = np.stack([position.curves for position in known])
    top = float(np.ceil(maps.max() / 5) * 5)
    high = max(top, float(np.ceil(curves.max() / 5) * 5))
    low = max(float(np.floor(curves.min() / 5) * 5), high - 50)
    header = {
        "language": language(), "words": words, "names": list(names), "cycles": np.round(cycles, 6).tolist(),
        "positions": [{"name": position.name, "note": position.note} for position in positions],
        "known": [known.index(position) if position.map is not None else -1 for position in positions],
        "height": maps.shape[1], "width": maps.shape[2], "start": start, "map": [top - 40, top],
        "range": [low, min(high, float(np.ceil(curves.max() / 5) * 5))],
        "colours": [palette.CURVES[k % len(palette.CURVES)] for k in range(len(names))],
    }
    _mount(data=pack(header, {"maps": maps.astype(np.float32), "curves": curves.astype(np.float32),
                              "viridis": palette.scale("viridis")}), key=key)
