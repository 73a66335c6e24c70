"""JPEG one step at a time, with every intermediate result, and its differentiable twin.

RGB -> YCbCr -> chroma subsampling -> 8 x 8 blocks and their DCT -> quantization, and the way back (ITU-T T.81,
https://www.w3.org/Graphics/JPEG/itu-t81.pdf). The lossless coding of the levels is Pillow's: see `file_bytes`.
The functions of single steps do not round. `jpeg_steps` rounds between them, where and as libjpeg does;
`smooth_jpeg` only quantizes, smoothly. Planes are in grey levels, 0 to 255.
"""
import io
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core.images import to_uint8

SIDE = 8  # of a block, in pixels
SHIFT = 128  # takes 0..255 to -128..127, and is the Cb and Cr of every grey
SUBSAMPLING = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}  # rows and columns of Y for one of Cb and Cr

LUMINANCE = torch.tensor([  # T.81 table K.1: rows are vertical frequencies, columns horizontal ones
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99]])
CHROMINANCE = torch.tensor([  # T.81 table K.2
    [17, 18, 24, 47, 99, 99, 99, 99],
    [18, 21, 26, 66, 99, 99, 99, 99],
    [24, 26, 56, 99, 99, 99, 99, 99],
    [47, 66, 99, 99, 99, 99, 99, 99],
    *[[99] * SIDE] * 4])

RGB_TO_YCBCR = torch.tensor([
    [0.299, 0.587, 0.114],
    [-0.299 / 1.772, -0.587 / 1.772, 0.5],
    [0.5, -0.587 / 1.402, -0.114 / 1.402]], dtype=torch.float64)
# To 16 binary digits, as libjpeg has it: every row's sum, and with it the grey axis, is then exact.
RGB_TO_YCBCR = (RGB_TO_YCBCR * 2**16).round() / 2**16
YCBCR_TO_RGB = torch.tensor([
    [1, 0, 1.402],
    [1, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587],
    [1, 1.772, 0]], dtype=torch.float64)
GREY = torch.tensor([0, SHIFT, SHIFT]).view(3, 1, 1)

_FREQUENCY = torch.arange(SIDE, dtype=torch.float64)[:, None]
DCT = torch.cos(math.pi / SIDE * _FREQUENCY * (_FREQUENCY.T + 0.5)) * math.sqrt(2 / SIDE)
DCT[0] /= math.sqrt(2)


@dataclass(frozen=True)
class Plane:
    """One colour plane of N images on its way there and back, float64, [N, h, w] when subsampled.

    Its blocks are [N, R, K, 8, 8]: R = ceil(h / 8) rows of K = ceil(w / 8) blocks.
    """

    name: str  # "Y", "Cb" or "Cr"
    table: Tensor  # [8, 8], the quantization steps, 1 to 255
    full: Tensor  # [N, H, W], 0 to 255
    subsampled: Tensor  # [N, h, w], 0 to 255
    blocks: Tensor  # [N, R, K, 8, 8], -128 to 127
    coefficients: Tensor  # [N, R, K, 8, 8], -1024 to 1024, whole eighths: the precision that libjpeg has
    quantized: Tensor  # [N, R, K, 8, 8], whole numbers: all that the file keeps
    dequantized: Tensor  # [N, R, K, 8, 8]
    decoded_blocks: Tensor  # [N, R, K, 8, 8], -128 to 127
    decoded: Tensor  # [N, h, w], 0 to 255
    upsampled: Tensor  # [N, H, W], 0 to 255

    @property
    def nonzero(self) -> Tensor:
        """Coefficients of each block that quantization leaves: int64 [N, R, K], 0 to 64."""
        return self.quantized.count_nonzero((-2, -1))


@dataclass(frozen=True)
class Steps:
    """Everything that `jpeg_steps` computes: one plane of a grey image, three of a colour image."""

    pixels: Tensor  # [N, C, H, W], float64, 0 to 255
    planes: tuple[Plane, ...]
    output: Tensor  # [N, C, H, W] in [0, 1], of the input's type

    @property
    def nonzero(self) -> Tensor:
        """Coefficients of each image that quantization leaves: int64 [N]."""
        return sum(plane.nonzero.sum((1, 2)) for plane in self.planes)


def to_ycbcr(rgb: Tensor) -> Tensor:
    """[N, 3, H, W] RGB -> Y, Cb, Cr, all 0 to 255 (JFIF 1.02, BT.601 full range,
    https://www.w3.org/Graphics/JPEG/jfif3.pdf)."""
    return torch.einsum("ij,njhw->nihw", RGB_TO_YCBCR.to(rgb), rgb) + GREY.to(rgb)


def to_rgb(ycbcr: Tensor) -> Tensor:
    """[N, 3, H, W] Y, Cb, Cr -> RGB, the inverse of `to_ycbcr`."""
    return torch.einsum("ij,njhw->nihw", YCBCR_TO_RGB.to(ycbcr), ycbcr - GREY.to(ycbcr))


def subsample(plane: Tensor, rows: int, columns: int) -> Tensor:
    """[N, H, W] -> means of `rows` x `columns` pixels, [N, h, 8 K]: h = ceil(H / rows), K = ceil(W / 8 / columns).

    Edges repeat. As in libjpeg, rows are lengthened to whole blocks before the mean, columns after it (`to_blocks`).
    """
    return F.avg_pool2d(_padded(plane, rows, SIDE * columns), (rows, columns))


def upsample(plane: Tensor, rows: int, columns: int) -> Tensor:
    """[N, h, w] -> [N, rows * h, columns * w], factors 1 or 2: 3/4 of the nearer and 1/4 of the farther pixel
    on each axis (libjpeg's "fancy upsampling"; it repeats pixels in images up to 4 wide, this does not)."""
    plane = _doubled(plane.mT).mT if rows == 2 else plane
    return _doubled(plane) if columns == 2 else plane


def to_blocks(plane: Tensor) -> Tensor:
    """[N, h, w] -> [N, R, K, 8, 8], the edges repeated until whole blocks are full."""
    return _padded(plane, SIDE, SIDE).unflatten(2, (-1, SIDE)).unflatten(1, (-1, SIDE)).transpose(2, 3)


def from_blocks(blocks: Tensor, height: int, width: int) -> Tensor:
    """[N, R, K, 8, 8] -> [N, height, width], without what `to_blocks` added."""
    return blocks.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]


def dct(blocks: Tensor) -> Tensor:
    """The orthonormal two-dimensional DCT-II of [..., 8, 8]: D b D^T."""
    return DCT.to(blocks) @ blocks @ DCT.to(blocks).T


def inverse_dct(coefficients: Tensor) -> Tensor:
    """The inverse of `dct`: D^T c D."""
    return DCT.to(coefficients).T @ coefficients @ DCT.to(coefficients)


def quantization_table(base: Tensor, quality: int) -> Tensor:
    """LUMINANCE or CHROMINANCE at a quality from 1 to 100 as libjpeg scales it: [8, 8], 1 to 255. 50 is `base`."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((base * percent + 50) // 100).clamp(1, 255)


def smooth_round(x: Tensor) -> Tensor:
    """round(x) + (x - round(x))^3 (Shin and Song 2017, "JPEG-resistant Adversarial Images",
    https://machine-learning-and-security.github.io/papers/mlsec17_paper_54.pdf)."""
    nearest = x.round()
    return nearest + (x - nearest) ** 3


def jpeg_steps(x: Tensor, quality: int, subsampling: str = "4:2:0") -> Steps:
    """All steps for images [N, C, H, W] in [0, 1], C = 1 or 3, rounded to 8 bits first.

    Over the bundled samples the output is on average within 0.25 grey levels of Pillow's, whose DCT is in integers.
    Raises ValueError for other shapes, qualities and subsamplings.
    """
    _check(x, quality, subsampling)
    pixels = torch.from_numpy(to_uint8(x)).permute(0, 3, 1, 2).double()
    height, width = pixels.shape[2:]
    if pixels.shape[1] == 1:
        planes = [_plane("Y", pixels[:, 0], LUMINANCE, quality, 1, 1)]
        restored = planes[0].upsampled[:, None]
    else:
        y, cb, cr = to_ycbcr(pixels).unbind(1)
        factors = SUBSAMPLING[subsampling]
        planes = [_plane("Y", _half_up(y), LUMINANCE, quality, 1, 1),
                  _plane("Cb", _half_down(cb), CHROMINANCE, quality, *factors),
                  _plane("Cr", _half_down(cr), CHROMINANCE, quality, *factors)]
        restored = to_rgb(torch.stack([plane.upsampled for plane in planes], 1))
    return Steps(pixels, tuple(planes), _half_up(restored).clamp(0, 255).to(x) / 255)


def _plane(name: str, full: Tensor, base: Tensor, quality: int, rows: int, columns: int) -> Plane:
    table = quantization_table(base, quality).double()
    size = _subsampled_size(full, rows, columns)
    means = _alternately(subsample(full, rows, columns), _half_down, _half_up)
    blocks = to_blocks(means) - SHIFT
    coefficients = _half_up(dct(blocks) * 8) / 8
    quantized = coefficients.sign() * _half_up(coefficients.abs() / table)
    dequantized = quantized * table
    decoded_blocks = _half_up(inverse_dct(dequantized)).clamp(-SHIFT, SHIFT - 1)
    decoded = from_blocks(decoded_blocks, *size) + SHIFT
    ties = (_half_up, _half_down) if rows == 2 else (_half_down, _half_up)
    upsampled = _alternately(upsample(decoded, rows, columns), *ties)[:, :full.shape[1], :full.shape[2]]
    return Plane(name, table, full, means[..., :size[1]], blocks, coefficients, quantized, dequantized,
                 decoded_blocks, decoded, upsampled)


def smooth_jpeg(x: Tensor, quality: int, subsampling: str = "4:2:0") -> Tensor:
    """JPEG with a gradient: [N, C, H, W] in [0, 1] in and out, C = 1 or 3, the quantization by `smooth_round`.

    Pixels and planes are not rounded at all: `smooth_round` is flat at whole numbers, so pixels that come from a
    file would have no gradient. Raises ValueError as `jpeg_steps` does.
    """
    _check(x, quality, subsampling)
    if x.shape[1] == 1:
        return _smooth(x[:, 0] * 255, LUMINANCE, quality, 1, 1)[:, None] / 255
    ycbcr = to_ycbcr(x * 255)
    luma = _smooth(ycbcr[:, 0], LUMINANCE, quality, 1, 1)
    chroma = _smooth(ycbcr[:, 1:].flatten(0, 1), CHROMINANCE, quality, *SUBSAMPLING[subsampling])
    restored = torch.cat([luma[:, None], chroma.unflatten(0, (-1, 2))], 1)
    return to_rgb(restored).clamp(0, 255) / 255


def _smooth(full: Tensor, base: Tensor, quality: int, rows: int, columns: int) -> Tensor:
    table = quantization_table(base, quality).to(full)
    quantized = smooth_round(dct(to_blocks(subsample(full, rows, columns)) - SHIFT) / table)
    decoded = (inverse_dct(quantized * table) + SHIFT).clamp(0, 255)
    upsampled = upsample(from_blocks(decoded, *_subsampled_size(full, rows, columns)), rows, columns)
    return upsampled[:, :full.shape[1], :full.shape[2]]


def file_bytes(x: Tensor, quality: int, subsampling: str = "4:2:0") -> tuple[Tensor, Tensor]:
    """Sizes in bytes of the files that Pillow writes of [N, C, H, W] in [0, 1]: whole, and the coded coefficients
    alone, without headers and tables (their size depends on C only). int64 [N] each."""
    _check(x, quality, subsampling)
    options = {} if x.shape[1] == 1 else {"subsampling": subsampling}
    sizes = []
    for image in to_uint8(x):
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if x.shape[1] == 1 else image).save(file, "JPEG", quality=quality, **options)
        content = file.getvalue()
        sizes.append((len(content), len(content) - _scan_start(content) - 2))  # 2: the end-of-image marker
    whole, coded = torch.tensor(sizes).T
    return whole, coded


def _scan_start(content: bytes) -> int:
    """Where the coded data begin: after the segments (marker, length, payload) up to SOS, FF DA (T.81, annex B)."""
    position, marker = 2, 0
    while marker != 0xDA:
        marker = content[position + 1]
        position += 2 + int.from_bytes(content[position + 2:position + 4], "big")
    return position


def _subsampled_size(full: Tensor, rows: int, columns: int) -> tuple[int, int]:
    return math.ceil(full.shape[1] / rows), math.ceil(full.shape[2] / columns)


def _padded(plane: Tensor, rows: int, columns: int) -> Tensor:
    """[N, H, W] with its last row and column repeated up to multiples of `rows` and `columns`."""
    return F.pad(plane, (0, -plane.shape[2] % columns, 0, -plane.shape[1] % rows), mode="replicate")


def _doubled(plane: Tensor) -> Tensor:
    padded = F.pad(plane, (1, 1), mode="replicate")
    return torch.stack([0.75 * plane + 0.25 * padded[..., :-2], 0.75 * plane + 0.25 * padded[..., 2:]], -1).flatten(-2)


def _half_up(x: Tensor) -> Tensor:
    return (x + 0.5 + 1e-9).floor()  # 1e-9: a tie is one in whatever order a machine sums it up


def _half_down(x: Tensor) -> Tensor:
    return (x - 0.5 - 1e-9).ceil()


def _alternately(x: Tensor, even, odd) -> Tensor:
    """Columns rounded by `even` and `odd` in turn: libjpeg's way to keep ties from making the image brighter."""
    return torch.where(torch.arange(x.shape[-1]) % 2 == 0, even(x), odd(x))


def _check(x: Tensor, quality: int, subsampling: str) -> None:
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not x.numel() or not x.is_floating_point():
        raise ValueError(f"images must be floats [N, C, H, W] with C = 1 or 3, not {x.dtype} {list(x.shape)}")
    if not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"quality must be a whole number from 1 to 100, not {quality!r}")
    if subsampling not in SUBSAMPLING:
        raise ValueError(f"subsampling must be one of {', '.join(SUBSAMPLING)}, not {subsampling!r}")
