"""The smallest epsilon that fools each image: its distribution over a set."""
import time

import numpy as np
import streamlit as st
import torch

from core.analysis.checks import of_distances
from core.attacks import ATTACKS
from core.data import DataSet
from core.epsilons import scale_for
from core.evaluation import minimal_epsilons, require_fit
from core.models.cards import MODELS
from dashboard import alarms, controls, figures, link, tables
from dashboard.i18n import attack_title, number, t

PAGE = "minimal"
TOLERANCE = 1e-3
FIRST = ["fgsm", "pgd", "noise"]


def render() -> None:
    """Controls in the sidebar; a histogram and a cumulative curve for each norm in the page."""
    link.restore(PAGE, {"data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
                        "model": (f"{PAGE}.model", link.one_of(MODELS)), "n": (f"{PAGE}.n", link.between(int, 1, 60_000)),
                        "attacks": (f"{PAGE}.attacks", link.several(ATTACKS))})
    controls.take_own_checkpoint(PAGE)
    st.session_state.setdefault(f"{PAGE}.attacks", list(FIRST))
    st.title(t("minimal.title"))
    st.caption(t("minimal.how"))
    with st.sidebar:
        dataset = controls.data_menu(PAGE)
        if dataset is None:
            return
        network = controls.model_menu(PAGE, dataset)
        names = st.multiselect(t("control.attacks"), list(ATTACKS), key=f"{PAGE}.attacks", persist_state="session",
                               format_func=lambda name: attack_title(ATTACKS[name].title))
        settings = controls.shared_settings(PAGE, [ATTACKS[name] for name in names])
        st.session_state[f"{PAGE}.n"] = min(st.session_state.get(f"{PAGE}.n", 200), len(dataset))
        n = st.number_input(t("curves.n", last=len(dataset)), 1, len(dataset), key=f"{PAGE}.n", persist_state="session")
    if network is None:
        return
    require_fit(network.card, dataset)
    left, right, _ = st.columns([2, 1, 5])
    start = left.button(t("curves.compute", n=n), type="primary", icon=":material/play_arrow:", width="stretch",
                        disabled=not names)
    right.button(t("curves.stop"), icon=":material/stop:", width="stretch")  # any click ends the running script
    status = controls.progress_room()
    done = st.session_state.setdefault(f"{PAGE}.done", {})
    keys = {name: (network.key, f"{dataset.name}/{dataset.split}", name, settings[ATTACKS[name]]) for name in names}
    places = {norm: st.empty() for norm in dict.fromkeys(ATTACKS[name].norm for name in names)}
    fresh = not st.session_state.get(f"{PAGE}.visited") and names == FIRST and n <= 200  # seconds: nobody need press
    st.session_state[f"{PAGE}.visited"] = True
    if start or fresh:
        _compute(dataset, network, keys, n, done, status, places)
    _draw(dataset, keys, done, places, "last")
    _alarms(dataset, keys, done, network.title)
    _table(dataset, keys, done)
    link.write({"data": st.session_state[f"{PAGE}.data"], "model": st.session_state[f"{PAGE}.model"], "n": n,
                "attacks": ",".join(names) or None})


def _compute(dataset: DataSet, network: controls.Network, keys: dict, n: int, done: dict, status, places) -> None:
    """Batch by batch; every batch is kept at once, so that a stop loses nothing."""
    drawn = 0.0
    for k, (name, key) in enumerate(keys.items()):
        kind, found = ATTACKS[name], []
        top = _top(dataset, kind)
        title = attack_title(kind.title)
        status.progress(k / len(keys), t("minimal.progress", name=title, done=0, n=n))
        for part in minimal_epsilons(network.module, kind(**dict(key[3])), dataset, top, tolerance=TOLERANCE, limit=n):
            found.append(part)
            done[key] = torch.cat(found).numpy()
            status.progress((k + len(done[key]) / n) / len(keys),
                            t("minimal.progress", name=title, done=len(done[key]), n=n))
            if time.monotonic() - drawn > 0.5:
                _draw(dataset, keys, done, places, f"{name}.{len(done[key])}")
                drawn = time.monotonic()
    status.empty()


def _top(dataset: DataSet, kind: type) -> float:
    """Where the search ends, and the axis."""
    return scale_for(dataset.shape, kind.norm).path[-1]


def _draw(dataset: DataSet, keys: dict, done: dict, places: dict, turn: str) -> None:
    """One figure for each norm: histogram above, share of fooled images below. `turn` tells apart what is drawn
    several times in a run."""
    colours = {name: k for k, name in enumerate(keys)}
    for norm, place in places.items():
        series = [figures.Distances(attack_title(ATTACKS[name].title), colours[name], done[key])
                  for name, key in keys.items() if ATTACKS[name].norm == norm and key in done]
        if not series:
            place.info(t("minimal.nothing"), icon=":material/align_horizontal_left:")
            continue
        scale = scale_for(dataset.shape, norm)
        axis = controls.epsilon_axis(dataset.shape, norm)
        place.plotly_chart(figures.distances(series, scale.path[-1], scale.per_255, t("minimal.chart"), axis,
                                             t("minimal.images"), t("minimal.fooled")),
                           config={"displayModeBar": False}, alt=t("minimal.alt"), key=f"{PAGE}.chart.{norm}.{turn}")


def _alarms(dataset: DataSet, keys: dict, done: dict, title: str) -> None:
    """What the attacks of each norm say together about whether they can be believed."""
    for norm in dict.fromkeys(ATTACKS[name].norm for name in keys):
        found = [(ATTACKS[name](**dict(key[3])), done[key]) for name, key in keys.items()
                 if ATTACKS[name].norm == norm and key in done]
        fired = [each for each in of_distances(found, scale_for(dataset.shape, norm).curve) if each.fired]
        if fired:
            st.html(alarms.cards(fired, len(fired), title))


def _table(dataset: DataSet, keys: dict, done: dict) -> None:
    """Medians, and every image's own value to download."""
    rows, values = [], {}
    for name, key in keys.items():
        if key not in done:
            continue
        found, title = done[key], attack_title(ATTACKS[name].title)
        values[title] = found
        median = np.median(found)
        rows.append({t("curves.attack"): title, t("curves.norm"): ATTACKS[name].norm, "n": len(found),
                     t("minimal.wrong"): int((found == 0).sum()), t("minimal.unfooled"): int(np.isinf(found).sum()),
                     t("minimal.median"): number(median, 4) if np.isfinite(median) else "> " + number(
                         _top(dataset, ATTACKS[name]), 3)})
    if not rows:
        return
    st.dataframe(rows, hide_index=True)
    most = max(map(len, values.values()))
    each = ((k, *(float(v[k]) if k < len(v) else "" for v in values.values())) for k in range(most))
    st.download_button(t("curves.csv"), tables.as_csv([t("control.index"), *values], each),
                       f"epsilon-lab-minimal-{dataset.name}.csv", "text/csv",
                       icon=":material/download:")
