"""Section two: how strongly networks answer to gratings of each frequency, with JPEG of any quality before them."""
import time

import streamlit as st

from core.analysis import transfer_function
from core.analysis.transfer_function import LOGITS, Transfer
from core.data import DataSet
from core.evaluation import require_fit
from dashboard import cache, controls
from dashboard.frequency import gains
from dashboard.frequency.gains import MEAN
from dashboard.frequency.gratings import amplitude_menu
from dashboard.i18n import class_name, number, t

FIRST = {28: ("lenet5", "lenet5-pgd"), 32: ("convnet3", "convnet3-fgsm")}
BACKGROUNDS = ("grey", "images")
IMAGES = 4  # of the data set, as backgrounds
INPUT = "first"  # in a menu of layers; None would give the menu a button to clear it
DEAF = 1e-3  # a gain below is rounding


def render(page: str, dataset: DataSet) -> dict | None:
    """Map and curves, live over JPEG quality; the layer's filters below."""
    names = controls.model_names(dataset)
    with st.sidebar:
        chosen = _networks(page, names, FIRST[dataset.shape[1]])
        if not chosen:
            st.info(t("frequency.nothing"), icon=":material/graphic_eq:")
            return None
        networks = [network for name in chosen if (network := controls.network(name)) is not None]
        if not networks:
            return None
        layer = _layer(page, networks[0], dataset)
        amplitude = amplitude_menu(page)
        st.session_state.setdefault(f"{page}.background", "grey")
        background = st.segmented_control(t("frequency.background"), BACKGROUNDS, key=f"{page}.background",
                                          format_func=lambda name: t(f"frequency.background.{name}"), required=True,
                                          persist_state="session", width="stretch")
        jpeg = st.toggle(t("frequency.jpeg"), key=f"{page}.jpeg", persist_state="session")
    for network in networks:
        require_fit(network.card, dataset)
    networks = [network for network in networks if layer in (None, LOGITS) or layer in _layers(network, dataset)]
    _section(page, dataset, networks, layer, amplitude, background, jpeg)
    return {"models": ",".join(chosen), "layer": layer, "amplitude": amplitude, "background": background,
            "jpeg": "yes" if jpeg else None}


def _networks(page: str, names: list[str], first: tuple) -> list[str]:
    """At most four, the default ones where nothing else was chosen."""
    key = f"{page}.models"
    kept = [name for name in st.session_state.get(key, first) if name in names]
    st.session_state[key] = kept[:4] if kept or key in st.session_state else names[:1]
    return st.multiselect(t("control.models"), controls.own_first(names), format_func=controls.model_title, key=key,
                          max_selections=4, persist_state="session", help=t("frequency.models.help"))


def _layers(network: controls.Network, dataset: DataSet) -> list[str]:
    return cache.layers(network.key, dataset.shape, _model=network.module)


def _layer(page: str, network: controls.Network, dataset: DataSet) -> str | None:
    """None for each network's first layer, LOGITS, or a name among the layers of `network`."""
    options = [INPUT, LOGITS, *_layers(network, dataset)[1:-1]]
    if st.session_state.get(f"{page}.layer") not in options:
        st.session_state[f"{page}.layer"] = INPUT
    words = {INPUT: t("frequency.layer.first"), LOGITS: t("frequency.layer.logits")}
    chosen = st.selectbox(t("frequency.layer"), options, key=f"{page}.layer", persist_state="session",
                          format_func=lambda name: words.get(name) or name.removeprefix("network."))
    return None if chosen == INPUT else chosen


@st.fragment
def _section(page: str, dataset: DataSet, networks: list, layer: str | None, amplitude: float, background: str,
             jpeg: bool) -> None:
    """What is known is drawn; each run measures one quality more."""
    key = (tuple(network.key for network in networks), f"{dataset.name}/{dataset.split}", layer, amplitude, background)
    begun = st.session_state.setdefault(f"{page}.begun", {}).setdefault(key, [])
    found = {None: _measured(dataset, networks, layer, amplitude, background, None)}
    found |= {quality: _measured(dataset, networks, layer, amplitude, background, quality) for quality in begun if jpeg}
    plain = found[None]
    st.subheader(_headline(networks, plain), anchor=False)
    left, right = st.columns([2, 5], gap="large", vertical_alignment="bottom")
    with left:
        unit = _unit(page, dataset, plain[0], layer)
    ahead = [quality for quality in gains.ORDER if quality not in begun] if jpeg else []
    if ahead:
        right.progress(len(begun) / len(gains.ORDER), t("frequency.progress", done=len(begun), all=len(gains.ORDER)))
    elif jpeg:
        right.caption(t("frequency.jpeg.how"))
    gains.panel(page, networks, found, unit, jpeg, layer)
    gains.filters(dataset, plain[0], layer)
    gains.downloads(page, networks, found, unit)
    if ahead:
        begun.append(ahead[0])
        time.sleep(0.05)  # a new run drops what the last one has not sent yet
        st.rerun()


def _measured(dataset: DataSet, networks: list, layer: str | None, amplitude: float, background: str,
              quality: int | None) -> list[Transfer]:
    images, which = None, ()
    if background == "images":
        images, which = dataset.batch(slice(0, IMAGES))[0], (f"{dataset.name}/{dataset.split}", IMAGES)
    settings = () if quality is None else (("quality", quality),)
    return [cache.transfer(network.key, dataset.shape, layer, amplitude, "jpeg" if settings else None, settings, which,
                           _model=network.module, _images=images) for network in networks]


def _headline(networks: list, plain: list[Transfer]) -> str:
    """How fast gratings are answered against slow ones: in words for the first network, in numbers for the others."""
    sentences = []
    for k, (network, each) in enumerate(zip(networks, plain)):
        tilt = transfer_function.tilt(each.mean)
        if each.gain.max() < DEAF:
            sentences.append(t("frequency.transfer.deaf", name=network.title))
        elif k:
            sign = "+" if tilt > 0 else "−"
            sentences.append(t("frequency.transfer.other", name=network.title, db=sign + number(abs(tilt), 1)))
        else:
            sentences.append(t("frequency.transfer.high" if tilt > 0 else "frequency.transfer.low", name=network.title,
                               db=number(abs(tilt), 1)))
    return " ".join(sentences)


def _unit(page: str, dataset: DataSet, plain: Transfer, layer: str | None) -> int:
    """The mean of the layer's filters, or one of them."""
    count = len(plain.gain)
    if not MEAN <= st.session_state.get(f"{page}.unit", MEAN) < count:
        st.session_state[f"{page}.unit"] = MEAN
    named = layer == LOGITS and count <= len(dataset.classes)
    return st.selectbox(t("frequency.unit"), range(MEAN, count), key=f"{page}.unit", persist_state="session",
                        format_func=lambda k: t("frequency.unit.mean", n=count) if k == MEAN else
                        class_name(dataset.classes[k]) if named else t("frequency.unit.one", k=k + 1))
