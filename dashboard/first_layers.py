"""The weights into the first layers of two networks as images, side by side."""
import numpy as np
import streamlit as st

from core.analysis.weights import first_layer, smoothness
from core.data import CLASSES
from core.models.cards import MODELS
from dashboard import controls, tiles
from dashboard.i18n import number, t

PAIR = {"mnist": ("softmax", "softmax-fgsm-30"), "cifar10": ("convnet3", "convnet3-fgsm")}
MOST = 48  # filters drawn of one network


def draw(data: str) -> None:
    """The first layers of two networks, side by side."""
    st.subheader(t("networks.first"), anchor=False)
    st.caption(t("networks.first.how"))
    names = [name for name, card in MODELS.items() if card.dataset == data and card.weights.is_file()]
    names += [name for name, own in controls.own_networks().items() if MODELS[own["architecture"]].dataset == data]
    for column, side, first in zip(st.columns(2, gap="large"), ("left", "right"), PAIR[data]):
        with column:
            name = st.selectbox(t("control.model"), names, names.index(first) if first in names else 0,
                                format_func=controls.model_title, key=f"networks.{side}.{data}", persist_state="session",
                                label_visibility="collapsed")
            network = controls.network(name)
            if network is not None:
                _first_layer(network, CLASSES[data])


def _first_layer(network: controls.Network, classes: tuple[str, ...]) -> None:
    dark = st.context.theme.type == "dark"
    try:
        weights = first_layer(network.module.network).cpu()
    except ValueError:
        st.info(t("networks.undrawable"))
        return
    labels = network.card.labels
    named = hasattr(network.module.network, "class_weights")
    if labels:
        weights = weights[list(labels)]
        classes = [classes[k] for k in labels]
    images = [tiles.signed(unit, dark) if weights.shape[1] != 3 else tiles.coloured(unit) for unit in weights.numpy()[:MOST]]
    captions = [classes[k] if named else "" for k in range(len(images))]
    if labels:
        signs = np.sign(weights.numpy())
        images += [tiles.signed(unit, dark) for unit in signs]
        captions += [t("networks.sign", name=name) for name in classes]
    st.html(tiles.grid([tiles.tile(image, caption) for image, caption in zip(images, captions)],
                       84 if weights.shape[-1] > 7 else 58))
    shown = {"shown": min(len(weights), MOST), "n": len(weights)}
    if weights.shape[1] == 3:
        st.caption(t("networks.smoothness", value=number(smoothness(weights), 2), **shown))
    else:  # on digits what training against attacks leaves are thresholds on few pixels: legible, but not smooth
        st.caption(t("networks.shown", **shown))
