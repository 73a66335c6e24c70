import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from core import images
from core.data import SAMPLES, load
from core.errors import UserError
from core.images import as_seen, from_uint8, like_cifar10, like_mnist, quantized, read_upload, to_uint8
from core.models.loading import load as load_model

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
LOSSLESS = ("PNG", "BMP", "GIF")


def encoded(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def refused(key: str, content: bytes) -> UserError:
    with pytest.raises(UserError) as caught:
        read_upload(content, "it.png")
    assert caught.value.key == key, repr(caught.value.__cause__)
    assert "it.png" in str(caught.value)
    return caught.value


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """Red above, blue below, a white square top left."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.paste((30, 30, 200), (0, height // 2, width, height))
    image.paste((255, 255, 255), (0, 0, width // 4, height // 4))
    return image


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def declared_png(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that declares any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 99)) + \
        png_chunk(b"IEND", b"")


# numbers

def test_uint8_there_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    x = from_uint8(levels)
    assert x.shape == (1, 1, 16, 16) and x.dtype == torch.float32 and x.min() == 0 and x.max() == 1
    assert np.array_equal(to_uint8(x)[0, :, :, 0], levels)
    colour = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert from_uint8(colour).shape == (1, 3, 5, 7) and np.array_equal(to_uint8(from_uint8(colour))[0], colour)


def test_rounding_is_to_the_nearest_level():
    x = torch.tensor([0.0, 0.49, 0.51, 254.6, 300.0, -4.0]).view(1, 1, 1, 6) / 255
    assert to_uint8(x).ravel().tolist() == [0, 0, 1, 255, 255, 0]
    assert torch.equal(quantized(x[..., :4]) * 255, torch.tensor([0.0, 0.0, 1.0, 255.0]).view(1, 1, 1, 4))


# formats and modes

@pytest.mark.parametrize("kind", FORMATS)
def test_formats(kind):
    got = read_upload(encoded(picture(), kind))
    assert got.mode == "RGB" and got.size == (40, 30)
    for at in ((2, 2), (37, 2), (37, 27)):
        apart = np.abs(np.subtract(got.getpixel(at), picture().getpixel(at)))
        assert apart.max() <= (0 if kind in LOSSLESS else 15), (at, apart)


@pytest.mark.parametrize("mode, colour, seen", [
    ("1", 1, (255, 255, 255)), ("1", 0, (0, 0, 0)), ("L", 77, (77, 77, 77)), ("RGB", (10, 20, 30), (10, 20, 30)),
    ("LA", (77, 255), (77, 77, 77)), ("LA", (0, 0), (255, 255, 255)), ("LA", (0, 102), (153, 153, 153)),
    ("RGBA", (10, 20, 30, 255), (10, 20, 30)), ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
    ("RGBA", (0, 255, 0, 51), (204, 255, 204)),
    ("I;16", 0, (0, 0, 0)), ("I;16", 65535, (255, 255, 255)), ("I;16", 257 * 77, (77, 77, 77)),
    ("I;16", 256 * 77, (77, 77, 77)), ("I;16", 200, (1, 1, 1)),
])
def test_png_modes(mode, colour, seen):
    got = read_upload(encoded(Image.new(mode, (9, 7), colour)))
    assert got.mode == "RGB" and got.size == (9, 7)
    assert (np.asarray(got) == seen).all(), got.getpixel((0, 0))


def test_16_bits_as_older_pillows_read_them():
    assert images._eight_bits(Image.new("I", (3, 3), 257 * 90)).getpixel((1, 1)) == (90, 90, 90)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_see_through_parts_become_white(kind):
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    got = read_upload(encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert got.getpixel((2, 10)) == (255, 255, 255) and got.getpixel((17, 10)) == (255, 0, 0)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_palette_with_transparency(transparency):
    image = Image.new("P", (10, 10), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 5, 10))
    got = read_upload(encoded(image, transparency=transparency))
    assert got.getpixel((1, 1)) == (255, 255, 255) and got.getpixel((8, 8)) == (255, 0, 0)


@pytest.mark.parametrize("mode, colour", [("L", 50), ("RGB", (50, 60, 70))])
def test_a_colour_declared_see_through(mode, colour):
    assert (np.asarray(read_upload(encoded(Image.new(mode, (5, 5), colour), transparency=colour))) == 255).all()


def test_cmyk_jpeg():
    got = np.asarray(read_upload(encoded(picture().convert("CMYK"), "JPEG", quality=95)), int)
    assert np.abs(got[-3:] - (30, 30, 200)).max() <= 12


@pytest.mark.parametrize("orientation, white", [(1, (2, 2)), (3, (37, 27)), (6, (27, 2)), (8, (2, 37))])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(kind, orientation, white):
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = read_upload(encoded(picture(), kind, exif=exif))
    assert got.size == ((40, 30) if orientation in (1, 3) else (30, 40))
    assert min(got.getpixel(white)) > 235


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (12, 12), colour) for colour in ("red", "lime", "blue")]
    got = read_upload(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(np.asarray(got, int) - (255, 0, 0)).max() <= 8


# refusals

@pytest.mark.parametrize("kind", FORMATS)
def test_cut_off_files(kind):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8))
    content = encoded(image, kind)
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(UserError) as caught:
            read_upload(content[:int(len(content) * part)])
        assert caught.value.key in ("image.truncated", "image.unreadable")
    assert caught.value.key == "image.truncated" or kind == "WEBP"


@pytest.mark.parametrize("content", [
    b"", b"\0", b"hello", bytes(1000), np.random.default_rng(0).bytes(5000), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff",
    b"GIF89a", b"BM", b"RIFF\x24\0\0\0WEBP", b"%PDF-1.7\n", b"PK\x03\x04",
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>',
    b"<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>",
])
def test_no_image(content):
    assert refused("image.unreadable", content)


@pytest.mark.parametrize("kind, mode", [("TIFF", "F"), ("TIFF", "RGB"), ("PPM", "RGB"), ("ICO", "RGB"), ("TGA", "RGB"),
                                        ("PDF", "RGB"), ("EPS", "RGB"), ("PCX", "RGB"), ("JPEG2000", "RGB")])
def test_other_formats_are_not_opened(kind, mode):
    refused("image.unreadable", encoded(Image.new(mode, (16, 16)), kind))


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("width, height", [(20_000, 20_000), (10_000, 10_000), (8_000, 5_001), (2**31 - 1, 2**31 - 1),
                                           (40_000_001, 1)])
def test_decompression_bombs(width, height):
    content = declared_png(width, height)
    assert len(content) < 200
    assert "40 million" in str(refused("image.too_many_pixels", content))


@pytest.mark.filterwarnings("error:Image size")
def test_a_bomb_is_named_as_such_where_warnings_are_errors():
    refused("image.too_many_pixels", declared_png(10_000, 10_000))


def test_a_gif_bomb():
    content = bytearray(encoded(Image.new("L", (9, 9)), "GIF"))
    content[6:10] = b"\xff\xff\xff\xff"
    refused("image.too_many_pixels", bytes(content))


def test_too_many_bytes():
    assert "10 MB" in str(refused("image.too_many_bytes", encoded(picture()) + bytes(10_000_000)))
    content = encoded(picture())
    assert read_upload(content + bytes(10_000_000 - len(content))).size == (40, 30)


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "I;16"])
def test_large_pictures_are_averaged_down(mode):
    image = Image.new("L", (3000, 2000), 0)
    image.paste(255, (0, 0, 1500, 2000))
    levels = np.asarray(image)
    image = Image.fromarray(levels.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    got = read_upload(encoded(image))
    assert got.mode == "RGB" and got.size == (1500, 1000)
    assert got.getpixel((10, 10)) == (255, 255, 255) and got.getpixel((1490, 990)) == (0, 0, 0)


def test_large_pictures_keep_their_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_upload(encoded(picture(3000, 2000), "JPEG", exif=exif)).size == (1000, 1500)


def samples_of_every_format() -> list[bytes]:
    animation = [Image.new("P", (20, 20), k) for k in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    return [encoded(picture(), kind) for kind in FORMATS] + [
        encoded(picture().convert("RGBA")), encoded(picture().convert("P"), transparency=0),
        encoded(Image.new("I;16", (20, 20), 9999)), encoded(picture().convert("CMYK"), "JPEG"),
        encoded(picture(), "JPEG", exif=exif), encoded(picture(), exif=exif), encoded(picture().convert("1"), "BMP"),
        encoded(animation[0], "GIF", save_all=True, append_images=animation[1:]),
        encoded(picture(), "WEBP", lossless=True), encoded(picture(), "JPEG", progressive=True)]


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd EXIF data and of large pictures
@pytest.mark.parametrize("seed", range(4))
def test_mutations_give_an_image_or_a_sentence(seed):
    random, valid, outcomes = np.random.default_rng(seed), samples_of_every_format(), {"image": 0, "refused": 0}
    for turn in range(100):
        content = bytearray(valid[turn % len(valid)])
        for _ in range(random.integers(1, 4)):
            # headers are where it hurts: half of the changes fall into the first 64 bytes
            position = int(random.integers(min(len(content), 64) if random.random() < 0.5 else len(content)))
            change = random.choice([0, 1, 2], p=[0.8, 0.1, 0.1])
            if change == 0:
                content[position] = random.integers(256)
            elif change == 1:
                content[position:position + int(random.integers(1, 20))] = b""
            else:
                content[position:position] = random.bytes(int(random.integers(1, 20)))
        try:
            got = read_upload(bytes(content))
        except UserError:
            outcomes["refused"] += 1
            continue
        outcomes["image"] += 1
        assert got.mode == "RGB"
        assert like_mnist(got).shape == (28, 28) and like_cifar10(got).shape == (32, 32, 3)
    assert min(outcomes.values()) >= 10, outcomes


# digits

def drawn(ink, paper, shape: str = "seven", size: int = 280, mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (size, size), paper)
    pen, unit = ImageDraw.Draw(image), size / 28
    points = {"seven": [(5, 4), (15, 4), (9, 18)], "one": [(20, 10), (20, 24)], "dash": [(4, 4), (12, 4)],
              "ell": [(3, 3), (3, 20), (12, 20)]}[shape]
    pen.line([(x * unit, y * unit) for x, y in points], fill=ink, width=round(2 * unit), joint="curve")
    return image


def mass_centre(digit: np.ndarray) -> tuple[float, float]:
    weight = digit.astype(float)
    return tuple((weight.sum(axis=1 - axis) @ np.arange(28)) / weight.sum() for axis in (0, 1))


@pytest.mark.parametrize("ink, paper", [("black", "white"), ("white", "black"), ((60, 50, 40), (200, 210, 190)),
                                        ((20, 20, 20), (110, 110, 110)), ((150, 150, 150), (90, 90, 90)),
                                        ((0, 0, 160), (255, 255, 230))])
@pytest.mark.parametrize("shape", ["seven", "one", "dash", "ell"])
def test_digits_arrive_light_on_black_in_the_middle(ink, paper, shape):
    digit = like_mnist(drawn(ink, paper, shape))
    assert digit.shape == (28, 28) and digit.dtype == np.uint8
    assert digit.max() == 255 and np.median(digit) == 0 and digit[0].max() == digit[:, 0].max() == 0
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert 19 <= max(height, width) <= 20
    assert max(abs(centre - 13.5) for centre in mass_centre(digit)) < 1
    assert (width > height) == (shape == "dash")  # nothing is stretched


def test_dark_on_white_and_light_on_black_are_the_same_digit():
    dark, light = like_mnist(drawn("black", "white")), like_mnist(drawn("white", "black"))
    assert np.abs(dark.astype(int) - light).max() <= 1


def test_inversion_can_be_chosen():
    image = drawn("black", "white")
    assert np.array_equal(like_mnist(image, invert=True), like_mnist(image))
    assert not np.array_equal(like_mnist(image, invert=False), like_mnist(image))
    assert np.array_equal(as_seen(image, (1, 28, 28), True), like_mnist(image, True))


def test_a_thin_pen_stays_visible():
    image = Image.new("RGB", (1500, 1500), "white")
    ImageDraw.Draw(image).line([(300, 200), (900, 200), (600, 1300)], fill="black", width=4)
    assert like_mnist(image).max() == 255


def test_see_through_drawings_are_ink_on_paper():
    image = drawn((0, 0, 0, 255), (0, 0, 0, 0), mode="RGBA")
    assert np.array_equal(like_mnist(read_upload(encoded(image))), like_mnist(drawn("black", "white")))


@pytest.mark.parametrize("colour", ["white", "black", (128, 128, 128)])
@pytest.mark.parametrize("size", [(1, 1), (50, 50)])
def test_a_single_colour_is_a_black_image(colour, size):
    for invert in (None, True, False):
        digit = like_mnist(Image.new("RGB", size, colour), invert)
        assert digit.shape == (28, 28) and digit.max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (1, 3000), (3000, 2), (2, 2), (28, 28), (32, 32)])
def test_extreme_shapes(size):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3)).astype(np.uint8))
    for image in (noise, read_upload(encoded(noise))):
        assert as_seen(image, (1, 28, 28)).shape == (28, 28)
        assert as_seen(image, (3, 32, 32)).shape == (32, 32, 3)
        assert as_seen(image, (3, 32, 32)).dtype == np.uint8


def test_photos_are_cut_square_in_the_middle():
    image = Image.new("RGB", (300, 100), "red")
    image.paste((0, 255, 0), (100, 0, 200, 100))
    assert np.abs(like_cifar10(image).astype(int) - (0, 255, 0)).max() <= 20  # the filter's edge
    photo = load("cifar10", "sample", SAMPLES).images[3]
    assert np.array_equal(like_cifar10(Image.fromarray(photo)), photo)


@pytest.mark.parametrize("inverted", [True, False])
def test_real_digits_as_drawings_are_still_read(inverted):
    sample, model = load("mnist", "sample", SAMPLES), load_model("lenet5")
    seen = []
    for digit in sample.images[:200]:
        image = Image.fromarray(255 - digit if inverted else digit).resize((112, 112), Image.Resampling.BICUBIC)
        seen.append(from_uint8(like_mnist(read_upload(encoded(image, "JPEG")))))
    with torch.no_grad():
        right = (model(torch.cat(seen)).argmax(1) == torch.from_numpy(sample.labels[:200])).sum().item()
    assert right >= 190, right


def test_limits_are_what_the_messages_say():
    assert (images.MAX_MEGABYTES, images.MAX_MEGAPIXELS) == (10, 40)
