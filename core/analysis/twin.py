"""A network's modules anew around the same weights."""
import copy
import itertools

from torch import nn


def twin(model: nn.Module) -> nn.Module:
    """The same modules, copied, around the same parameters and buffers, without hooks: for hooks of one's own.

    A hook on the shared model would be called by other threads too, and would turn off their networks' fast paths. The
    networks compute plainly where they see a hook, so every layer's own result is there to be seen.
    """
    shared = itertools.chain(model.parameters(), model.buffers())
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    for module in copied.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return copied
