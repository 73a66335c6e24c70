"""JPEG's steps against closed forms, the reference DCT and Pillow; the smooth twin against numerical gradients."""
import io

import numpy as np
import pytest
import torch
from PIL import Image

from core.data import SAMPLES, load
from core.defenses import JPEG
from core.defenses import jpeg_steps as js
from core.defenses.jpeg_steps import SUBSAMPLING, file_bytes, jpeg_steps, smooth_jpeg
from core.images import to_uint8

each_subsampling = pytest.mark.parametrize("subsampling", SUBSAMPLING)
each_case = pytest.mark.parametrize(("channels", "subsampling"), [(1, "4:4:4"), *((3, each) for each in SUBSAMPLING)])


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def photos():
    return load("cifar10", "sample", SAMPLES).batch(slice(0, 20))[0]


def digits():
    return load("mnist", "sample", SAMPLES).batch(slice(0, 5000, 50))[0]


def images(channels):
    return photos() if channels == 3 else digits()


def from_pillow(x, quality, subsampling):
    """Mean absolute difference to the file that Pillow writes and reads, in grey levels."""
    return 255 * (jpeg_steps(x, quality, subsampling).output - JPEG(quality, subsampling)(x)).abs().mean().item()


# Colour

def test_ycbcr_of_the_primaries_is_jfifs():
    """https://www.w3.org/Graphics/JPEG/jfif3.pdf: Y = 0.299 R + ..., Cb = 128 + (B - Y) / 1.772, Cr alike."""
    primaries = 255 * torch.eye(3, dtype=torch.float64).view(3, 3, 1, 1)
    luma = np.array([0.299, 0.587, 0.114]) * 255
    blue, red = np.array([0, 0, 255]), np.array([255, 0, 0])
    expected = np.stack([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402], 1)
    np.testing.assert_allclose(js.to_ycbcr(primaries).flatten(1).numpy(), expected, atol=2e-3)


def test_ycbcr_of_greys_has_no_chroma():
    grey = torch.arange(256, dtype=torch.float64).view(-1, 1, 1, 1)
    ycbcr = js.to_ycbcr(grey.expand(-1, 3, 2, 2))
    assert torch.equal(ycbcr[:, :1], grey.expand(-1, 1, 2, 2)) and (ycbcr[:, 1:] == 128).all()


def test_ycbcr_and_back_changes_nothing():
    rgb = 255 * noise(4, 3, 5, 6, dtype=torch.float64)
    assert (js.to_rgb(js.to_ycbcr(rgb)) - rgb).abs().max() < 0.01  # a hundredth of a level: libjpeg's 16 digits


# Chroma

def test_subsampling_takes_means_and_repeats_the_edges():
    plane = torch.tensor([[[0.0, 2, 4], [4, 6, 8], [1, 3, 9]]])
    assert js.subsample(plane, 2, 2).tolist() == [[[3] + [6] * 7, [2] + [9] * 7]]
    assert js.subsample(plane, 1, 2).tolist() == [[[1] + [4] * 7, [5] + [8] * 7, [2] + [9] * 7]]


def test_upsampling_weighs_the_nearer_pixel_three_times():
    plane = torch.tensor([[[0.0, 4], [8, 16]]])
    assert js.upsample(plane, 1, 2).tolist() == [[[0, 1, 3, 4], [8, 10, 14, 16]]]
    assert js.upsample(plane, 2, 1).tolist() == [[[0, 4], [2, 7], [6, 13], [8, 16]]]
    assert js.upsample(plane, 2, 2).shape == (1, 4, 4) and js.upsample(plane, 1, 1) is plane


# Blocks and the DCT

@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (32, 32), (13, 21), (1, 1)])
def test_blocks_tile_the_plane(height, width):
    plane = noise(2, height, width)
    blocks = js.to_blocks(plane)
    assert blocks.shape == (2, -(-height // 8), -(-width // 8), 8, 8)
    assert torch.equal(js.from_blocks(blocks, height, width), plane)
    assert torch.equal(blocks[:, 0, 0, :min(8, height), :min(8, width)], plane[:, :8, :8])
    assert (blocks[:, -1, -1, -1, -1] == plane[:, -1, -1]).all(), "the edge is repeated"


def test_dct_is_orthonormal_and_keeps_the_energy():
    blocks = noise(2, 3, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(js.DCT @ js.DCT.T, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(js.dct(blocks).square().sum((-2, -1)), blocks.square().sum((-2, -1)))  # Parseval
    torch.testing.assert_close(js.inverse_dct(js.dct(blocks)), blocks)


def test_dct_of_one_wave_is_one_coefficient():
    rows, columns = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    wave = torch.cos(np.pi / 8 * 2 * (rows + 0.5)) * torch.cos(np.pi / 8 * 5 * (columns + 0.5))
    expected = torch.zeros(8, 8, dtype=torch.float64)
    expected[2, 5] = 4  # row = vertical frequency; the norm of an 8 x 8 product of cosines
    torch.testing.assert_close(js.dct(wave), expected, rtol=0, atol=1e-12)


def test_dct_is_scipys():
    fft = pytest.importorskip("scipy.fft", reason="scipy comes with the reference libraries")
    blocks = noise(2, 3, 8, 8, dtype=torch.float64)
    np.testing.assert_allclose(js.dct(blocks).numpy(), fft.dctn(blocks.numpy(), axes=(-2, -1), norm="ortho"),
                               atol=1e-12)


# Quantization

@pytest.mark.parametrize("quality", range(1, 101))
def test_the_tables_are_those_in_pillows_files(quality):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    written = Image.open(file).quantization
    for number, base in enumerate((js.LUMINANCE, js.CHROMINANCE)):
        assert written[number] == js.quantization_table(base, quality).flatten().tolist()


# The whole

@pytest.mark.parametrize("quality", [1, 10, 40, 75, 90, 98, 100])
@each_case
def test_the_result_is_pillows(channels, subsampling, quality):
    assert from_pillow(images(channels), quality, subsampling) < 0.5


@pytest.mark.parametrize(("height", "width"), [(7, 9), (28, 28), (29, 45), (48, 40)])
@each_case
def test_the_result_is_pillows_at_any_size(channels, subsampling, height, width):
    x = images(channels)
    x = torch.cat([torch.cat([x, x.flip(3)], 3), torch.cat([x.flip(2), x.flip(2, 3)], 3)], 2)  # a 2 x 2 mirror
    x = x[:, :, -height:, -width:]
    for quality in (20, 75, 95):
        assert from_pillow(x, quality, subsampling) < 0.5


@each_case
def test_every_step_has_its_shape_and_range(channels, subsampling):
    x = noise(2, channels, 20, 37)
    steps = jpeg_steps(x, 60, subsampling)
    assert steps.pixels.shape == steps.output.shape == x.shape and steps.output.dtype == x.dtype
    assert [plane.name for plane in steps.planes] == ["Y", "Cb", "Cr"][:channels]
    for plane in steps.planes:
        rows, columns = SUBSAMPLING[subsampling] if plane.name != "Y" else (1, 1)
        height, width = -(-20 // rows), -(-37 // columns)
        assert plane.full.shape == plane.upsampled.shape == (2, 20, 37)
        assert plane.subsampled.shape == plane.decoded.shape == (2, height, width)
        grid = (2, -(-height // 8), -(-width // 8))
        for blocks in (plane.blocks, plane.coefficients, plane.quantized, plane.dequantized, plane.decoded_blocks):
            assert blocks.shape == (*grid, 8, 8)
        assert plane.table.shape == (8, 8) and plane.nonzero.shape == grid
        for levels in (plane.full, plane.subsampled, plane.decoded, plane.upsampled, plane.blocks + 128,
                       plane.decoded_blocks + 128):
            assert levels.min() >= 0 and levels.max() <= 255 and torch.equal(levels, levels.round())


@each_case
def test_the_steps_follow_from_one_another(channels, subsampling):
    for plane in jpeg_steps(images(channels)[:4], 60, subsampling).planes:
        assert torch.equal(js.from_blocks(plane.blocks, *plane.subsampled.shape[1:]) + 128, plane.subsampled)
        assert (plane.coefficients - js.dct(plane.blocks)).abs().max() <= 1 / 16 + 1e-6
        assert torch.equal(plane.quantized, plane.quantized.round())
        assert torch.equal(plane.dequantized, plane.quantized * plane.table)
        assert ((plane.dequantized - plane.coefficients).abs() <= plane.table / 2).all()
        assert (plane.decoded_blocks - js.inverse_dct(plane.dequantized).clamp(-128, 127)).abs().max() <= 0.5 + 1e-6
        assert torch.equal(plane.nonzero, (plane.quantized != 0).sum((-2, -1)))


@pytest.mark.parametrize("quality", [75, 88, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_grey_survives_exactly(channels, quality):
    """A step of at most 8 for the mean, as from quality 75 up, rounds it by at most half a level."""
    x = (torch.arange(256) / 255).view(-1, 1, 1, 1).expand(-1, channels, 12, 12)
    steps = jpeg_steps(x, quality)
    assert torch.equal(steps.output, x)
    luma = steps.planes[0]
    assert torch.equal(luma.coefficients[:, 0, 0, 0, 0], 8.0 * torch.arange(-128, 128).double())
    assert (luma.nonzero <= 1).all() and all((plane.nonzero == 0).all() for plane in steps.planes[1:])


def test_fewer_coefficients_are_left_at_a_lower_quality():
    left = [jpeg_steps(photos(), quality).nonzero for quality in (100, 75, 40, 10)]
    assert left[0].shape == (20,)
    assert all((more >= fewer).all() for more, fewer in zip(left, left[1:]))


@each_case
def test_images_are_independent_repeatable_and_left_alone(channels, subsampling):
    x = images(channels)[:3]
    before = x.clone()
    for run in (lambda x: jpeg_steps(x, 30, subsampling).output, lambda x: smooth_jpeg(x, 30, subsampling)):
        assert torch.equal(run(x), run(x))
        torch.testing.assert_close(torch.cat([run(image[None]) for image in x]), run(x), rtol=0, atol=1e-6)
    assert torch.equal(x, before)


# The file

@each_case
def test_the_files_are_pillows(channels, subsampling):
    x = images(channels)[:5]
    whole, coded = file_bytes(x, 75, subsampling)
    options = {"subsampling": subsampling} if channels == 3 else {}
    for image, size in zip(to_uint8(x), whole):
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=75, **options)
        assert size == len(file.getvalue())
    assert len((whole - coded).unique()) == 1, "headers and tables are alike in all files"


def test_a_plain_grey_costs_six_bits_a_block():
    """Grey 128: for each block 2 bits for a zero DC difference and 4 for end-of-block (T.81 tables K.3 and K.5)."""
    whole, coded = file_bytes(torch.full((1, 1, 32, 32), 128 / 255), 75)
    assert coded.tolist() == [16 * (2 + 4) // 8] and whole > 300


def test_a_file_grows_with_the_quality():
    sizes = [file_bytes(photos(), quality)[1] for quality in (10, 40, 75, 95)]
    assert all((small < large).all() for small, large in zip(sizes, sizes[1:]))


# The smooth twin

def test_smooth_rounding_is_the_papers():
    x = torch.tensor([-1.25, 0, 0.25, 0.75, 3], dtype=torch.float64, requires_grad=True)
    rounded = js.smooth_round(x)
    assert rounded.tolist() == [-1 - 1 / 64, 0, 1 / 64, 1 - 1 / 64, 3]
    gradient, = torch.autograd.grad(rounded.sum(), x)
    assert gradient.tolist() == [3 / 16, 0, 3 / 16, 3 / 16, 0]


@pytest.mark.parametrize("contrast", [0.4, 1.6], ids=["inside", "clamped"])
@pytest.mark.parametrize(("channels", "subsampling"), [(1, "4:4:4"), (3, "4:4:4"), (3, "4:2:0")])
def test_the_twins_gradient_is_the_numerical_one(channels, subsampling, contrast):
    """Away from the kinks: halves in the quantization, ends of the range."""
    x = 0.5 + contrast * (noise(1, channels, 7, 10, dtype=torch.float64) - 0.5)
    out = smooth_jpeg(x, 60, subsampling)
    assert bool(((out == 0) | (out == 1)).any()) == (contrast > 1)
    assert torch.autograd.gradcheck(lambda x: smooth_jpeg(x, 60, subsampling), x.requires_grad_(True), eps=1e-7)


@pytest.mark.parametrize("quality", [10, 40, 75, 95])
@each_case
def test_the_twin_is_near_the_exact_result(channels, subsampling, quality):
    """Within 2.5 grey levels, and much nearer than the image before it was compressed."""
    x = images(channels)
    exact, smooth = jpeg_steps(x, quality, subsampling).output, smooth_jpeg(x, quality, subsampling)
    assert smooth.shape == x.shape and smooth.dtype == x.dtype
    assert smooth.min() >= 0 and smooth.max() <= 1
    assert 255 * (smooth - exact).abs().mean() < 2.5
    assert (smooth - exact).abs().mean() < 0.6 * (x - exact).abs().mean()


@each_case
def test_the_twin_has_a_gradient_for_pixels_from_a_file(channels, subsampling):
    x = images(channels).requires_grad_(True)
    gradient, = torch.autograd.grad(smooth_jpeg(x, 75, subsampling).square().sum(), x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


# Errors

@pytest.mark.parametrize("function", [jpeg_steps, smooth_jpeg, file_bytes])
def test_what_is_no_batch_of_images_is_refused(function):
    for x in (noise(3, 8, 8), noise(1, 2, 8, 8), noise(0, 3, 8, 8), noise(1, 3, 0, 8),
              torch.zeros(1, 1, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"\[N, C, H, W\] with C = 1 or 3, not torch\."):
            function(x, 75)
    for quality in (0, 101, 50.5, "75"):
        with pytest.raises(ValueError, match="quality must be a whole number from 1 to 100, not"):
            function(noise(1, 3, 8, 8), quality)
    with pytest.raises(ValueError, match="4:4:4, 4:2:2, 4:2:0, not '4:1:1'"):
        function(noise(1, 3, 8, 8), 75, "4:1:1")
