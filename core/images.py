"""PIL / uint8 <-> float32 NCHW in [0, 1], and reading an uploaded image safely."""
import io
import math

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from core.errors import UserError

MAX_MEGABYTES = 10
MAX_MEGAPIXELS = 40
KEPT_MEGAPIXELS = 4  # larger pictures are averaged down at once: networks here see 32 x 32, and memory is short
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
DIGIT_SIDE, DIGIT_BOX = 28, 20  # MNIST: the digit fits 20 x 20, its centre of mass at the centre of 28 x 28


def to_uint8(x: Tensor) -> np.ndarray:
    """[N, C, H, W] in [0, 1] -> uint8 [N, H, W, C], rounded to the nearest of 256 levels."""
    return (x.detach().cpu() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def from_uint8(images: np.ndarray) -> Tensor:
    """uint8 [H, W] or [H, W, C] -> float32 [1, C, H, W] in [0, 1]."""
    return torch.from_numpy(images.reshape(*images.shape[:2], -1).copy()).permute(2, 0, 1)[None].float() / 255


def quantized(x: Tensor) -> Tensor:
    """x as an 8-bit file would hold it."""
    return (x * 255).round() / 255


def read_upload(content: bytes, name: str = "file") -> Image.Image:
    """An RGB image from an untrusted file: first frame, upright (EXIF), alpha laid on white, 16 bits scaled to 8,
    averaged down by a whole factor to at most KEPT_MEGAPIXELS.

    Raises UserError when the file is too large, no image, truncated or a decompression bomb.
    """
    if len(content) > MAX_MEGABYTES * 1_000_000:
        raise UserError("image.too_many_bytes", name=name, limit=MAX_MEGABYTES)
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError("image.too_many_pixels", name=name, limit=MAX_MEGAPIXELS) from error
    except Exception as error:  # Pillow's readers raise many kinds on hostile headers
        raise UserError("image.unreadable", name=name) from error
    if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
        raise UserError("image.too_many_pixels", name=name, limit=MAX_MEGAPIXELS)
    try:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _on_white(_smaller(_eight_bits(image)))
    except Exception as error:
        raise UserError("image.truncated", name=name) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where the picture may be see-through."""
    if image.mode.startswith("I"):  # the only such files are PNGs of 16-bit grey
        levels = np.asarray(image).astype(np.uint32)
        levels += 128  # in place: 40 megapixels are 160 MB here
        levels //= 257
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    see_through = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    mode = "RGBA" if see_through else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _smaller(image: Image.Image) -> Image.Image:
    factor = math.ceil(math.sqrt(image.width * image.height / (KEPT_MEGAPIXELS * 1_000_000)))
    return image.reduce(factor) if factor > 1 else image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def like_mnist(image: Image.Image, invert: bool | None = None) -> np.ndarray:
    """uint8 [28, 28]: light strokes on black, scaled to fit 20 x 20, centre of mass in the middle, as MNIST was
    made (http://yann.lecun.com/exdb/mnist). `invert` None decides by the border: it is the paper, and the ink is
    what differs most from it. A picture of one colour gives a black image.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    background = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    if invert is None:
        invert = background - grey.min() > grey.max() - background
    if invert:
        grey, background = 255 - grey, 255 - background
    if grey.max() <= background:
        return np.zeros((DIGIT_SIDE, DIGIT_SIDE), np.uint8)
    grey = ((grey - background) / (grey.max() - background)).clip(0, 1)  # paper to 0, the strongest ink to 1
    ink = grey > 0.2
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    digit = Image.fromarray(grey[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].astype(np.float32))
    scale = DIGIT_BOX / max(digit.size)
    digit = digit.resize([max(1, round(side * scale)) for side in digit.size], Image.Resampling.LANCZOS)
    pixels = np.asarray(digit, dtype=np.float64).clip(0)
    pixels = (pixels * (255 / pixels.max())).round()  # a thin pen fades when scaled down; MNIST's strokes reach 255
    centre = [(pixels.sum(axis=1 - axis) @ np.arange(pixels.shape[axis])) / pixels.sum() for axis in (0, 1)]
    canvas = np.zeros((DIGIT_SIDE, DIGIT_SIDE), np.uint8)
    top, left = (min(max(round((DIGIT_SIDE - 1) / 2 - c), 0), DIGIT_SIDE - side)
                 for c, side in zip(centre, pixels.shape))
    canvas[top:top + pixels.shape[0], left:left + pixels.shape[1]] = pixels
    return canvas


def like_cifar10(image: Image.Image) -> np.ndarray:
    """uint8 [32, 32, 3]: the largest square in the middle, scaled down."""
    return np.asarray(ImageOps.fit(image, (32, 32), Image.Resampling.LANCZOS))


def as_seen(image: Image.Image, shape: tuple[int, int, int], invert: bool | None = None) -> np.ndarray:
    """What a network of input `shape` sees of an uploaded image: uint8 [28, 28] or [32, 32, 3]."""
    return like_mnist(image, invert) if shape[1] == DIGIT_SIDE else like_cifar10(image)
