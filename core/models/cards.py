"""The networks: MODELS, a plain dict. What training measured stands in assets/weights/NAME.json."""
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from core.data import ROOT
from core.models.convnet import ConvNet3
from core.models.lenet import LeNet5
from core.models.resnet import ResNet
from core.models.tutorial_cnn import TutorialCNN

WEIGHTS = ROOT / "assets" / "weights"


@dataclass(frozen=True)
class ModelCard:
    """Facts about a network: what it is, what data it reads, and, in `measured()`, how it was trained."""

    name: str
    title: str
    dataset: str
    shape: tuple[int, int, int]
    build: Callable[[], nn.Module]
    parameters: int
    paper: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def weights(self) -> Path:
        return WEIGHTS / f"{self.name}.safetensors"

    @functools.cached_property
    def measured(self) -> dict:
        """The .json beside the weights: recipe, seed, wall time, data, accuracy with n and interval, SHA-256.
        Empty for a network that has not been trained yet."""
        path = self.weights.with_suffix(".json")
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}


GREY, PHOTO = (1, 28, 28), (3, 32, 32)
MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

MODELS: dict[str, ModelCard] = {card.name: card for card in (
    ModelCard("tutorial-cnn", "Tutorial CNN", "mnist", GREY, TutorialCNN, 21_840,
              "https://docs.pytorch.org/tutorials/beginner/fgsm_tutorial.html", (0.0,), (1.0,)),
    ModelCard("lenet5", "LeNet-5", "mnist", GREY, LeNet5, 61_706,
              "http://yann.lecun.com/exdb/publis/pdf/lecun-01a.pdf", MNIST_MEAN, MNIST_STD),
    ModelCard("convnet3", "ConvNet-3", "cifar10", PHOTO, ConvNet3, 437_066,
              "https://arxiv.org/abs/1412.6806", CIFAR10_MEAN, CIFAR10_STD),
    ModelCard("resnet20", "ResNet-20", "cifar10", PHOTO, ResNet, 269_722,
              "https://arxiv.org/abs/1512.03385", CIFAR10_MEAN, CIFAR10_STD),
)}
