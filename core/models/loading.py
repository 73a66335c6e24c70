"""Networks ready to use: weights read safely, normalisation inside, parameters frozen."""
import contextlib
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn
from torch.overrides import TorchFunctionMode

from core.errors import UserError
from core.models.cards import MODELS, ModelCard

NOTE = "epsilon_lab"  # where weights trained in the dashboard carry their card, as JSON
LIMIT = 200  # MB a checkpoint may take in memory; the largest network here takes 22


class Classifier(nn.Module):
    """A network that reads pixels in [0, 1]: x [N, C, H, W] -> logits [N, classes]."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.plain = set(mean) == {0.0} and set(std) == {1.0}  # saves two passes over the images

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x if self.plain else (x - self.mean) / self.std)


class _Uninitialised(TorchFunctionMode):
    """No initial weights where they are overwritten at once: they take time, and random numbers of PyTorch's global
    generator, on which a training in another thread may live. (On the device "meta" tensors have no numbers at all, but
    drawing the first of them imports for 0.8 s.)"""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return function(*args, **(kwargs or {}))


def card_named(name: str) -> ModelCard:
    """The card of a model. Raises UserError when there is none of that name."""
    if name not in MODELS:
        raise UserError("model.unknown", name=name, available=", ".join(MODELS))
    return MODELS[name]


def layers(card: ModelCard) -> nn.Module:
    """Its network without numbers, on the device "meta"."""
    with torch.device("meta"), _Uninitialised():
        return card.build()


def load(name: str, device: torch.device | str = "cpu", checkpoint: bytes | str | os.PathLike | None = None,
         mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None) -> Classifier:
    """A model in eval mode with frozen parameters: pixels in [0, 1] in, logits out.

    `checkpoint` is a user's own file (a path, or its bytes) for the architecture of `name`; `mean` and `std`
    are what it was trained with, the card's by default. Raises UserError for an unknown name, a file that
    is damaged, unsafe or of another architecture, or a normalisation of the wrong length.
    The shipped weights must be those of the card.
    """
    card = card_named(name)
    if checkpoint is None:
        if not card.weights.is_file():
            raise UserError("model.weights_missing", name=name, path=card.weights)
        checkpoint = card.weights.read_bytes()
        if hashlib.sha256(checkpoint).hexdigest() != card.measured.get("sha256"):
            raise UserError("model.weights_damaged", name=name, path=card.weights)
        label = card.weights.name
    else:
        label = "checkpoint" if isinstance(checkpoint, bytes) else Path(checkpoint).name
    network = layers(card)
    network.to_empty(device="cpu")
    fill(network, read_tensors(checkpoint, label), label, card.title)
    classifier = Classifier(network, *_normalisation(card, mean, std))
    classifier.requires_grad_(False)
    return classifier.eval().to(device, memory_format=torch.channels_last)


def _normalisation(card: ModelCard, mean, std) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = tuple(card.mean if mean is None else mean), tuple(card.std if std is None else std)
    sensible = all(abs(value) < 1e6 for value in mean) and all(1e-6 < value < 1e6 for value in std)  # False for NaN too
    if not (sensible and len(mean) == len(std) == card.shape[0]):
        raise UserError("checkpoint.normalisation", channels=card.shape[0])
    return tuple(map(float, mean)), tuple(map(float, std))


def read_tensors(checkpoint: bytes | str | os.PathLike, label: str) -> dict[str, torch.Tensor]:
    """The state_dict in a .safetensors or .pth file; nothing in it is executed.

    Unwraps what people publish: nested under `state_dict`, keys prefixed `module.` (DataParallel).
    """
    if not isinstance(checkpoint, bytes):
        path = Path(checkpoint)
        if not path.is_file():
            raise UserError("checkpoint.missing", path=path)
        if path.stat().st_size > LIMIT * 1e6:
            raise UserError("checkpoint.too_large", name=label, limit=LIMIT)
        checkpoint = path.read_bytes()
    loaded = _read_safetensors(checkpoint) or _read_torch(checkpoint, label)
    for wrapper in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not loaded:
        raise UserError("checkpoint.unreadable", name=label)
    if not all(isinstance(k, str) and _is_plain(v) for k, v in loaded.items()):
        raise UserError("checkpoint.unsafe", name=label)
    return {key.removeprefix("module."): value for key, value in loaded.items()}


def note_of(content: bytes) -> dict | None:
    """The card inside weights that were trained in the dashboard, as far as it makes sense; None for other files.

    Only what loading needs is believed: {"architecture", "mean", "std"} are checked, the rest is words to show.
    """
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError, struct.error):
        length = struct.unpack("<Q", content[:8])[0]
        note = json.loads(json.loads(content[8:8 + min(length, 1_000_000)])["__metadata__"][NOTE])
        card = MODELS[note["architecture"]]
        _normalisation(card, note["mean"], note["std"])
        return note
    return None


def _is_plain(value) -> bool:
    """A tensor with a real number in memory for each entry (not sparse, quantised, complex or without data)."""
    return (isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
            and not value.is_quantized and not value.is_complex())


def _read_safetensors(content: bytes) -> dict | None:
    """None when the file is not of that format (it starts with the length of a JSON header)."""
    with contextlib.suppress(SafetensorError, struct.error, ValueError):
        if content[8:9] == b"{" and struct.unpack("<Q", content[:8])[0] < len(content):
            return safetensors.torch.load(content)
    return None


def _read_torch(content: bytes, label: str):
    try:
        # What torch reads as a zip file; its tensors are stored or, in a bomb, compressed.
        if content.startswith(b"PK\x03\x04"):
            if sum(part.file_size for part in zipfile.ZipFile(io.BytesIO(content)).infolist()) > LIMIT * 1e6:
                raise UserError("checkpoint.too_large", name=label, limit=LIMIT)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        unsafe = "GLOBAL" in str(error) or "Can only" in str(error)  # a class or function; anything else is damage
        raise UserError("checkpoint.unsafe" if unsafe else "checkpoint.unreadable", name=label) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError,
            OverflowError, MemoryError, AssertionError, struct.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError("checkpoint.unreadable", name=label) from error


def fill(network: nn.Module, tensors: dict[str, torch.Tensor], label: str, title: str) -> None:
    """Copy `tensors` into `network`. The first key or shape that differs becomes a UserError."""
    expected = network.state_dict()
    for key, own in expected.items():
        if key not in tensors:
            if key.endswith("num_batches_tracked"):  # old files lack it, and eval mode does not read it
                own.zero_()
                continue
            raise UserError("checkpoint.lacks", name=label, model=title, key=key)
        if tensors[key].shape != own.shape:
            raise UserError("checkpoint.shape", name=label, model=title, key=key,
                            given=tuple(tensors[key].shape), expected=tuple(own.shape))
        if not torch.isfinite(tensors[key].to(own.dtype)).all():  # 1e300 is finite in float64 only
            raise UserError("checkpoint.not_finite", name=label, key=key)
    for key in tensors:
        if key not in expected:
            raise UserError("checkpoint.surplus", name=label, model=title, key=key)
    network.load_state_dict(tensors, strict=False)
