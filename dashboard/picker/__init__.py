"""Thumbnails to choose an image from."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import streamlit as st

from dashboard.component import component, pack

HERE = Path(__file__).parent
_mount = component("picker", HERE, '<div class="thumbs"></div>')


def picker(images: np.ndarray, indices: np.ndarray, chosen: int, names: list[str], key: str,
           on_pick: Callable[[int], None]) -> None:
    """Show uint8 `images` [n, side, side(, 3)]; call `on_pick` with one of `indices` when it is clicked."""
    header = {"side": images.shape[1], "channels": 3 if images.ndim == 4 else 1, "indices": indices.tolist(),
              "names": names, "chosen": int(chosen)}

    def picked():
        index = st.session_state[key].get("pick")
        if index in header["indices"]:
            on_pick(index)

    _mount(data=pack(header, {"images": images}), key=key, on_pick_change=picked)
