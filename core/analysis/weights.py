"""What a network's first layer looks for, as images."""
import torch
from torch import Tensor, nn


def first_layer(network: nn.Module) -> Tensor:
    """The weights into each unit of the first layer: [units, C, h, w], a filter or an image of the input's size.

    A linear network's are those of its classes [K, 1, 28, 28] (`class_weights`), a dense layer's on 784 inputs are
    28 x 28. Raises ValueError for another shape.
    """
    if hasattr(network, "class_weights"):
        return network.class_weights().detach().view(-1, 1, 28, 28)
    weight = next((part.weight for part in network.modules() if isinstance(part, (nn.Conv2d, nn.Linear))
                   ), None)
    if hasattr(network, "centres"):
        weight = network.centres
    if weight is None or (weight.ndim == 2 and weight.shape[1] != 784):
        raise ValueError("the first layer cannot be drawn as images")
    weight = weight.detach()
    return weight if weight.ndim == 4 else weight.view(-1, 1, 28, 28)


def smoothness(weights: Tensor) -> float:
    """How alike neighbouring pixels of images [n, C, h, w] are: their mean correlation, from -1 to 1. On photos
    near 0 is noise, and what a person can read is smooth; what is left of a filter on digits after training against
    attacks is a threshold on few pixels, which is legible and not smooth."""
    across = torch.stack([weights[..., :, :-1].flatten(), weights[..., :, 1:].flatten()])
    down = torch.stack([weights[..., :-1, :].flatten(), weights[..., 1:, :].flatten()])
    return float(torch.corrcoef(torch.cat([across, down], dim=1))[0, 1])
