"""Grids of small images with a line under each, as HTML."""
import base64
import html
import io
from dataclasses import dataclass

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
.stacks { display: grid; gap: 18px 18px; font-size: 15px; font-variant-numeric: tabular-nums;
  grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); max-width: calc(var(--columns) * 236px); }
.stacks h4 { font-size: 16px; font-weight: 650; margin: 0; padding: 0 0 6px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.stacks img { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; border-radius: 4px;
  box-shadow: 0 0 0 1px rgba(128, 128, 128, 0.25); }
.stacks p { margin: 0; padding: 4px 0 10px; line-height: 22px; min-height: 36px; box-sizing: border-box;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; opacity: 0.85; }
.stacks p i { display: inline-block; width: 11px; height: 11px; margin-right: 5px; border-radius: 2px;
  vertical-align: -1px; }
.stacks p.legend { white-space: normal; }
.stacks p span { margin-right: 10px; white-space: nowrap; }
.headline { font-size: 20px; font-weight: 650; line-height: 28px; min-height: 28px; margin: 0; }
.stacks .changed { font-weight: 700; opacity: 1; color: color-mix(in srgb, #e8551f 82%, currentColor); }
@media (max-width: 640px) { .stacks { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px; }
  .headline { min-height: 84px; } }
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


def magnitude(values: np.ndarray) -> np.ndarray:
    """A map [H, W] in cividis: dark is 0 or less, bright its largest value."""
    share = np.clip(values / max(float(values.max()), 1e-12), 0, 1)
    return palette.scale("cividis")[np.round(255 * share).astype(int)]


def both(one: np.ndarray, other: np.ndarray, dark: bool) -> np.ndarray:
    """Two sets of pixels [H, W], each from 0 (not in it) to 1: a colour for either, one for both, on the ground's."""
    colours = [np.array([int(colour[k:k + 2], 16) for k in (1, 3, 5)]) for colour in
               (palette.BOTH_DARK if dark else palette.BOTH_LIGHT)]
    ground = palette.scale("diverging-dark" if dark else "diverging-light")[128]
    shares = (one * (1 - other), other * (1 - one), one * other, (1 - one) * (1 - other))
    mixed = sum(share[..., None] * colour for share, colour in zip(shares, [*colours, ground]))
    return np.round(mixed).astype(np.uint8)


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


@dataclass(frozen=True)
class Part:
    """One image of a stack, with a line under it, or a legend of (colour, word)."""

    image: np.ndarray
    alt: str
    caption: str = ""
    changed: bool = False
    legend: tuple[tuple[str, str], ...] = ()


def stack(title: str, parts: list[Part], foot: str = "") -> str:
    """Images under each other beneath a title, and a last line."""
    words = []
    for part in parts:
        line = html.escape(part.caption) or "".join(
            f'<span><i style="background:{colour}"></i>{html.escape(word)}</span>' for colour, word in part.legend)
        kind = " class=changed" if part.changed else " class=legend" if part.legend else ""
        words.append(f'<img src="{data_uri(part.image)}" alt="{html.escape(part.alt)}">'
                     f'<p title="{html.escape(part.caption)}"{kind}>{line}</p>')
    return f'<section><h4 title="{html.escape(title)}">{html.escape(title)}</h4>{"".join(words)}' \
           f'{f"<p>{html.escape(foot)}</p>" if foot else ""}</section>'


def headline(sentence: str) -> str:
    """The result in one sentence. A phone keeps room for three lines, so that nothing below jumps."""
    return f'{STYLE}<p class="headline">{html.escape(sentence)}</p>'


def stacks(sections: list[str]) -> str:
    """Stacks side by side, all of one width; two in a line on a phone."""
    return f'{STYLE}<div class="stacks" style="--columns: {len(sections)}">{"".join(sections)}</div>'


def waiting(title: str) -> str:
    """The room of a column that is still being computed."""
    return f'<section><h4>{html.escape(title)}</h4><i></i><i></i><p>…</p></section>'


def columns(sections: list[str]) -> str:
    """Columns of one width, as many in a line as fit."""
    return f'{STYLE}<div class="attacks">{"".join(sections)}</div>'


def grid(cells: list[str], smallest: int, largest: int | None = None) -> str:
    """As many columns as fit, each at least `smallest` pixels wide. Where `largest` is given, columns are that wide, and
    narrower on a phone so that two fit."""
    size = f"minmax({smallest}px, min({largest}px, 48%))" if largest else f"minmax({smallest}px, 1fr)"
    return f'{STYLE}<div class="tiles" style="grid-template-columns: repeat(auto-fill, {size})">' \
           f'{"".join(cells)}</div>'


def table(rows: list[tuple[str, list[str]]], smallest: int) -> str:
    """Rows of cells behind a heading each; scrolls sideways where it does not fit."""
    columns = len(rows[0][1])
    cells = "".join(f'<span class="head">{html.escape(head)}</span>{"".join(row)}' for head, row in rows)
    return f'{STYLE}<div class="tiles" style="grid-template-columns: max-content ' \
           f'repeat({columns}, minmax({smallest}px, 110px))">{cells}</div>'
