"""Grids of small images with a line under each, as HTML."""
import base64
import html
import io

import numpy as np
from PIL import Image

STYLE = """<style>
.tiles { display: grid; gap: 10px 8px; font-size: 14px; font-variant-numeric: tabular-nums; overflow-x: auto; }
.tiles figure { margin: 0; min-width: 0; }
.tiles img { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; border-radius: 3px; }
.tiles figcaption, .tiles span { line-height: 19px; padding-top: 2px; text-align: center; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; opacity: 0.75; }
.tiles .changed { font-weight: 700; opacity: 1; color: #c8481c; }
.tiles .head { align-self: center; text-align: right; padding-right: 6px; opacity: 1; font-weight: 600; }
</style>"""


def data_uri(image: np.ndarray) -> str:
    """A uint8 image [H, W] or [H, W, C] as a PNG inside a link."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def tile(image: np.ndarray, caption: str, changed: bool = False) -> str:
    """One image with its caption, which stands out when `changed`."""
    words = html.escape(caption)
    return (f'<figure><img src="{data_uri(image)}" alt="{words}">'
            f'<figcaption title="{words}"{" class=changed" if changed else ""}>{words}</figcaption></figure>')


def grid(cells: list[str], smallest: int) -> str:
    """As many columns as fit, each at least `smallest` pixels wide."""
    return f'{STYLE}<div class="tiles" style="grid-template-columns: repeat(auto-fill, minmax({smallest}px, 1fr))">' \
           f'{"".join(cells)}</div>'


def table(rows: list[tuple[str, list[str]]], smallest: int) -> str:
    """Rows of cells behind a heading each; scrolls sideways where it does not fit."""
    columns = len(rows[0][1])
    cells = "".join(f'<span class="head">{html.escape(head)}</span>{"".join(row)}' for head, row in rows)
    return f'{STYLE}<div class="tiles" style="grid-template-columns: max-content ' \
           f'repeat({columns}, minmax({smallest}px, 110px))">{cells}</div>'
