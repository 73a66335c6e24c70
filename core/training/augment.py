"""Random shifts and mirror images of a batch, drawn for each image."""
import torch
from torch.nn import functional as F

from core.training.recipes import Recipe


def augment(x: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """A random H x W window of each image of x [N, C, H, W] padded with zeros, mirrored with probability 1/2
    where the recipe says so (Lee et al. 2015, https://arxiv.org/abs/1409.5185). Same shape out."""
    if recipe.augment == "none":
        return x
    n, _, height, width = x.shape
    top, left = torch.randint(2 * recipe.pad + 1, (2, n, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    if recipe.augment == "crop-flip":
        mirrored = torch.rand(n, generator=generator) < 0.5
        columns[mirrored] = columns[mirrored].flip(1)
    rows, columns = rows.to(x.device), columns.to(x.device)
    image = torch.arange(n, device=x.device)[:, None, None]
    padded = F.pad(x, [recipe.pad] * 4)
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
