"""Spectra and their curves -> plotly figures and coloured maps. No streamlit calls; words come in as arguments."""
import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboard import palette, tiles
from dashboard.figures import FONT, layout

SCALE = [[k / 255, "#" + bytes(colour).hex()] for k, colour in enumerate(palette.scale("viridis").tolist())]
CUT, ENERGY = "#ffffff", "#ff8a3d"  # contours, each on a dark line of its own: seen on every colour of viridis


@dataclass(frozen=True)
class Line:
    """Values over rings, [R], with an interval where there is one."""

    name: str
    colour: int
    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    dash: str = "solid"


def over_rings(lines: Sequence[Line], cycles: np.ndarray, title: str, x_title: str, y_title: str, *,
               share: bool = False, height: int = 400) -> go.Figure:
    """Lines against spatial frequency in cycles per pixel, 0 to 0.5, with bands for the intervals."""
    figure = go.Figure()
    shape = "%{y:.1%}" if share else "%{y:.1f} dB"
    for line in lines:
        colour = palette.CURVES[line.colour % len(palette.CURVES)]
        if line.low is not None:
            figure.add_scatter(x=[*cycles, *cycles[::-1]], y=[*line.high, *line.low[::-1]], fill="toself",
                               fillcolor=_faint(colour), mode="lines", line_width=0, hoverinfo="skip", showlegend=False)
        figure.add_scatter(x=cycles, y=line.values, name=line.name, mode="lines+markers", marker_size=5,
                           line={"color": colour, "width": 3, "dash": line.dash}, hovertemplate=shape)
    names = 24 * len(lines)
    layout(figure, title, height + names, 72 + names, hovermode="x", columns=1)
    figure.update_xaxes(title=x_title, range=[-0.005, 0.505], tickfont_size=FONT - 1, hoverformat=".3f")
    figure.update_yaxes(title=y_title, tickfont_size=FONT - 1)
    if share:
        top = max(0.2, *(float(line.high.max()) for line in lines))
        figure.update_yaxes(range=[-0.02 * top, min(1.02, 1.05 * top)], tickformat=".0%")
    return figure


@dataclass(frozen=True)
class Contour:
    """A line on a map where `values` [H, W] cross `level`."""

    name: str
    colour: str
    values: np.ndarray
    level: float


def error_map(error: np.ndarray, intervals: np.ndarray, top: float, contours: Sequence[Contour], title: str,
              x_title: str, y_title: str, bar: str) -> go.Figure:
    """Error rates [H, W] with their intervals [H, W, 2], zero frequency in the middle, in cycles per image."""
    height, width = error.shape
    x, y = np.arange(width) - width // 2, np.arange(height) - height // 2
    figure = go.Figure(go.Heatmap(
        z=error, x=x, y=y, zmin=0, zmax=top, colorscale=SCALE, customdata=intervals,
        colorbar={"title": {"text": bar, "side": "bottom", "font_size": FONT - 1}, "tickformat": ".0%", "thickness": 10,
                  "tickfont_size": FONT - 2, "orientation": "h", "lenmode": "pixels", "len": 290, "x": 0.5, "y": -0.19,
                  "yanchor": "top", "outlinewidth": 0, "nticks": 6},
        hovertemplate="(%{x}, %{y}): %{z:.1%} (%{customdata[0]:.1%} – %{customdata[1]:.1%})<extra></extra>"))
    for contour in contours:
        for colour, wide in (("#14161a", 4.5), (contour.colour, 2)):
            figure.add_contour(z=contour.values, x=x, y=y, name=contour.name, hoverinfo="skip", showscale=False,
                               contours={"coloring": "none", "type": "levels", "start": contour.level,
                                         "end": contour.level, "size": 1}, showlegend=False,
                               line={"color": colour, "width": wide, "smoothing": 0.6})
    layout(figure, title, 510, 120, left=56, right=0, plot_bgcolor="rgba(0,0,0,0)")
    figure.update_yaxes(title=y_title, autorange=False, range=[y[-1] + 0.5, y[0] - 0.5], scaleanchor="x",
                        constrain="domain", showgrid=False, zeroline=False, tickfont_size=FONT - 1)
    figure.update_xaxes(title=x_title, range=[x[0] - 0.5, x[-1] + 0.5], constrain="domain", showgrid=False,
                        zeroline=False, tickfont_size=FONT - 1)
    return figure


def coloured(decibels: np.ndarray, floor: float, top: float = 0.0) -> np.ndarray:
    """A map in dB [H, W] as a viridis image [H, W, 3] between `floor` and `top`."""
    share = np.clip((decibels - floor) / (top - floor), 0, 1)
    return palette.scale("viridis")[np.round(255 * share).astype(int)]


def tile(image: np.ndarray, caption: str, alt: str) -> str:
    """An image [H, W, 3] with a caption shorter than its alternative text, as HTML."""
    return (f'<figure><img src="{tiles.data_uri(image)}" alt="{html.escape(alt)}">'
            f'<figcaption>{html.escape(caption)}</figcaption></figure>')


def grid(cells: Sequence[str], columns: int, widest: int = 360) -> str:
    """Tiles in so many columns on any screen, as HTML."""
    return (f'{tiles.STYLE}<div class="tiles" style="grid-template-columns: repeat({columns}, minmax(0, {widest}px))">'
            f'{"".join(cells)}</div>')


def colour_bar(labels: Sequence[str]) -> str:
    """A horizontal bar of viridis with labels spread under it, as HTML."""
    stops = ", ".join("#" + bytes(colour).hex() for colour in palette.scale("viridis")[::15].tolist())
    words = "".join(f"<span>{label}</span>" for label in labels)
    return (f'<div style="height:10px;border-radius:3px;background:linear-gradient(90deg,{stops})"></div>'
            f'<div style="display:flex;justify-content:space-between;font-size:14px;opacity:0.75;padding-top:3px;'
            f'font-variant-numeric:tabular-nums">{words}</div>')


def contour_legend(contours: Sequence[Contour]) -> str:
    """The lines of a map with their names, as HTML."""
    words = "".join(
        f'<span style="margin-right:20px;white-space:nowrap"><i style="display:inline-block;width:22px;height:6px;'
        f'background:{each.colour};border:2px solid #14161a;border-width:2px 0;vertical-align:2px;'
        f'margin-right:7px"></i>{html.escape(each.name)}</span>' for each in contours)
    return f'<div style="font-size:14px;line-height:24px">{words}</div>'


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.18)"
