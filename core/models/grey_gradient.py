"""conv + 2 x 2 max-pool + ReLU over grey images, with a fast gradient for the image."""
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def suits(conv: nn.Conv2d, x: Tensor) -> bool:
    """One input channel, an odd kernel, stride 1, frozen weights, a CPU, and windows that fit."""
    size, padding = conv.kernel_size[0], conv.padding[0]
    return (conv.in_channels == 1 and size % 2 == 1 and not conv.weight.requires_grad and x.device.type == "cpu"
            and not any((side + 2 * padding - size + 1) % 2 for side in x.shape[2:]))


class ConvPoolReLU(torch.autograd.Function):
    """relu(max_pool2d(conv2d(x), 2)): the same values, the same gradient in another order of summation.

    An attack on a small network spends a third of its time in this gradient: PyTorch writes a large tensor of which
    one entry in four is not 0, and convolves it to a single channel, for which its kernels are not made. Here only the
    winner of each 2 x 2 window is passed on, and one matrix product says what each window adds to the image. Of equal
    values the first counts, as in PyTorch: right wins over left, then lower over upper, only if larger.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, padding):
        y = F.conv2d(x, weight, bias, padding=padding).permute(0, 2, 3, 1)
        left, right = y.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).unbind(4)  # [N, H, 2, W, O]
        upper, lower = torch.maximum(left, right).unbind(2)
        pooled = torch.maximum(upper, lower).relu_()
        ctx.save_for_backward(_larger(right, left).movedim(2, 3), _larger(lower, upper), pooled, weight)
        ctx.padding = padding
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient):
        right_wins, lower_wins, pooled, weight = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient.permute(0, 2, 3, 1), pooled, 0)
        rows = _split(gradient, lower_wins)  # [N, H, W, 2, O]
        windows = _split(rows, right_wins)  # [N, H, W, 2 (column), 2 (row), O]
        return _scattered(windows, weight, ctx.padding), None, None, None


def _larger(one: Tensor, other: Tensor) -> Tensor:
    """1.0 where `one` is larger, else 0.0: bools would be turned into floats again and again, slowly."""
    return torch.gt(one, other, out=torch.empty(one.shape, dtype=one.dtype))


def _split(gradient: Tensor, second_wins: Tensor) -> Tensor:
    """Between the first and the second of a pair, in a new dimension 3."""
    pair = gradient.new_empty(*gradient.shape[:3], 2, *gradient.shape[3:])
    torch.mul(gradient, second_wins, out=pair[:, :, :, 1])
    torch.sub(gradient, pair[:, :, :, 1], out=pair[:, :, :, 0])
    return pair


def _scattered(windows: Tensor, weight: Tensor, padding: int) -> Tensor:
    """What the 2 x 2 windows of a convolution's output pass back to its input: [N, 1, height, width].

    Each window reaches reach x reach blocks of 2 x 2 pixels; one product gives what it adds to all of them.
    """
    count, height, width = windows.shape[:3]
    filters, _, size = weight.shape[:3]
    reach = (size + 1) // 2
    flat = F.pad(weight.reshape(filters, -1), (0, 1))  # a 0 behind, for pixels that a filter does not reach
    taps = flat[:, _taps(size)].transpose(0, 1).reshape(4 * filters, -1)
    parts = (taps.t() @ windows.reshape(-1, 4 * filters).t()).view(reach, reach, 4, count, height, width)
    blocks = parts.new_zeros(4, count, height + reach - 1, width + reach - 1)
    for row in range(reach):
        for column in range(reach):
            blocks[:, :, row:row + height, column:column + width] += parts[row, column]
    image = F.pixel_shuffle(blocks.transpose(0, 1), 2)
    return image[:, :, padding:image.shape[2] - padding, padding:image.shape[3] - padding]


@lru_cache
def _taps(size: int) -> Tensor:
    """Which of the size * size weights joins a pixel of a window to a pixel of a block, size * size for none:
    [4 (window: column, row), reach, reach (block), 4 (pixel: row, column)]."""
    reach = (size + 1) // 2
    taps = torch.full((2, 2, reach, reach, 2, 2), size * size)
    for x in range(2):
        for y in range(2):
            for i in range(size):
                for j in range(size):
                    taps[x, y, (y + i) // 2, (x + j) // 2, (y + i) % 2, (x + j) % 2] = i * size + j
    return taps.view(4, reach, reach, 4)
