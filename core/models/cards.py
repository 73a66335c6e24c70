"""The networks: MODELS, a plain dict. What training measured stands in assets/weights/NAME.json."""
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from core.data import ROOT
from core.errors import UserError
from core.models.convnet import ConvNet3
from core.models.convnet6 import ConvNet6
from core.models.ensemble import Ensemble
from core.models.googlenet import googlenet
from core.models.lenet import LeNet5
from core.models.linear import SoftmaxRegression, ThreeOrSeven
from core.models.maxout import Maxout
from core.models.rbf import RBF
from core.models.resnet import ResNet
from core.models.tutorial_cnn import TutorialCNN
from core.models.wide_cnn import WideCNN

WEIGHTS = ROOT / "assets" / "weights"


@dataclass(frozen=True)
class ModelCard:
    """Facts about a network: what it is, what data it reads, and, in `measured`, how it was trained."""

    name: str
    title: str
    dataset: str
    shape: tuple[int, int, int]
    build: Callable[[], nn.Module]
    parameters: int
    paper: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[int, ...] = ()  # the classes that it can name, where these are not all of the data set's
    note: str = ""  # networks.note.NOTE is a sentence about it on the Networks page

    @property
    def weights(self) -> Path:
        return WEIGHTS / f"{self.name}.safetensors"

    @property
    def architecture(self) -> str:
        """The title without how it was trained: cards that share it have the same layers."""
        return self.title.partition(",")[0]

    def knows(self, labels: np.ndarray) -> bool:
        """Whether it can name all of these classes, as far as it knows only some of its data set's."""
        return not self.labels or bool(np.isin(labels, self.labels).all())

    @functools.cached_property
    def measured(self) -> dict:
        """The .json beside the weights: recipe, seed, wall time, data, SHA-256, clean and robust accuracy with n and
        interval. Empty for a network that has not been trained yet. Raises UserError for a damaged file."""
        path = self.weights.with_suffix(".json")
        if not path.is_file():
            return {}
        try:
            facts = json.loads(path.read_text("utf-8"))
            for key in ("recipe", "sha256", "accuracy"):
                facts[key]
            return facts
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError("model.card_damaged", name=self.name, path=path) from error


GREY, PHOTO = (1, 28, 28), (3, 32, 32)
MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

PLAIN_MEAN, PLAIN_STD = (0.0,), (1.0,)
ADVERSARIAL = "https://arxiv.org/abs/1412.6572"
MADRY = "https://arxiv.org/abs/1706.06083"
LENET = "http://yann.lecun.com/exdb/publis/pdf/lecun-01a.pdf"
RESNET = "https://arxiv.org/abs/1512.03385"
MAXOUT = "https://arxiv.org/abs/1302.4389"


def _digits(name, title, build, parameters, paper, mean=MNIST_MEAN, std=MNIST_STD, **more) -> ModelCard:
    return ModelCard(name, title, "mnist", GREY, build, parameters, paper, mean, std, **more)


def _pixels(name, title, build, parameters, paper, **more) -> ModelCard:
    """A network that reads pixels as they are, so that its weights are in units of pixels."""
    return _digits(name, title, build, parameters, paper, PLAIN_MEAN, PLAIN_STD, **more)


def _photos(name, title, build, parameters, paper) -> ModelCard:
    return ModelCard(name, title, "cifar10", PHOTO, build, parameters, paper, CIFAR10_MEAN, CIFAR10_STD)


_DEEPER = {2: 150_978, 4: 282_562, 6: 414_146, 10: 677_314, 20: 1_335_234}

MODELS: dict[str, ModelCard] = {card.name: card for card in (
    _pixels("tutorial-cnn", "Tutorial CNN", TutorialCNN, 21_840,
            "https://docs.pytorch.org/tutorials/beginner/fgsm_tutorial.html"),
    _digits("lenet5", "LeNet-5", LeNet5, 61_706, LENET),
    *(_digits(f"lenet5-{extra}", f"LeNet-5 + {extra} layers", functools.partial(LeNet5, extra), count, LENET,
              note="r2" if extra == 10 else "")
      for extra, count in _DEEPER.items()),
    *(_digits(f"lenet5-e{epochs}", f"LeNet-5, {epochs} epochs", LeNet5, 61_706, LENET)
      for epochs in (5, 10, 50, 100, 200)),
    _digits("lenet5-fgsm", "LeNet-5, FGSM-trained", LeNet5, 61_706, ADVERSARIAL),
    _digits("lenet5-pgd", "LeNet-5, PGD-trained", LeNet5, 61_706, MADRY),
    # Not trained and shipped, for LeNet-5 turned out to learn it too: an architecture for the Train page.
    _digits("cnn-pgd", "Wide CNN, PGD-trained", WideCNN, 821_706, MADRY),
    _digits("lenet5-ensemble", "5 x LeNet-5", functools.partial(Ensemble, LeNet5, 5), 308_530, ADVERSARIAL),
    _digits("resnet20-mnist", "ResNet-20 (digits)", functools.partial(ResNet, channels=1), 269_434, RESNET),
    _digits("googlenet", "GoogLeNet", googlenet, 5_603_882, "https://arxiv.org/abs/1409.4842"),
    _pixels("softmax", "Softmax regression", SoftmaxRegression, 7_850, ADVERSARIAL),
    _pixels("softmax-l1", "Softmax regression, L1 penalty", SoftmaxRegression, 7_850, ADVERSARIAL),
    _pixels("softmax-fgsm-25", "Softmax regression, FGSM .25", SoftmaxRegression, 7_850, ADVERSARIAL),
    _pixels("softmax-fgsm-30", "Softmax regression, FGSM .3", SoftmaxRegression, 7_850, ADVERSARIAL),
    _pixels("logistic37", "Logistic regression, 3 or 7", ThreeOrSeven, 785, ADVERSARIAL, labels=(3, 7)),
    _pixels("logistic37-worst", "Logistic regression, 3 or 7, worst case", ThreeOrSeven, 785, ADVERSARIAL,
            labels=(3, 7)),
    _pixels("maxout", "Maxout", Maxout, 1_233_610, MAXOUT),
    _pixels("maxout-adversarial", "Maxout, adversarial loss", Maxout, 1_233_610, ADVERSARIAL),
    _pixels("maxout-augmented", "Maxout, FGSM images added", Maxout, 1_233_610, ADVERSARIAL),
    _pixels("rbf", "RBF network", RBF, 238_510, ADVERSARIAL),
    # The first two of each data set are what the pages start with, and have shipped curves.
    _photos("convnet3", "ConvNet-3", ConvNet3, 437_066, LENET),
    _photos("resnet20", "ResNet-20", ResNet, 269_722, RESNET),
    _photos("lenet5-cifar", "LeNet-5 (RGB)", functools.partial(LeNet5, channels=3), 62_006, LENET),
    _photos("convnet3-fgsm", "ConvNet-3, FGSM-trained", ConvNet3, 437_066, "https://arxiv.org/abs/2202.01181"),
    _photos("convnet3-pgd", "ConvNet-3, PGD-trained", ConvNet3, 437_066, MADRY),
    _photos("convnet6-bn", "ConvNet-6 with batch norm", ConvNet6, 551_466, "https://arxiv.org/abs/1502.03167"),
    _photos("resnet14", "ResNet-14 wide", functools.partial(ResNet, 2, 64, stride=2), 2_735_946, RESNET),
    _photos("resnet14-fgsm", "ResNet-14 wide, FGSM-trained", functools.partial(ResNet, 2, 64, stride=2), 2_735_946,
            "https://arxiv.org/abs/2202.01181"),
)}

ARCHITECTURES = {card.architecture: card.name for card in reversed(MODELS.values())}  # -> the first card of each
