"""PIL / uint8 <-> float32 NCHW in [0, 1], and reading an uploaded image safely."""
import io
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from core.errors import UserError

MAX_MEGABYTES = 10
MAX_MEGAPIXELS = 40
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
    """An RGB image from an untrusted file: first frame, upright (EXIF), alpha laid on white, 16 bits scaled to 8.

    Raises UserError when the file is too large, no image, truncated or a decompression bomb.
    """
    if len(content) > MAX_MEGABYTES * 1_000_000:
        raise UserError("image.too_many_bytes", name=name, limit=MAX_MEGABYTES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise UserError("image.too_many_pixels", name=name, limit=MAX_MEGAPIXELS) from error
        except Exception as error:  # Pillow's readers raise many kinds on hostile headers
            raise UserError("image.unreadable", name=name) from error
        if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
            raise UserError("image.too_many_pixels", name=name, limit=MAX_MEGAPIXELS)
        try:
            image.load()
            return _on_white(_eight_bits(ImageOps.exif_transpose(image)))
        except Exception as error:
            raise UserError("image.truncated", name=name) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 65535 if values.max(initial=0) > 255 or image.mode.startswith("I;16") else 255
        return Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def like_mnist(image: Image.Image, invert: bool | None = None) -> np.ndarray:
    """uint8 [28, 28]: light strokes on black, scaled to fit 20 x 20, centre of mass in the middle, as MNIST was
    made (http://yann.lecun.com/exdb/mnist). `invert` None decides by the border: a light border is paper.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if invert if invert is not None else border.mean() > 127:
        grey, border = 255 - grey, 255 - border
    background = np.median(border)
    if grey.max() <= background:
        return np.zeros((DIGIT_SIDE, DIGIT_SIDE), np.uint8)
    grey = ((grey - background) / (grey.max() - background)).clip(0, 1)  # paper to 0, the darkest ink to 1
    ink = grey > 0.2
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    digit = Image.fromarray((grey[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] * 255).astype(np.uint8))
    scale = DIGIT_BOX / max(digit.size)
    digit = digit.resize([max(1, round(side * scale)) for side in digit.size], Image.Resampling.LANCZOS)
    pixels = np.asarray(digit, dtype=np.float64)
    weight = pixels.sum() or 1.0
    centre = [(pixels.sum(axis=1 - axis) @ np.arange(pixels.shape[axis])) / weight for axis in (0, 1)]
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
