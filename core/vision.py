"""The one place that imports torchvision, and only when something asks for it (the import takes a second).

A CPU build of torch beside the registry's torchvision wheel fails at `import torchvision` with "operator
torchvision::nms does not exist". Declaring the two missing schemas first makes all but its compiled image
codecs work; JPEG is Pillow's here, so nothing is lost.
"""
import functools
import types

import torch

_library = None  # a torch.library.Library must stay alive for its declarations to hold


@functools.cache
def torchvision() -> types.ModuleType:
    """The torchvision module, with its data sets and models imported."""
    global _library
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    import torchvision.datasets
    import torchvision.models

    return torchvision
