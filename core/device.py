"""Where the computing happens."""
import torch


def best_device() -> torch.device:
    """CUDA when there is one, then Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        torch.backends.cudnn.allow_tf32 = False  # else convolutions would round to 10 bits: numbers here are float32's
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """What to call it on a page: 'NVIDIA H100', 'Apple GPU' or 'CPU'."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"mps": "Apple GPU"}.get(device.type, "CPU")
