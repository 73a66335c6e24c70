"""Every cache: keyed by names, indices, settings and digests, never by arrays of a data set."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
import torch
from torch import nn

from core import data, evaluation
from core.analysis import checks, grad_cam, spectrum, transfer_function
from core.analysis.saliency import METHODS, Maps
from core.attacks import ATTACKS, AttackResult
from core.attacks.one_pixel import one_pixel_map
from core.defense_grid import Mended, mended_example
from core.defenses import DEFENSES
from core.device import best_device
from core.images import from_uint8
from core.models import loading


@st.cache_resource
def device() -> torch.device:
    return best_device()


@st.cache_resource(max_entries=6)
def dataset(name: str, split: str, directory: str) -> data.DataSet:
    return data.load(name, split, Path(directory))


@st.cache_resource(max_entries=16)
def model(name: str, digest: str = "", mean: tuple = (), std: tuple = (), _content: bytes | None = None) -> nn.Module:
    """A shipped model, or a user's checkpoint of that architecture, told apart by its digest."""
    return loading.load(name, device(), _content, mean or None, std or None)


@st.cache_data(max_entries=200, show_spinner=False)
def path(subject: tuple, shape: tuple, pixels: bytes, label: int | None, target: int | None,
         attack: str, settings: tuple, epsilons: tuple, _model: nn.Module) -> evaluation.EpsilonPath:
    """The epsilon path of one image. `subject` names the model; `pixels` are the image's own few bytes."""
    built = ATTACKS[attack](**dict(settings))
    x, y, goal = _asked(shape, pixels, label, target, _model)
    return evaluation.epsilon_path(_model, built, x, y, epsilons, target=goal, refine=10 if len(epsilons) > 2 else 1)


@st.cache_data(max_entries=200, show_spinner=False)
def stuck(subject: tuple, shape: tuple, pixels: bytes, label: int | None, target: int | None, _model: nn.Module) -> bool:
    """Whether the gradient of the loss at one image is exactly zero."""
    return bool(checks.stuck(_model, *_asked(shape, pixels, label, target, _model)))


@st.cache_data(max_entries=400, show_spinner=False)
def defended(subject: tuple, defense: str, settings: tuple, _model: nn.Module, _images) -> evaluation.Defended:
    """`_images` behind a defense; `subject` says which images and which model."""
    return evaluation.defended(_model, DEFENSES[defense](**dict(settings)), _images)


@st.cache_data(max_entries=400, show_spinner=False)
def over_slider(subject: tuple, defense: str, settings: tuple, _model: nn.Module, _image) -> evaluation.Defended:
    """One image behind a defense at every position of its slider."""
    return evaluation.over_slider(_model, DEFENSES[defense](**dict(settings)), _image)


@st.cache_data(max_entries=200, show_spinner=False)
def known(subject: tuple, shape: tuple, pixels: bytes, label: int | None, target: int | None, attack: str,
          settings: tuple, epsilons: tuple, defense: str, defense_settings: tuple, _model: nn.Module) -> torch.Tensor:
    """What the defended network says of one image under an attacker who knows the defense: [E, K]."""
    x, y, goal = _asked(shape, pixels, label, target, _model)
    return evaluation.known(_model, DEFENSES[defense](**dict(defense_settings)), ATTACKS[attack](**dict(settings)), x, y,
                            epsilons, target=goal, on_step=_give_way)


def _give_way(_: int) -> None:
    """Where Streamlit may break off a run that another click has overtaken: it looks whenever the state is read."""
    st.session_state.get("lang")


@st.cache_data(max_entries=50, show_spinner=False)
def examples(subject: tuple, data_name: str, attack: str, settings: tuple, epsilons: tuple, _model: nn.Module,
             _dataset: data.DataSet) -> list[evaluation.Example]:
    """A few images of a data set at every epsilon."""
    return evaluation.examples(_model, ATTACKS[attack](**dict(settings)), _dataset, epsilons)


@dataclass(frozen=True)
class Found:
    """What a black-box search made of one image."""

    adversarial: torch.Tensor  # [1, C, H, W]
    trace: np.ndarray  # [Q]: probability of the true class, the best so far after each query or generation
    queries: int
    success: bool
    predicted: int
    sure: float


@st.cache_data(max_entries=200, show_spinner=False)
def search(subject: tuple, shape: tuple, pixels: bytes, label: int | None, attack: str, settings: tuple,
           _model: nn.Module) -> Found:
    """One black-box search on one image."""
    x, y, _ = _asked(shape, pixels, label, None, _model)
    built = ATTACKS[attack](**dict(settings))
    found = built.traced(_model, x, y) if built.bounded else built.search(
        _model, x, y, target=None, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shares = _model(found.adversarial).softmax(dim=1)[0].cpu()
    predicted = int(shares.argmax())
    return Found(found.adversarial.cpu(), found.trace[:, 0].cpu().numpy(), int(found.queries[0]),
                 predicted != int(y), predicted, float(shares[predicted]))


@dataclass(frozen=True)
class PixelMap:
    """Probability of the true class and predicted class with each one pixel replaced, [H, W]."""

    probability: np.ndarray
    predicted: np.ndarray
    true: int


@st.cache_data(max_entries=100, show_spinner=False)
def pixel_map(subject: tuple, shape: tuple, pixels: bytes, label: int | None, colour: tuple,
              _model: nn.Module) -> PixelMap:
    """Each position set to `colour`."""
    x = image(shape, pixels).to(device())
    true = int(prediction(_model, x)) if label is None else label
    found = one_pixel_map(_model, x, true, colour)
    return PixelMap(found.probability.cpu().numpy(), found.predicted.cpu().numpy(), true)


@st.cache_data(max_entries=400, show_spinner=False)
def first_error(subject: tuple, shape: tuple, pixels: bytes, label: int | None, attack: str, settings: tuple, top: float,
                _model: nn.Module) -> tuple[AttackResult, float | None]:
    """One image just fooled, and the eps that it took."""
    x, y, _ = _asked(shape, pixels, label, None, _model)
    return evaluation.at_first_error(_model, ATTACKS[attack](**dict(settings)), x, y, top)


@st.cache_data(max_entries=200, show_spinner=False)
def towards_each(subject: tuple, shape: tuple, pixels: bytes, label: int | None, attack: str, settings: tuple,
                 classes: int, _model: nn.Module) -> AttackResult:
    """One image steered towards each class."""
    x, y, _ = _asked(shape, pixels, label, None, _model)
    return evaluation.towards_each(_model, ATTACKS[attack](**dict(settings)), x, y, classes)


@st.cache_data(max_entries=50, show_spinner=False)
def one_of_each(subject: tuple, data_name: str, skip: int, _model: nn.Module, _dataset: data.DataSet) -> np.ndarray:
    """Indices of one image of each class that the network reads correctly."""
    return evaluation.one_of_each(_model, _dataset, skip)


def image(shape: tuple, pixels: bytes) -> torch.Tensor:
    """[1, C, H, W] in [0, 1] from the bytes of a uint8 H x W x C image."""
    channels, height, width = shape
    return from_uint8(np.frombuffer(pixels, np.uint8).reshape(height, width, channels))


def _asked(shape: tuple, pixels: bytes, label: int | None, target: int | None,
           network: nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """One image x [1, C, H, W], its class y [1] (what the network reads where there is none), the target [1] or None."""
    x = image(shape, pixels).to(device())
    y = prediction(network, x) if label is None else torch.tensor([label], device=x.device)
    return x, y, None if target is None else torch.tensor([target], device=x.device)


def prediction(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(x).argmax(dim=1)


@st.cache_data(max_entries=200, show_spinner=False)
def attacked(subject: tuple, shape: tuple, pixels: bytes, label: int | None, attack: str, settings: tuple,
             _model: nn.Module) -> AttackResult:
    """One image under one attack."""
    x, y, _ = _asked(shape, pixels, label, None, _model)
    return ATTACKS[attack](**dict(settings))(_model, x, y)


@st.cache_data(max_entries=100, show_spinner=False)
def convolutions(subject: tuple, shape: tuple, _model: nn.Module) -> dict[str, tuple[int, int]]:
    """The convolutions of a network and the sizes of their maps."""
    return grad_cam.convolutions(_model, shape)


@st.cache_data(max_entries=400, show_spinner=False)
def saliency(subject: tuple, method: str, classes: tuple[int, ...], layer: str | None, _model: nn.Module,
             _images: torch.Tensor) -> Maps:
    """Maps of `_images` for a class each; `subject` says which images and which model."""
    found = METHODS[method](_model, _images.to(device()), torch.tensor(classes, device=device()), layer=layer)
    return Maps(found.signed.cpu(), found.magnitude.cpu())


@st.cache_data(max_entries=100, show_spinner=False)
def layers(subject: tuple, shape: tuple, _model: nn.Module) -> list[str]:
    """The layers whose answers can be measured, in the order in which they compute."""
    return transfer_function.layers(_model, shape)


@st.cache_data(max_entries=80, show_spinner=False)  # one may hold a megabyte
def transfer(subject: tuple, shape: tuple, layer: str | None, amplitude: float, defense: str | None, settings: tuple,
             backgrounds: tuple, _model: nn.Module, _images: torch.Tensor | None) -> transfer_function.Transfer:
    """A layer's gain at every frequency, behind a defense where one is named; `backgrounds` says which `_images`."""
    built = DEFENSES[defense](**dict(settings)) if defense else None
    return transfer_function.transfer_function(_model, shape, layer, amplitude=amplitude, backgrounds=_images,
                                               defense=built)


@st.cache_data(max_entries=50, show_spinner=False)
def perturbation_power(subject: tuple, data_name: str, attack: str, settings: tuple, n: int, _model: nn.Module,
                       _dataset: data.DataSet) -> np.ndarray | None:
    """The mean power of an attack's perturbations at each frequency, [H, W]; None where it changes no image."""
    last = None
    for last in spectrum.perturbation_spectra(_model, ATTACKS[attack](**dict(settings)), _dataset, n):
        pass
    return None if last is None else last.scaled.power.numpy()


@st.cache_data(max_entries=100, show_spinner=False)
def prediction_of(subject: tuple, _model: nn.Module, _image: torch.Tensor) -> tuple[int, float]:
    """Class and confidence of the one image that `subject` describes, [1, C, H, W]."""
    with torch.no_grad():
        shares = _model(_image.to(device())).softmax(dim=1)[0]
    return int(shares.argmax()), float(shares.max())


@st.cache_data(max_entries=50)
def mended(subject: tuple, attack: str, settings: tuple, eps: float | None, defense: str, defense_settings: tuple,
           limit: int, _model: nn.Module, _dataset: data.DataSet) -> Mended | None:
    """An image of a data set that an attack fools and a defense mends. `subject` says which network and data."""
    built = ATTACKS[attack](**dict(settings), **({} if eps is None else {"eps": eps}))
    return mended_example(_model, built, DEFENSES[defense](**dict(defense_settings)), _dataset,
                          limit=limit)
