"""Results -> plotly figures. No streamlit calls; words come in as arguments."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from core.evaluation import Point
from dashboard import palette

FONT = 15


@dataclass(frozen=True)
class Curve:
    """An accuracy curve with its name in the legend; `shipped` ones were computed beforehand."""

    name: str
    colour: int
    dash: str
    shipped: bool
    points: Sequence[Point]


def accuracy(curves: Sequence[Curve], title: str, x_title: str, y_title: str, per_255: bool) -> go.Figure:
    """Accuracy against epsilon with 95 % intervals: a band where precomputed, bars where computed live."""
    figure = go.Figure()
    for curve in curves:
        points = sorted(curve.points, key=lambda point: point.epsilon)
        x = [point.epsilon * (255 if per_255 else 1) for point in points]
        y = np.array([point.accuracy for point in points])
        low, high = np.array([point.low for point in points]), np.array([point.high for point in points])
        colour = palette.CURVES[curve.colour % len(palette.CURVES)]
        if curve.shipped:
            figure.add_scatter(x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=_faint(colour),
                               mode="lines", line_width=0, hoverinfo="skip", showlegend=False)
        figure.add_scatter(
            x=x, y=y, name=curve.name, mode="lines" if curve.shipped else "lines+markers",
            line={"color": colour, "dash": curve.dash, "width": 2 if curve.shipped else 3}, marker_size=9,
            error_y=None if curve.shipped else {"array": high - y, "arrayminus": y - low, "thickness": 1.5},
            customdata=[(p.correct, p.total, p.low, p.high) for p in points],
            hovertemplate="%{y:.1%} (%{customdata[2]:.1%} – %{customdata[3]:.1%})<br>"
                          "%{customdata[0]} / %{customdata[1]}")
    names = 24 * len(curves)  # a line each under the plot, which keeps its own height however many there are
    figure.update_layout(
        title=title, height=420 + names, hovermode="x", font_size=FONT,
        margin={"l": 70, "r": 10, "t": 48, "b": 72 + names},
        legend={"orientation": "v", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "font_size": FONT - 2})
    figure.update_xaxes(title=x_title, rangemode="tozero", tickfont_size=FONT - 1)
    figure.update_yaxes(title=y_title, range=[0, 1.02], tickformat=".0%", tickfont_size=FONT - 1)
    return figure


def class_counts(counts: np.ndarray, names: Sequence[str], title: str, x_title: str, y_title: str) -> go.Figure:
    """How many images of each class, in the colours that the classes have everywhere."""
    colours = [palette.CLASSES_LIGHT[c % 10] for c in range(len(names))]
    figure = go.Figure(go.Bar(x=list(names), y=counts, marker_color=colours, text=counts, textposition="outside",
                              textfont_size=FONT - 2, cliponaxis=False, hovertemplate="%{x}: %{y}<extra></extra>"))
    figure.update_layout(title=title, height=340, font_size=FONT, margin={"l": 70, "r": 10, "t": 56, "b": 10})
    figure.update_xaxes(title=x_title, type="category", tickfont_size=FONT - 1)
    figure.update_yaxes(title=y_title, tickfont_size=FONT - 1)
    return figure


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"
