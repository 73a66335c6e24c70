"""Saliency over a whole set: how the noise overlaps the maps, and how much of a map stays, batch by batch."""
import time

import numpy as np
import streamlit as st
import torch

from core.analysis.overlap import Mean, Overlap, joined, mean, overlaps
from core.attacks import OneStep
from core.data import DataSet
from dashboard import controls, figures, tables
from dashboard.i18n import number, t
from dashboard.maps import Explanation

FIRST = 100
NUMBERS = ("noise_rank", "noise_top", "kept_rank", "kept_top")


def render(page: str, dataset: DataSet, network: controls.Network, attack: controls.Choice, settings: tuple,
           asked: Explanation) -> int:
    """Buttons, a figure, a table and its download; returns how many images were asked for."""
    st.subheader(t("saliency.set"), anchor=False)
    st.caption(t("saliency.set.how"))
    key = f"{page}.n"
    st.session_state[key] = min(st.session_state.get(key, FIRST), len(dataset))
    field, left, right, last = st.columns([3, 3, 2, 4], vertical_alignment="bottom")
    n = field.number_input(t("curves.n", last=len(dataset)), 1, len(dataset), key=key, persist_state="session")
    start = left.button(t("curves.compute", n=n), type="primary", icon=":material/play_arrow:", width="stretch")
    right.button(t("curves.stop"), icon=":material/stop:", width="stretch")  # any click ends the running script
    status = controls.progress_room(last)
    chart, table = st.empty(), st.container()
    done = st.session_state.setdefault(f"{page}.done", {})
    case = (network.key, f"{dataset.name}/{dataset.split}", attack.name, settings, asked.method, asked.explain,
            asked.layer, n)
    fresh = not done and issubclass(attack.kind, OneStep) and asked.method == "gradient" and n <= FIRST  # a second
    if start or fresh:
        _compute(page, dataset, network, attack.kind(**dict(settings)), asked, n, case, done, status, chart)
    if case not in done:
        chart.info(t("saliency.nothing"), icon=":material/center_focus_strong:")
        return n
    status.empty()
    _draw(page, chart, done[case], "last")
    with table:
        st.markdown(_sentence(done[case]))
        _table(dataset, done[case])
    return n


def _compute(page: str, dataset: DataSet, network: controls.Network, attack, asked: Explanation, n: int, case: tuple,
             done: dict, status, chart) -> None:
    """Batch by batch; every batch is kept at once, so that a stop loses nothing."""
    parts, drawn = [], time.monotonic()
    status.progress(0.0, t("saliency.progress", done=0, n=n))
    explain = int(asked.explain) if asked.explain.isdigit() else asked.explain
    for part in overlaps(network.module, attack, dataset, asked.method, explain=explain, layer=asked.layer, limit=n):
        parts.append(part)
        done[case] = joined(parts)
        count = len(done[case].flipped)
        status.progress(count / n, t("saliency.progress", done=count, n=n))
        if time.monotonic() - drawn > 0.5:
            _draw(page, chart, done[case], str(count))
            drawn = time.monotonic()


def _sentence(found: Overlap) -> str:
    """How much of a map stays with and without a flip."""
    flipped, held = (mean(found.kept_rank[group]) for group in (found.flipped, ~found.flipped))
    if not flipped.n or not held.n:
        return t("saliency.set.one", flips=int(found.flipped.sum()), n=len(found.flipped),
                 noise=_interval(mean(found.noise_rank)), kept=_interval(mean(found.kept_rank)))
    return t("saliency.set.result", flips=int(found.flipped.sum()), n=len(found.flipped),
             noise=_interval(mean(found.noise_rank)), flipped=_interval(flipped), held=_interval(held))


def _draw(page: str, place, found: Overlap, turn: str) -> None:
    figure = figures.moved(found.noise_rank.numpy(), found.kept_rank.numpy(), found.flipped.numpy(),
                           (t("saliency.flipped"), t("saliency.held")),
                           (t("saliency.chart.noise"), t("saliency.chart.kept")),
                           t("saliency.rank"), t("saliency.share"))
    place.plotly_chart(figure, config={"displayModeBar": False}, alt=t("saliency.chart.alt"),
                       key=f"{page}.chart.{turn}")


def _interval(found: Mean, unit: float = 1, digits: int = 2) -> str:
    """'0.41 (0.38 to 0.44)', without what there are too few images for."""
    if not found.n:
        return "–"
    middle, low, high = (number(value * unit, digits) for value in (found.mean, found.low, found.high))
    return middle if np.isnan(found.low) else t("saliency.interval", mean=middle, low=low, high=high)


def _table(dataset: DataSet, found: Overlap) -> None:
    """Means of both groups, and every image's own numbers to download."""
    groups = {t("saliency.flipped"): found.flipped, t("saliency.held"): ~found.flipped,
              t("saliency.all"): torch.ones_like(found.flipped)}
    rows = []
    for name, group in groups.items():
        cells = [mean(getattr(found, key)[group]) for key in NUMBERS]
        rows.append({t("saliency.images"): name, "n": int(group.sum())} | {
            t(f"saliency.{key}"): _interval(cell, *((100, 0) if key.endswith("top") else ()))
            for key, cell in zip(NUMBERS, cells)})
    st.dataframe(rows, hide_index=True)
    head = [t("control.index"), t("saliency.flipped"), *(t(f"saliency.{key}") for key in NUMBERS)]
    values = zip(*(getattr(found, key).tolist() for key in ("flipped", *NUMBERS)))
    rows = [(k, int(flipped), *numbers) for k, (flipped, *numbers) in enumerate(values)]
    st.download_button(t("curves.csv"), tables.as_csv(head, rows), f"epsilon-lab-saliency-{dataset.name}.csv", "text/csv",
                       icon=":material/download:")
