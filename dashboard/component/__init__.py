"""What the live components have in common: the message that they are sent, and how they are mounted."""
import json
import struct
from pathlib import Path

import numpy as np
import streamlit as st

HERE = Path(__file__).parent
KINDS = {np.dtype("u1"): "u8", np.dtype("i1"): "i8", np.dtype("f4"): "f32", np.dtype("i4"): "i32"}


def pack(header: dict, arrays: dict[str, np.ndarray]) -> bytes:
    """uint32 length of the header, the header as JSON, then the arrays at offsets that are multiples of four."""
    blobs, places, offset = [], {}, 0
    for name, array in arrays.items():
        content = np.ascontiguousarray(array).tobytes()
        places[name] = {"kind": KINDS[array.dtype], "offset": offset, "count": array.size}
        content += b"\0" * (-len(content) % 4)
        blobs.append(content)
        offset += len(content)
    described = {**header, "arrays": places, "base": 0}
    # The header names the place where the arrays begin, which depends on its own length: pad it to a round one.
    size = -(-(len(json.dumps(described).encode()) + 16) // 64) * 64
    described["base"] = 4 + size
    return struct.pack("<I", size) + json.dumps(described).encode().ljust(size) + b"".join(blobs)


def component(name: str, folder: Path, html: str):
    """The mount of a component whose script and style are `name`.js and `name`.css in `folder`, behind what all share."""
    script = (HERE / "common.js").read_text("utf-8") + (folder / f"{name}.js").read_text("utf-8")
    style = (HERE / "slider.css").read_text("utf-8") + (folder / f"{name}.css").read_text("utf-8")
    return st.components.v2.component(f"epsilon_lab.{name}", html=html, css=style, js=script)
