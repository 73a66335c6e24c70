"""JPEG compression before the network (Dziugaite et al. 2016, https://arxiv.org/abs/1608.00853), by Pillow."""
import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.defenses.base import Defense
from core.defenses.jpeg_steps import smooth_jpeg
from core.images import to_uint8
from core.settings import setting


@dataclass(eq=False)
class JPEG(Defense):
    """Round to 8 bits, compress at `quality` (1 worst, 100 best) and decompress.

    `subsampling` is that of the two colour channels; grey images have none. Not differentiable: an attacker
    who knows it uses `core.defenses.adaptive`.
    """

    title: ClassVar[str] = "JPEG"
    paper: ClassVar[str] = "https://arxiv.org/abs/1608.00853"
    differentiable: ClassVar[bool] = False
    slider: ClassVar[str] = "quality"

    quality: int = setting(75, 1, 100, 1)
    subsampling: str = setting("4:2:0", choices=("4:4:4", "4:2:2", "4:2:0"))

    def forward(self, x: Tensor) -> Tensor:
        compressed = np.stack([self.round_trip(image) for image in to_uint8(x)])
        return torch.from_numpy(compressed).permute(0, 3, 1, 2).to(x).div_(255)

    def twin(self, x: Tensor) -> Tensor:
        """Our own steps with a smooth quantisation (`core.defenses.jpeg_steps`)."""
        return smooth_jpeg(x, int(self.quality), self.subsampling)

    def round_trip(self, image: np.ndarray) -> np.ndarray:
        """One uint8 image [H, W, C], C = 1 or 3, as it looks after the file."""
        grey = image.shape[2] == 1
        options = {} if grey else {"subsampling": self.subsampling}
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if grey else image).save(file, "JPEG", quality=int(self.quality), **options)
        with Image.open(file) as back:
            return np.asarray(back).reshape(image.shape)
