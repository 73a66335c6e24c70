"""What section two shows of the gains: the live panel, every filter's map, and the numbers."""
import numpy as np
import streamlit as st
import torch

from core.analysis import spectrum, transfer_function
from core.analysis.transfer_function import LOGITS, Transfer
from core.data import DataSet
from dashboard import tables, tiles
from dashboard.frequency import figures
from dashboard.frequency.bode import Position, bode
from dashboard.i18n import class_name, number, t

QUALITIES = (1, 3, 5, 7, 10, 13, 16, 25, 40, 60, 80, 95)  # report R2's ranges, 1 to 5 and 7 to 16, and beyond
ORDER = (10, 5, 25, 1, 16, 60, 3, 7, 13, 40, 80, 95)  # in which they are computed: coarse to fine
MEAN = -1  # in place of a filter's number
MOST = 48  # filters drawn of a layer
FLOOR = -30.0


def _gain(each: Transfer, unit: int) -> torch.Tensor:
    return each.mean if unit == MEAN else each.gain[unit]


def _decibels(gain: torch.Tensor) -> np.ndarray:
    return (20 * torch.log10(gain.clamp_min(1e-6))).numpy()


def _curves(parts: list[Transfer], unit: int) -> np.ndarray:
    """The first network's unit and the others' means, [K, R], without the constant."""
    return np.stack([_decibels(transfer_function.bode(_gain(each, MEAN if k else unit)))[1:]
                     for k, each in enumerate(parts)])


def panel(page: str, networks: list, found: dict, unit: int, jpeg: bool, layer: str | None) -> None:
    plain = Position(t("frequency.none"), "", _decibels(_gain(found[None][0], unit)), _curves(found[None], unit))
    positions = [plain]
    if jpeg:
        positions = [*(_position(quality, found.get(quality), unit) for quality in QUALITIES), plain]
    names = [network.title for network in networks]
    names[0] += "" if unit == MEAN else " · " + t("frequency.unit.one", k=unit + 1)
    cycles = spectrum.ring_radii(*plain.map.shape)[1:].numpy()
    words = {"map": t("frequency.transfer.map", name=names[0]), "chart": t("frequency.transfer.chart"),
             "alt": t("frequency.transfer.alt", name=names[0]), "x": t("frequency.axis.log"), "y": t("frequency.gain"),
             "slider": t("frequency.jpeg.slider"), "quality": "JPEG", "reference": t("frequency.jpeg.without"),
             "plain": t("frequency.jpeg.plain"), "unit": t("frequency.unit.cycles"), "mapX": t("frequency.across"),
             "mapY": t("frequency.down")}
    bode(positions, names, cycles, words, QUALITIES.index(ORDER[0]) if jpeg else 0,
         key=f"{page}.bode.{'jpeg' if jpeg else 'plain'}")
    st.caption(t("frequency.transfer.note.first" if layer is None else "frequency.transfer.note"))


def _position(quality: int, parts: list[Transfer] | None, unit: int) -> Position:
    if parts is None:
        return Position(str(quality))
    return Position(str(quality), _note(quality, parts[0].erased), _decibels(_gain(parts[0], unit)),
                    _curves(parts, unit))


def _note(quality: int, erased: float) -> str:
    if erased > 0.995:
        return t("frequency.erased.all", quality=quality)
    if erased < 0.005:
        return t("frequency.erased.none", quality=quality)
    return t("frequency.erased", quality=quality, share=number(100 * erased, 0))


def filters(dataset: DataSet, plain: Transfer, layer: str | None) -> None:
    """Every filter's own map, on one scale."""
    count = len(plain.gain)
    if count < 2:
        return
    st.markdown(f"**{t('frequency.filters', shown=min(count, MOST), n=count)}**")
    maps = spectrum.decibels(plain.gain, FLOOR).numpy()[:MOST]
    named = layer == LOGITS and count <= len(dataset.classes)
    cells = [tiles.tile(figures.coloured(each, FLOOR), class_name(dataset.classes[k]) if named else str(k + 1))
             for k, each in enumerate(maps)]
    st.html(tiles.grid(cells, 84 if count > 12 else 110))
    st.caption(t("frequency.filters.how", floor=number(-FLOOR, 0)))


def downloads(page: str, networks: list, found: dict, unit: int) -> None:
    """Curves of all networks, and the first one's map, at every quality that is known."""
    curves, maps = [], []
    for quality, parts in found.items():
        name = "" if quality is None else quality
        for k, (network, each) in enumerate(zip(networks, parts)):
            curve = transfer_function.bode(_gain(each, MEAN if k else unit))
            curves += [(network.title, name, float(f), float(gain)) for f, gain in
                       zip(spectrum.ring_radii(*each.left.shape), curve)]
        gain = _gain(parts[0], unit)
        height, width = gain.shape
        maps += [(networks[0].title, name, row - height // 2, column - width // 2, float(gain[row, column]),
                  float(parts[0].left[row, column])) for row in range(height) for column in range(width)]
    left, right, _ = st.columns([2, 2, 3])
    left.download_button(t("frequency.csv.curves"), tables.as_csv(
        [t("curves.model"), "JPEG", t("frequency.axis"), t("frequency.csv.gain")], curves),
        "epsilon-lab-transfer-curves.csv", "text/csv", icon=":material/download:", width="stretch",
        key=f"{page}.transfer.csv")
    right.download_button(t("frequency.csv.map"), tables.as_csv(
        [t("curves.model"), "JPEG", t("frequency.down"), t("frequency.across"), t("frequency.csv.gain"),
         t("frequency.csv.left")], maps), "epsilon-lab-transfer-map.csv", "text/csv", icon=":material/download:",
        width="stretch", key=f"{page}.transfer.map.csv")
