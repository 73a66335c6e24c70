"""JPEG's five steps on one image, live over quality: everything arrives in one message, the browser redraws from it."""
from pathlib import Path

import numpy as np
import streamlit as st
import torch

from core.defenses.jpeg_steps import Steps, file_bytes, jpeg_steps
from core.evaluation import Defended
from core.images import to_uint8
from dashboard import palette
from dashboard.component import component, pack
from dashboard.i18n import class_name, language, t

HERE = Path(__file__).parent
QUALITIES = range(1, 101)
WORDS = ("headline", "reads", "readsBefore", "quality", "step1", "step1grey", "step2", "step2grey", "step3", "step4",
         "step5", "original", "luminance", "thinned", "coefficients", "kept", "result", "block", "before", "table", "after",
         "restored")

_mount = component("jpeg", HERE, (HERE / "jpeg.html").read_text("utf-8"))


def jpeg_lab(message: bytes, key: str) -> int | None:
    """Show the steps. The quality at which the slider was last released, if it was."""
    return _mount(data=message, key=key, on_release_change=lambda: None).get("release")


@st.cache_data(max_entries=50, show_spinner=False)
def _steps(pixels: bytes, subsampling: str, _x: torch.Tensor) -> tuple[list[dict], dict[str, np.ndarray]]:
    """The planes of an image, `pixels` its bytes, as the header tells them, and their arrays at every quality."""
    by_quality: list[Steps] = [jpeg_steps(_x, quality, subsampling) for quality in QUALITIES]
    described, arrays = [], {"bytes": np.array([int(file_bytes(_x, quality, subsampling)[1]) for quality in QUALITIES],
                                               np.int32)}
    for k, plane in enumerate(by_quality[0].planes):
        each = [steps.planes[k] for steps in by_quality]
        described.append({"small": list(plane.subsampled.shape[1:]), "blocks": list(plane.blocks.shape[1:3])})
        arrays |= {
            f"full{k}": plane.full.numpy().astype(np.uint8), f"small{k}": plane.subsampled.numpy().astype(np.uint8),
            f"coefficients{k}": plane.coefficients.numpy().astype(np.float32),
            f"tables{k}": np.stack([one.table.numpy() for one in each]).astype(np.uint8),
            f"quantized{k}": np.concatenate([one.quantized.numpy() for one in each]).astype(np.int32),
        }
    return described, arrays


def message(x: torch.Tensor, subsampling: str, quality: int, after: Defended, before: tuple[int, float],
            classes: tuple[str, ...]) -> bytes:
    """Pack the steps of x [1, C, H, W]. `after` is the image behind JPEG at each quality and what the network says of
    it, `before` its class and confidence without JPEG."""
    x = x.cpu()
    planes, arrays = _steps(to_uint8(x).tobytes(), subsampling, x)
    header = {
        "language": language(), "text": {word: t(f"jpeg.{word}") for word in WORDS},
        "classes": [class_name(name) for name in classes], "shape": list(x.shape[1:]), "quality": quality,
        "hues": {"light": palette.CLASSES_LIGHT, "dark": palette.CLASSES_DARK},
        "before": {"class": before[0], "sure": before[1]}, "planes": planes,
    }
    return pack(header, arrays | {
        "original": to_uint8(x), "results": to_uint8(after.images), "probabilities": after.probabilities.numpy(),
        "divergingLight": palette.scale("diverging-light"), "divergingDark": palette.scale("diverging-dark"),
    })
