"""Results -> plotly figures. No streamlit calls; words come in as arguments."""
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from core.evaluation import Point
from dashboard import palette

FONT = 15
LETTERS = 44  # of a title that fit into a phone's width
HEAT = [[0, "rgba(255,150,40,0)"], [0.15, "rgba(255,130,30,0.55)"], [0.5, "rgba(235,80,20,0.85)"],
        [1, "rgba(170,20,10,0.95)"]]  # clear where nothing is lost, so that the image shows through


@dataclass(frozen=True)
class Curve:
    """An accuracy curve with its name in the legend; `shipped` ones were computed beforehand."""

    name: str
    colour: int
    dash: str
    shipped: bool
    points: Sequence[Point]


def layout(figure: go.Figure, title: str, height: int, bottom: int, *, left: int = 70, right: int = 10, columns: int = 0,
           **more) -> None:
    """What all charts have: sizes, margins in px, the legend below in so many columns (0: as many as fit). A title is
    broken where a phone's width ends; Plotly would cut it off."""
    lines = textwrap.wrap(title, LETTERS)
    wide = {"entrywidthmode": "fraction", "entrywidth": 0.98 / columns} if columns > 1 else {}
    figure.update_layout(
        title="<br>".join(lines), height=height, font_size=FONT,
        margin={"l": left, "r": right, "t": 26 + 22 * max(1, len(lines)), "b": bottom},
        legend={"orientation": "v" if columns == 1 else "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0,
                "font_size": FONT - 2, **wide}, **more)


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
    layout(figure, title, 420 + names, 72 + names, hovermode="x", columns=1)
    figure.update_xaxes(title=x_title, rangemode="tozero", tickfont_size=FONT - 1)
    figure.update_yaxes(title=y_title, range=[0, 1.02], tickformat=".0%", tickfont_size=FONT - 1)
    return figure


@dataclass(frozen=True)
class Trace:
    """A search: the best probability of the true class after each query, and whether it fooled at the last."""

    name: str
    values: np.ndarray
    success: bool


def queries(traces: Sequence[Trace], title: str, x_title: str, y_title: str) -> go.Figure:
    """Probability of the true class against queries, a star where the network was fooled."""
    figure = go.Figure()
    for k, trace in enumerate(traces):
        colour, asked = palette.CURVES[k], np.arange(1, len(trace.values) + 1)
        figure.add_scatter(x=asked, y=trace.values, name=trace.name, mode="lines",
                           line={"color": colour, "width": 3, "shape": "hv"}, hovertemplate="%{x}: %{y:.1%}")
        if trace.success:
            figure.add_scatter(x=asked[-1:], y=trace.values[-1:], mode="markers", showlegend=False, hoverinfo="skip",
                               marker={"symbol": "star", "size": 15, "color": colour})
    layout(figure, title, 460, 100, hovermode="x")
    figure.update_xaxes(title=x_title, type="log", tickfont_size=FONT - 1, dtick=1)
    figure.update_yaxes(title=y_title, range=[-0.02, 1.02], tickformat=".0%", tickfont_size=FONT - 1)
    return figure


def training(reports: Sequence, epochs: int, names: tuple[str, str, str, str], title: str, x_title: str) -> go.Figure:
    """Clean, robust and training accuracy above the loss, against epochs; `names` of these four."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.62, 0.38])
    x = [report.progress.step / report.progress.steps * epochs for report in reports]
    series = ([r.clean for r in reports], [r.robust for r in reports], [r.progress.train_accuracy for r in reports])
    for k, (values, name, dash) in enumerate(zip(series, names, ("solid", "solid", "dot"))):
        figure.add_scatter(x=x, y=values, name=name, mode="lines+markers", marker_size=7,
                           line={"color": palette.CURVES[(0, 1, 3)[k]], "width": 3 if k < 2 else 2, "dash": dash},
                           hovertemplate="%{y:.1%}", row=1, col=1)
    figure.add_scatter(x=x, y=[r.progress.loss for r in reports], name=names[3], mode="lines+markers", marker_size=7,
                       line={"color": palette.CURVES[2], "width": 3}, hovertemplate="%{y:.3f}", row=2, col=1)
    layout(figure, title, 520, 96, hovermode="x")
    figure.update_xaxes(range=[0, 1.02 * epochs], tickfont_size=FONT - 1)
    figure.update_xaxes(title=x_title, row=2, col=1)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", row=1, col=1)
    figure.update_yaxes(title=names[3], rangemode="tozero", row=2, col=1)
    return figure


@dataclass(frozen=True)
class Distances:
    """The smallest epsilon that fools each image: 0 where it is misread anyway, infinite where none does."""

    name: str
    colour: int
    values: np.ndarray


def distances(series: Sequence[Distances], top: float, per_255: bool, title: str, x_title: str, y_images: str,
              y_fooled: str) -> go.Figure:
    """A histogram for each attack, and below it the share of images that epsilon fools: 1 - accuracy."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.45, 0.55])
    unit = 255 if per_255 else 1
    for each in series:
        colour = palette.CURVES[each.colour % len(palette.CURVES)]
        finite = np.sort(each.values[np.isfinite(each.values)])
        figure.add_histogram(x=finite * unit, name=each.name, marker_color=colour, opacity=0.65, legendgroup=each.name,
                             xbins={"start": 0, "end": top * unit, "size": top * unit / 40}, row=1, col=1,
                             hovertemplate="%{x}: %{y}<extra></extra>")
        x = np.concatenate([[0.0], finite, [top]]) * unit
        y = np.concatenate([[0.0], np.arange(1, len(finite) + 1), [len(finite)]]) / len(each.values)
        figure.add_scatter(x=x, y=y, name=each.name, mode="lines", line={"color": colour, "width": 3, "shape": "hv"},
                           showlegend=False, legendgroup=each.name, hovertemplate="%{x:.3f}: %{y:.1%}<extra></extra>",
                           row=2, col=1)
    names = 24 * len(series)
    layout(figure, title, 560 + names, 72 + names, barmode="overlay", columns=1)
    figure.update_xaxes(range=[0, top * unit], tickfont_size=FONT - 1)
    figure.update_xaxes(title=x_title, row=2, col=1)
    figure.update_yaxes(title=y_images, row=1, col=1)
    figure.update_yaxes(title=y_fooled, range=[0, 1.02], tickformat=".0%", row=2, col=1)
    return figure


def moved(noise: np.ndarray, kept: np.ndarray, flipped: np.ndarray, names: tuple[str, str], titles: tuple[str, str],
          x_title: str, y_title: str) -> go.Figure:
    """Rank correlations from -1 to 1 of n images: of the noise with the map above, of the map before with the map after
    below; for images that flipped and those that did not, `names` of these. Dashed: the means; a line at 0: chance."""
    figure = make_subplots(rows=2, cols=1, vertical_spacing=0.2, subplot_titles=titles)
    for row, values in enumerate((noise, kept), start=1):
        figure.add_vline(x=0, line={"color": "#8a8d93", "width": 1.5}, row=row, col=1)
        for group, name, colour in ((flipped, names[0], palette.CURVES[1]), (~flipped, names[1], palette.CURVES[0])):
            some = values[group & np.isfinite(values)]
            figure.add_histogram(x=some, name=name, marker_color=colour, opacity=0.62, histnorm="probability",
                                 xbins={"start": -1, "end": 1.0001, "size": 0.05}, showlegend=row == 1, legendgroup=name,
                                 hovertemplate="%{x}: %{y:.1%}<extra></extra>", row=row, col=1)
            if len(some):
                figure.add_vline(x=some.mean(), line={"color": colour, "width": 2.5, "dash": "dash"}, row=row, col=1)
    figure.update_layout(height=540, barmode="overlay", font_size=FONT, margin={"l": 70, "r": 10, "t": 40, "b": 104},
                         legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0,
                                 "font_size": FONT - 1})
    figure.update_annotations(x=0, xanchor="left", font_size=FONT)
    lowest = np.nanmin([0.0, *noise, *kept])
    figure.update_xaxes(range=[-1 if lowest < -0.4 else -0.4, 1], tickfont_size=FONT - 1)
    figure.update_xaxes(title=x_title, row=2, col=1)
    figure.update_yaxes(title=y_title, tickformat=".0%", tickfont_size=FONT - 1, rangemode="tozero")
    return figure


def pixel_map(image: np.ndarray, probability: np.ndarray, predicted: np.ndarray, true: int, names: Sequence[str],
              bar: str) -> go.Figure:
    """The image [C, H, W] in grey under what each pixel takes from the true class's probability, [H, W]; a cross where
    the network is fooled."""
    height, width = probability.shape
    under = Image.fromarray((255 * image.mean(axis=0)).round().astype(np.uint8))
    said = np.array([names[c] for c in predicted.flat]).reshape(predicted.shape)
    figure = go.Figure(go.Heatmap(
        z=1 - probability, zmin=0, zmax=1, colorscale=HEAT, customdata=said,
        colorbar={"title": {"text": bar, "side": "right"}, "tickformat": ".0%", "thickness": 14},
        hovertemplate="(%{y}, %{x}): %{z:.1%} → %{customdata}<extra></extra>"))
    rows, columns = np.nonzero(predicted != true)
    figure.add_scatter(x=columns, y=rows, mode="markers", showlegend=False, hoverinfo="skip",
                       marker={"symbol": "x-thin", "size": 7, "line": {"width": 2, "color": "#ffffff"}})
    figure.add_layout_image(source=under.resize((width * 8, height * 8), Image.Resampling.NEAREST), xref="x", yref="y",
                            x=-0.5, y=-0.5, sizex=width, sizey=height, sizing="stretch", layer="below")
    figure.update_layout(height=520, font_size=FONT, margin={"l": 30, "r": 0, "t": 10, "b": 30},
                         plot_bgcolor="rgba(0,0,0,0)")
    figure.update_yaxes(autorange=False, range=[height - 0.5, -0.5], scaleanchor="x", constrain="domain", showgrid=False)
    figure.update_xaxes(range=[-0.5, width - 0.5], constrain="domain", showgrid=False)
    return figure


def class_counts(counts: np.ndarray, names: Sequence[str], title: str, x_title: str, y_title: str) -> go.Figure:
    """How many images of each class, in the colours that the classes have everywhere."""
    colours = [palette.CLASSES_LIGHT[c % 10] for c in range(len(names))]
    figure = go.Figure(go.Bar(x=list(names), y=counts, marker_color=colours, text=counts, textposition="outside",
                              textfont_size=FONT - 2, cliponaxis=False, hovertemplate="%{x}: %{y}<extra></extra>"))
    layout(figure, title, 340, 10)
    figure.update_xaxes(title=x_title, type="category", tickfont_size=FONT - 1)
    figure.update_yaxes(title=y_title, tickfont_size=FONT - 1)
    return figure


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"


@dataclass(frozen=True)
class Share:
    """A line of shares with 95 % intervals: y, low, high in [0, 1] at each place of the axis; `colour` in hex."""

    name: str
    colour: str
    dash: str
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def shares(lines: Sequence[Share], x: Sequence[str], title: str, x_title: str, y_title: str, every: int = 1,
           columns: int = 2) -> go.Figure:
    """Lines over places that are named, not measured, such as the positions of a slider; `every` so many has its name
    on the axis, and the legend has so many columns."""
    figure = go.Figure()
    for line in lines:
        figure.add_scatter(x=list(range(len(x))), y=line.y, name=line.name, mode="lines+markers", marker_size=7,
                           line={"color": line.colour, "dash": line.dash, "width": 2.5},
                           error_y={"array": np.subtract(line.high, line.y), "arrayminus": np.subtract(line.y, line.low),
                                    "thickness": 1, "width": 0},
                           customdata=list(zip(line.low, line.high)),
                           hovertemplate="%{y:.1%} (%{customdata[0]:.1%} – %{customdata[1]:.1%})")
    names = 24 * -(-len(lines) // columns)
    layout(figure, title, 400 + names, 76 + names, hovermode="x", columns=columns)
    figure.update_xaxes(title=x_title, tickvals=list(range(0, len(x), every)), ticktext=list(x[::every]),
                        tickfont_size=FONT - 1)
    figure.update_yaxes(title=y_title, range=[-0.02, 1.02], tickformat=".0%", tickfont_size=FONT - 1)
    return figure


def levels(lines: Sequence[Share], x: Sequence[str], title: str, x_title: str, y_title: str) -> go.Figure:
    """Lines of measured values, without intervals, over places that are named."""
    figure = go.Figure()
    for line in lines:
        figure.add_scatter(x=list(range(len(x))), y=line.y, name=line.name, mode="lines+markers", marker_size=7,
                           line={"color": line.colour, "dash": line.dash, "width": 2.5}, hovertemplate="%{y:.1f}")
    names = 24 * -(-len(lines) // 2)
    layout(figure, title, 400 + names, 76 + names, hovermode="x", columns=2)
    figure.update_xaxes(title=x_title, tickvals=list(range(len(x))), ticktext=list(x), tickfont_size=FONT - 1)
    figure.update_yaxes(title=y_title, rangemode="tozero", tickfont_size=FONT - 1)
    return figure


def bars(groups: Sequence[Share], x: Sequence[str], title: str, y_title: str, percent: bool = False) -> go.Figure:
    """Groups of bars with their 95 % intervals, from -1 to 1 or less, or of shares."""
    figure = go.Figure()
    for group in groups:
        figure.add_bar(x=list(x), y=group.y, name=group.name, marker_color=group.colour,
                       error_y={"array": np.subtract(group.high, group.y), "arrayminus": np.subtract(group.y, group.low),
                                "thickness": 1.5}, hovertemplate="%{y:.1%}" if percent else "%{y:.2f}")
    layout(figure, title, 470, 120, hovermode="x", barmode="group")
    figure.update_xaxes(tickfont_size=FONT - 1)
    figure.update_yaxes(title=y_title, tickfont_size=FONT - 1, **({"tickformat": ".0%", "range": [0, 1]} if percent else {}))
    return figure


def accuracy_map(values: np.ndarray, x: Sequence[str], y: Sequence[str], title: str, x_title: str,
                 y_title: str) -> go.Figure:
    """Accuracy [rows, columns] as a map with its numbers in it."""
    figure = go.Figure(go.Heatmap(
        z=values, x=list(range(len(x))), y=list(range(len(y))), zmin=0, zmax=1, colorscale="Cividis",
        text=[[f"{100 * value:.0f}" for value in row] for row in values], texttemplate="%{text}", textfont_size=FONT - 3,
        colorbar={"tickformat": ".0%", "thickness": 14}, customdata=[[(a, b) for a in x] for b in y],
        hovertemplate="%{customdata[0]} · %{customdata[1]}: %{z:.1%}<extra></extra>", xgap=2, ygap=2))
    layout(figure, title, 130 + 44 * len(y), 60)
    figure.update_xaxes(title=x_title, tickvals=list(range(len(x))), ticktext=list(x), tickfont_size=FONT - 1,
                        showgrid=False)
    figure.update_yaxes(title=y_title, tickvals=list(range(len(y))), ticktext=list(y), tickfont_size=FONT - 1,
                        showgrid=False)
    return figure
