"""The chart of clean against robust accuracy, one dot a network."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboard import figures, palette

METHODS = {"plain": (0, "circle"), "fgsm": (1, "diamond"), "pgd": (2, "star"), "other": (3, "square")}


@dataclass(frozen=True)
class Dot:
    """A network: its clean and its robust accuracy, each with correct, n, accuracy, low, high."""

    key: str
    name: str
    label: str  # its name beside the dot
    method: str  # of METHODS
    clean: dict
    robust: dict


PLACES = (("middle", "right"), ("middle", "left"), ("top", "right"), ("top", "left"), ("bottom", "right"),
          ("bottom", "left"), ("top", "center"), ("bottom", "center"))  # the best first; the last two lie on error bars


def _places(dots: Sequence[Dot], low: float, high: float, top: float) -> dict[str, str]:
    """Where the labels of robust networks stand: on no dot and no other label, even on a phone. One without room has none."""
    across, up, line, letter, near = 270, 220, 15, 6.4, 8  # pixels: a phone's chart, a line, a letter, half a dot
    at = {dot.key: ((dot.clean["accuracy"] - low) / (high - low) * across, dot.robust["accuracy"] / top * up) for dot in dots}
    taken = [(x - near, y - near, x + near, y + near) for x, y in at.values()]
    places = {}
    for dot in sorted((dot for dot in dots if dot.robust["accuracy"] >= 0.15), key=lambda dot: -dot.robust["accuracy"]):
        (x, y), wide = at[dot.key], letter * len(dot.label)
        left = {"right": x + near, "center": x - wide / 2, "left": x - near - wide}
        bottom = {"top": y + near, "middle": y - line / 2, "bottom": y - near - line}
        boxes = [(left[side], bottom[height], left[side] + wide, bottom[height] + line) for height, side in PLACES]
        free = [box[0] >= 0 and box[2] <= across and box[3] <= up and not any(_meet(box, other) for other in taken)
                for box in boxes]
        if any(free):
            best = free.index(True)
            places[dot.key] = " ".join(PLACES[best])
            taken.append(boxes[best])
    return places


def _meet(one: tuple, other: tuple) -> bool:
    """Whether two boxes (left, bottom, right, top) have ground in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def clean_against_robust(dots: Sequence[Dot], words: dict[str, str], title: str, x_title: str, y_title: str) -> go.Figure:
    """Each network at its clean and robust accuracy, 95 % intervals as bars, colour and shape by how it was trained."""
    figure = go.Figure()
    ends = [dot.clean["accuracy"] for dot in dots]
    low, high = (min(ends), max(ends)) if ends else (0, 1)
    room = max(0.01, 0.06 * (high - low))
    best = max([dot.robust["high"] for dot in dots], default=1)
    top = min(1.04, np.ceil(10 * best) / 10 + 0.1)  # a tenth above the best: half a chart of nothing says nothing
    places = _places(dots, low - room, high + room, top)
    for method, (colour, shape) in METHODS.items():
        some = [dot for dot in dots if dot.method == method]
        if not some:
            continue
        x, y = ([part["accuracy"] for part in parts] for parts in ([d.clean for d in some], [d.robust for d in some]))
        figure.add_scatter(
            x=x, y=y, name=words[method], mode="markers+text",
            text=[dot.label if dot.key in places else "" for dot in some],
            textposition=[places.get(dot.key, "top center") for dot in some],
            textfont_size=figures.FONT - 2,
            marker={"size": 13, "symbol": shape, "color": palette.CURVES[colour], "line": {"width": 1, "color": "#ffffff"}},
            error_y={"array": [d.robust["high"] - d.robust["accuracy"] for d in some],
                     "arrayminus": [d.robust["accuracy"] - d.robust["low"] for d in some], "thickness": 1, "width": 0},
            customdata=[(d.key, d.name, d.clean["n"], d.robust["n"]) for d in some],
            hovertemplate="<b>%{customdata[1]}</b><br>%{x:.1%} (n = %{customdata[2]})<br>"
                          "%{y:.1%} (n = %{customdata[3]})<extra></extra>")
    figures.layout(figure, title, 430, 96, clickmode="event+select")
    figure.update_xaxes(title=x_title, tickformat=".0%" if high - low > 0.04 else ".1%", tickfont_size=figures.FONT - 1,
                        range=[low - room, high + room])
    figure.update_yaxes(title=y_title, tickformat=".0%", range=[-0.04 * top, top], tickfont_size=figures.FONT - 1)
    return figure
