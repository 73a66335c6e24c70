"""Grids of small images with a line under each, as HTML."""
import base64
import html
import io

import numpy as np
from PIL import Image

from dashboard import palette

STYLE = """<style>
.tiles { display: grid; gap: 10px 8px; font-size: 14px; font-variant-numeric: tabular-nums; overflow-x: auto; }
.tiles figure { margin: 0; min-width: 0; }
.tiles img { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; border-radius: 3px; }
.tiles figcaption, .tiles span { line-height: 19px; padding-top: 2px; text-align: center; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; opacity: 0.75; }
.tiles .changed { font-weight: 700; opacity: 1; color: color-mix(in srgb, #e8551f 82%, currentColor); }
.attacks { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 20px 22px; font-size: 15px;
  font-variant-numeric: tabular-nums; }
.attacks section { max-width: 260px; }
.attacks h4 { font-size: 16px; font-weight: 650; margin: 0; padding: 0 0 6px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.attacks img, .attacks i { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; margin-bottom: 10px;
  border-radius: 4px; box-shadow: 0 0 0 1px rgba(128, 128, 128, 0.25); }
.attacks p { margin: 0; line-height: 22px; opacity: 0.8; }
.attacks .changed { font-weight: 700; opacity: 1; color: color-mix(in srgb, #e8551f 82%, currentColor); font-size: 16px; }
.shares { border-collapse: separate; border-spacing: 4px; width: 100%; font-size: 15px;
  font-variant-numeric: tabular-nums; table-layout: fixed; }
.shares th { font-weight: 600; text-align: left; font-size: 14px; opacity: 0.85; padding: 2px 4px; }
.shares td { border-radius: 5px; padding: 5px 8px; border: 0; }
.shares td[style] { background: linear-gradient(90deg, color-mix(in srgb, var(--st-primary-color, #3f73d8) 34%, transparent)
  var(--share), rgba(128, 128, 128, 0.13) var(--share)); }
.shares b { font-weight: 650; display: block; line-height: 20px; }
.shares small { font-size: 12.5px; opacity: 0.75; white-space: nowrap; }
.tiles .head { align-self: center; text-align: right; padding-right: 6px; opacity: 1; font-weight: 600; }
</style>"""


def data_uri(image: np.ndarray) -> str:
    """A uint8 image [H, W] or [H, W, C] as a PNG inside a link."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def signed(delta: np.ndarray, dark: bool) -> np.ndarray:
    """A perturbation [C, H, W] as a colour image: no change is the ground's colour, each sign has its own, the largest
    change is full colour. Of several channels the mean counts."""
    mean = delta.mean(axis=0)
    share = mean / max(float(np.abs(mean).max()), 1e-12)
    return palette.scale("diverging-dark" if dark else "diverging-light")[np.round(128 + 127 * share).astype(int)]


def coloured(weights: np.ndarray) -> np.ndarray:
    """A filter [3, h, w] as a colour image: mid-grey is 0, the largest weight reaches black or full colour."""
    share = weights / max(float(np.abs(weights).max()), 1e-12)
    return np.round(127.5 + 127.5 * share).astype(np.uint8).transpose(1, 2, 0)


Cell = tuple[float, str, str]  # a share from 0 to 1, the same in words, how sure it is


def numbers(heads: list[str], first: Cell, names: list[str], rows: list[list[Cell]]) -> str:
    """A table of shares, each with its interval under it and a bar behind. heads[0] names the `first` cell, which stands
    alone; the others stand above the columns of `rows`, which have `names`."""
    def cell(share: float, words: str, sure: str) -> str:
        return (f'<td style="--share:{100 * share:.1f}%"><b>{html.escape(words)}</b>'
                f'<small>{html.escape(sure)}</small></td>')

    columns = heads[1:]
    lines = [f"<tr><th>{html.escape(heads[0])}</th>{cell(*first)}{'<td></td>' * (max(3, len(columns)) - 1)}</tr>"]
    if columns:
        lines.append(f"<tr><th></th>{''.join(f'<th>{html.escape(name)}</th>' for name in columns)}</tr>")
    lines += [f"<tr><th>{html.escape(name)}</th>{''.join(cell(*each) for each in cells)}</tr>"
              for name, cells in zip(names, rows)]
    return f'{STYLE}<table class="shares">{"".join(lines)}</table>'


def strip(images: list[np.ndarray], factor: int = 4) -> bytes:
    """Images side by side as one PNG, each pixel enlarged."""
    row = np.concatenate([image.reshape(*image.shape[:2], -1) for image in images], axis=1)
    file = io.BytesIO()
    Image.fromarray(np.kron(row, np.ones((factor, factor, 1), np.uint8)).squeeze()).save(file, "PNG")
    return file.getvalue()


def tile(image: np.ndarray, caption: str, changed: bool = False) -> str:
    """One image with its caption, which stands out when `changed`."""
    words = html.escape(caption)
    return (f'<figure><img src="{data_uri(image)}" alt="{words}">'
            f'<figcaption title="{words}"{" class=changed" if changed else ""}>{words}</figcaption></figure>')


def column(title: str, noise: np.ndarray, image: np.ndarray, lines: list[str], changed: bool, noise_alt: str,
           image_alt: str) -> str:
    """An attack's noise above its adversarial image, with lines of numbers under them."""
    words = "".join(f'<p class="{"changed" if changed and not k else ""}">{html.escape(line)}</p>'
                    for k, line in enumerate(lines))
    return (f'<section><h4>{html.escape(title)}</h4><img src="{data_uri(noise)}" alt="{html.escape(noise_alt)}">'
            f'<img src="{data_uri(image)}" alt="{html.escape(image_alt)}">{words}</section>')


def waiting(title: str) -> str:
    """The room of a column that is still being computed."""
    return f'<section><h4>{html.escape(title)}</h4><i></i><i></i><p>…</p></section>'


def columns(sections: list[str]) -> str:
    """Columns of one width, as many in a line as fit."""
    return f'{STYLE}<div class="attacks">{"".join(sections)}</div>'


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
