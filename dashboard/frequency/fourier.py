"""Section three: error rates under noise of a single frequency, for one network or two side by side."""
import time

import numpy as np
import streamlit as st
import torch
from torch.nn import functional as F

from core.analysis import spectrum
from core.analysis.fourier import NORMS, Sensitivity, filled, sensitivity
from core.analysis.transfer_function import jpeg_survival
from core.attacks import ATTACKS
from core.data import DataSet
from core.epsilons import scale_for
from core.evaluation import require_fit
from core.statistics import wilson
from dashboard import cache, controls, tables
from dashboard.frequency import figures
from dashboard.frequency.gratings import amplitude_menu
from dashboard.i18n import attack_title, number, t

FIRST = {28: ("lenet5", "lenet5-pgd"), 32: ("convnet3", "convnet3-fgsm")}
ENERGIES = ("none", "fgsm", "pgd")
ENERGY_IMAGES = 50
FAST = 200_000  # parameters of a digit network that is computed unasked
QUICK = 100  # images, likewise


def render(page: str, dataset: DataSet) -> dict | None:
    """Maps side by side, curves below; overlays are drawn over the maps."""
    names = controls.model_names(dataset)
    with st.sidebar:
        chosen = _networks(page, names, FIRST[dataset.shape[1]])
        st.session_state[f"{page}.images"] = min(st.session_state.get(f"{page}.images", QUICK), len(dataset))
        n = st.number_input(t("curves.n", last=len(dataset)), 1, len(dataset), key=f"{page}.images",
                            persist_state="session")
        st.session_state.setdefault(f"{page}.norm", NORMS[dataset.shape[1]])
        norm = st.number_input(t("frequency.norm"), 0.5, 20.0, step=0.5, key=f"{page}.norm", persist_state="session",
                               help=t("frequency.norm.help"))
        st.session_state.setdefault(f"{page}.energy", "none")
        energy = st.selectbox(t("frequency.energy"), ENERGIES, key=f"{page}.energy", persist_state="session",
                              format_func=lambda name: attack_title(ATTACKS[name].title) if name in ATTACKS else
                              t("frequency.energy.none"))
        cut = st.toggle(t("frequency.cut"), key=f"{page}.cut", persist_state="session", help=t("frequency.cut.help"))
        st.session_state.setdefault(f"{page}.quality", 10)
        quality = st.slider(t("setting.quality"), 1, 100, key=f"{page}.quality", persist_state="session",
                            disabled=not cut)
        amplitude = amplitude_menu(page, disabled=not cut)
    networks = [network for name in chosen if (network := controls.network(name)) is not None]
    if not networks:
        st.info(t("frequency.nothing"), icon=":material/graphic_eq:")
        return None
    for network in networks:
        require_fit(network.card, dataset)
    _section(page, dataset, networks, n, norm, energy, (quality, amplitude) if cut else None)
    return {"pair": ",".join(chosen), "images": n, "norm": f"{norm:g}", "energy": None if energy == "none" else energy,
            "cut": "yes" if cut else None, "quality": quality if cut else None,
            "amplitude": amplitude if cut else None}


def _networks(page: str, names: list[str], first: tuple) -> list[str]:
    key = f"{page}.pair"
    kept = [name for name in st.session_state.get(key, first) if name in names]
    st.session_state[key] = kept[:2] if kept or key in st.session_state else names[:1]
    return st.multiselect(t("control.models"), controls.own_first(names), format_func=controls.model_title, key=key,
                          max_selections=2, persist_state="session")


def _section(page: str, dataset: DataSet, networks: list, n: int, norm: float, energy: str,
             cut: tuple[int, float] | None) -> None:
    done = st.session_state.setdefault(f"{page}.fourier", {})
    keys = [(network.key, f"{dataset.name}/{dataset.split}", n, norm) for network in networks]
    headline = st.empty()
    left, right, _ = st.columns([2, 1, 5])
    start = left.button(t("curves.compute", n=n), type="primary", icon=":material/play_arrow:", width="stretch",
                        key=f"{page}.fourier.compute")
    right.button(t("curves.stop"), icon=":material/stop:", width="stretch", key=f"{page}.fourier.stop")
    status = controls.progress_room()
    contours = [_contours(network, dataset, energy, cut) for network in networks]
    places = headline, st.empty()
    small = dataset.shape[0] == 1 and n <= QUICK and all(network.card.parameters < FAST for network in networks)
    fresh = not st.session_state.get(f"{page}.fourier.visited") and n <= QUICK  # streams in at once
    st.session_state[f"{page}.fourier.visited"] = True
    _draw(page, networks, keys, done, contours, places, "first")
    missing = [key for key in keys if key not in done or done[key].done < 1]
    if start or (missing and (small or fresh)):
        x, y = dataset.batch(slice(0, n))
        for k, (network, key) in enumerate(zip(networks, keys)):
            if key not in missing:
                continue
            drawn = time.monotonic()
            status.progress(k / len(keys), t("frequency.fourier.progress", name=network.title, share=0))
            for found in sensitivity(network.module, x, y, norm):
                done[key] = found
                status.progress((k + found.done) / len(keys), t("frequency.fourier.progress", name=network.title,
                                                                share=number(100 * found.done, 0)))
                if time.monotonic() - drawn > 0.6:
                    _draw(page, networks, keys, done, contours, places, f"{k}.{found.done:.4f}")
                    drawn = time.monotonic()
        status.empty()
        _draw(page, networks, keys, done, contours, places, "last")
    _download(page, dataset, networks, keys, done)


def _contours(network: controls.Network, dataset: DataSet, energy: str,
              cut: tuple[int, float] | None) -> list[figures.Contour]:
    """Where half of an attack's energy lies, and which gratings JPEG zeroes: `cut` has its quality, their amplitude."""
    height, width = dataset.shape[1:]
    found = []
    if energy != "none":
        kind = ATTACKS[energy]
        settings = (("eps", scale_for(dataset.shape, kind.norm).start),)
        power = cache.perturbation_power(network.key, f"{dataset.name}/{dataset.split}", energy, settings,
                                         min(ENERGY_IMAGES, len(dataset)), _model=network.module, _dataset=dataset)
        if power is not None:
            around = F.pad(torch.from_numpy(power)[None, None], (1, 1, 1, 1), "circular")
            smooth = F.avg_pool2d(around, 3, 1)[0, 0].numpy()
            ranked = np.sort(smooth, axis=None)[::-1]
            level = ranked[int(np.searchsorted(np.cumsum(ranked), ranked.sum() / 2))]
            found.append(figures.Contour(t("frequency.energy.line", attack=attack_title(kind.title)), figures.ENERGY,
                                         smooth, float(level)))
    if cut is not None:
        quality, amplitude = cut
        steps = jpeg_survival(quality, amplitude, height, width).numpy()
        kept = float((steps >= 0.5).mean())
        name = "line" if 0 < kept < 1 else "all" if kept else "nothing"
        found.append(figures.Contour(t(f"frequency.cut.{name}", quality=quality), figures.CUT, steps, 0.5))
    return found


def _draw(page: str, networks: list, keys: list, done: dict, contours: list, places: tuple, turn: str) -> None:
    """One map for each network on one colour scale, the curves of both below."""
    headline, body = places
    known = [(network, done[key], lines) for network, key, lines in zip(networks, keys, contours) if key in done]
    if not known:
        headline.subheader(t("frequency.fourier.title"), anchor=False)
        body.info(t("minimal.nothing"), icon=":material/graphic_eq:")
        return
    maps = [filled(found.error).numpy() for _, found, _ in known]
    headline.subheader(" ".join(_sentence(network.title, found) for network, found, _ in known), anchor=False)
    top = max(0.1, max(float(each.max()) for each in maps))
    cycles = spectrum.ring_radii(*maps[0].shape).numpy()
    with body.container():
        columns = st.columns(2, gap="medium")
        for k, (column, each, (network, found, lines)) in enumerate(zip(columns, maps, known)):
            intervals = np.array([[wilson(round(float(rate) * found.n), found.n) for rate in row] for row in each])
            figure = figures.error_map(each, intervals, top, lines, t("frequency.fourier.map", name=network.title),
                                       t("frequency.across"), t("frequency.down"), t("frequency.error"))
            with column:
                st.plotly_chart(figure, config={"displayModeBar": False}, key=f"{page}.fourier.{k}.{turn}",
                                alt=t("frequency.fourier.alt", name=network.title))
                if lines:
                    st.html(figures.contour_legend(lines))
        curves = []
        for k, (network, found, _) in enumerate(known):
            rates = spectrum.radial(torch.from_numpy(maps[k])).numpy()
            low, high = np.array([wilson(float(rate) * found.n, found.n) for rate in rates]).T
            curves.append(figures.Line(network.title, k, rates, low, high))
        rings = figures.over_rings(curves, cycles, t("frequency.fourier.chart"), t("frequency.axis"),
                                   t("frequency.error"), share=True, height=330)
        (columns[1] if len(known) == 1 else st).plotly_chart(rings, config={"displayModeBar": False},
                                                             key=f"{page}.fourier.rings.{turn}",
                                                             alt=t("frequency.fourier.chart.alt"))
        st.caption(t("frequency.fourier.note", n=known[0][1].n, norm=number(known[0][1].norm, 1)))


def _sentence(name: str, found: Sensitivity) -> str:
    """Where the network errs most, if that is more than the images without noise allow for."""
    rates = spectrum.radial(filled(found.error))
    worst, side = int(rates.argmax()), min(found.error.shape)
    holds = float(rates[worst]) <= wilson(round(found.clean * found.n), found.n)[1]
    return t("frequency.fourier.holds" if holds else "frequency.fourier.headline", name=name,
             worst=number(100 * float(rates[worst]), 0), cycles=number(worst / side, 2),
             clean=number(100 * found.clean, 0), n=str(found.n))


def _download(page: str, dataset: DataSet, networks: list, keys: list, done: dict) -> None:
    rows = []
    for network, key in zip(networks, keys):
        if key in done:
            found = done[key]
            height, width = found.error.shape
            rows += [(network.title, row - height // 2, column - width // 2, float(found.error[row, column]),
                      *found.interval(row, column), found.n, found.norm, found.clean)
                     for row, column in (~found.error.isnan()).nonzero().tolist()]
    if rows:
        head = [t("curves.model"), t("frequency.down"), t("frequency.across"), t("frequency.error"), t("curves.low"),
                t("curves.high"), "n", "L2", t("frequency.csv.clean")]
        st.download_button(t("curves.csv"), tables.as_csv(head, rows), f"epsilon-lab-fourier-{dataset.name}.csv",
                           "text/csv", icon=":material/download:", key=f"{page}.fourier.csv")
