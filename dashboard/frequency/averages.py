"""The lower half of section one: several attacks' average spectra over a data set."""
import time

import numpy as np
import streamlit as st
import torch

from core.analysis import spectrum
from core.analysis.spectrum import Perturbations
from core.attacks import ATTACKS
from core.data import DataSet
from core.epsilons import scale_for
from dashboard import controls, tables, tiles
from dashboard.frequency import figures
from dashboard.i18n import attack_title, number, t

FIRST = ("fgsm", "fgm", "pgd", "cw")  # report R2's, and PGD
FLOOR = -30.0  # dB below the strongest frequency at which a spectrum is drawn darkest
FAST = 200_000  # parameters of a digit network whose first figure is computed unasked


def over_set(page: str, dataset: DataSet, network: controls.Network, chosen: dict, n: int) -> None:
    """The attacks' average spectra side by side and their curves, streaming in."""
    done = st.session_state.setdefault(f"{page}.spectra", {})
    data = f"{dataset.name}/{dataset.split}"
    keys = {name: (network.key, data, name, settings, n) for name, settings in chosen.items()}
    head, side = st.columns([3, 2], vertical_alignment="bottom")
    headline = head.empty()
    unit = side.segmented_control(t("frequency.size"), ["as_made", "scaled"], default="scaled", required=True,
                                  format_func=lambda name: t(f"frequency.size.{name}"), key=f"{page}.size",
                                  help=t("frequency.size.help"))
    left, right, _ = st.columns([2, 1, 5])
    start = left.button(t("curves.compute", n=n), type="primary", icon=":material/play_arrow:", width="stretch",
                        key=f"{page}.compute", disabled=any(dict(each).get("eps") == 0 for each in chosen.values()))
    # Any click ends the running script.
    right.button(t("curves.stop"), icon=":material/stop:", width="stretch", key=f"{page}.stop")
    status = controls.progress_room()
    places = headline, st.empty()
    quick = (not done and dataset.shape[0] == 1 and n <= 50 and network.card.parameters < FAST
             and tuple(chosen) == FIRST)  # seconds: nobody need press
    _draw(page, keys, done, unit, places, "first")
    if start or quick:
        drawn = time.monotonic()
        for k, (name, key) in enumerate(keys.items()):
            status.progress(k / len(keys), t("minimal.progress", name=short(name), done=0, n=n))
            for found in spectrum.perturbation_spectra(network.module, ATTACKS[name](**dict(key[3])), dataset, n):
                done[key] = found
                status.progress((k + found.n / n) / len(keys),
                                t("minimal.progress", name=short(name), done=found.n, n=n))
                if time.monotonic() - drawn > 0.5:
                    _draw(page, keys, done, unit, places, f"{name}.{found.n}")
                    drawn = time.monotonic()
        status.empty()
        _draw(page, keys, done, unit, places, "last")
    _numbers(page, dataset, keys, done, unit)


def _draw(page: str, keys: dict, done: dict, unit: str, places: tuple, turn: str) -> None:
    """Maps on one colour scale, curves with bands. `turn` tells apart what is drawn several times in a run."""
    headline, body = places
    known = {name: done[key] for name, key in keys.items() if key in done}
    if not known:
        headline.subheader(t("frequency.set.title"), anchor=False)
        body.info(t("minimal.nothing"), icon=":material/graphic_eq:")
        return
    parts = {name: getattr(found, unit) for name, found in known.items()}
    order = sorted(parts, key=lambda name: -parts[name].high_share)
    several = len(order) > 1
    headline.subheader(t("frequency.set.headline" if several else "frequency.set.headline.one", most=short(order[0]),
                         share=_percent(parts[order[0]].high_share), least=short(order[-1]),
                         low=_percent(parts[order[-1]].high_share),
                         noise=_percent(float((spectrum.radius(*parts[order[0]].power.shape) > 0.25).double().mean()))),
                       anchor=False)
    maps = without_constant(torch.stack([part.magnitude for part in parts.values()]), FLOOR)
    cells = [tiles.tile(figures.coloured(each, FLOOR), _caption(name, known[name])) for name, each in zip(known, maps)]
    lines = []
    for name, part in parts.items():
        values, low, high = (10 * np.log10(curve[1:].clamp_min(1e-14).numpy())
                             for curve in (part.radial, part.low, part.high))
        lines.append(figures.Line(short(name), list(keys).index(name), values, low, high))
    cycles = spectrum.ring_radii(*maps.shape[-2:])[1:].numpy()
    with body.container():
        left, right = st.columns([11, 9], gap="large")
        with left:
            st.html(figures.grid(cells, 2 if len(cells) > 1 else 1, 300))
            st.html(figures.colour_bar(scale_words(FLOOR)))
            st.caption(t("frequency.set.how"))
        figure = figures.over_rings(lines, cycles, t("frequency.set.chart"), t("frequency.axis"), t("frequency.power"),
                                    height=430)
        right.plotly_chart(figure, config={"displayModeBar": False}, alt=t("frequency.set.alt"),
                           key=f"{page}.set.chart.{turn}")


def without_constant(magnitudes: torch.Tensor, floor: float) -> np.ndarray:
    """Magnitudes [A, H, W] in dB, at least `floor`, below the strongest of all frequencies but the constant, which is
    far larger than any other in images, and where clipping lets black pixels change in one direction only."""
    waves = magnitudes.clone()
    waves[:, waves.shape[1] // 2, waves.shape[2] // 2] = 0
    ratio = magnitudes / waves.max().clamp_min(1e-12)
    return (20 * torch.log10(ratio.clamp_min(1e-12))).clamp(floor, 0).numpy()


def _numbers(page: str, dataset: DataSet, keys: dict, done: dict, unit: str) -> None:
    """What each attack measured, and the curves to download."""
    known = {name: done[key] for name, key in keys.items() if key in done}
    if not known:
        return
    st.dataframe([{t("curves.attack"): attack_title(ATTACKS[name].title), t("curves.norm"): ATTACKS[name].norm,
                   "ε": _epsilon(name, dict(keys[name][3]).get("eps"), dataset), "n": found.n,
                   t("frequency.set.seen"): found.seen, t("frequency.set.unchanged"): found.unchanged,
                   t("frequency.set.l2"): number(found.l2, 3),
                   t("frequency.set.share"): f"{number(100 * getattr(found, unit).high_share, 1)} ± "
                                             f"{number(100 * getattr(found, unit).high_error, 1)} %"}
                  for name, found in known.items()], hide_index=True)
    rows = [(attack_title(ATTACKS[name].title), found.n, float(f), float(mean), float(low), float(high))
            for name, found in known.items() for part in [getattr(found, unit)]
            for f, mean, low, high in zip(spectrum.ring_radii(*part.power.shape), part.radial, part.low, part.high)]
    head = [t("curves.attack"), "n", t("frequency.axis"), t("frequency.csv.power"), t("curves.low"), t("curves.high")]
    st.download_button(t("curves.csv"), tables.as_csv(head, rows), f"epsilon-lab-perturbations-{dataset.name}.csv",
                       "text/csv", icon=":material/download:", key=f"{page}.set.csv")


def _caption(name: str, found: Perturbations) -> str:
    return t("frequency.set.caption", attack=short(name), n=found.n, l2=number(found.l2, 2))


def short(name: str) -> str:
    """The attack's name; without its norm where no other attack is called so."""
    title = attack_title(ATTACKS[name].title)
    brief = title.partition(" (")[0]
    alike = [kind for kind in ATTACKS.values() if attack_title(kind.title).partition(" (")[0] == brief]
    return brief if len(alike) == 1 else title


def _percent(share: float) -> str:
    return number(100 * share, 0)


def _epsilon(name: str, eps: float | None, dataset: DataSet) -> str:
    if eps is None:
        return "–"
    per_255 = scale_for(dataset.shape, ATTACKS[name].norm).per_255
    return f"{number(eps, 4)} ({number(255 * eps, 1)}/255)" if per_255 else number(eps, 2)


def scale_words(floor: float) -> list[str]:
    """What stands under a bar of colours from `floor` to 0 dB."""
    return [f"−{-floor:.0f}", f"−{-floor * 2 / 3:.0f}", f"−{-floor / 3:.0f}", "0 dB"]
