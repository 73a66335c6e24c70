"""Training one network: epochs that checkpoint and resume, and a record of what happened."""
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from core.training.augment import augment
from core.training.recipes import Recipe


def train(network: nn.Module, x: torch.Tensor, y: torch.Tensor, recipe: Recipe, device: torch.device,
          checkpoint: Path, compiled: bool = False) -> Iterator[dict]:
    """Train in place on x (uint8 [N, C, H, W]) and y (int64 [N]); yield one record an epoch.

    The network takes pixels in [0, 1]. After each epoch all state goes to `checkpoint`; when that file is
    there at the start and was written with the same recipe, training goes on from it. bfloat16 autocast
    and channels_last, which on two CPU cores are 2.3 times faster than plain float32; `compiled` saves another
    quarter through torch.compile, which needs a C++ compiler.
    """
    network.to(device, memory_format=torch.channels_last).train()
    x, y = x.to(device), y.to(device)
    steps = -(-len(y) // recipe.batch_size)
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum,
                                nesterov=True, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, epochs=recipe.epochs,
                                                   steps_per_epoch=steps, pct_start=recipe.warm_up)
    state = {"network": network, "optimizer": optimizer, "schedule": schedule}
    history = _resume(checkpoint, recipe, state)
    forward = torch.compile(network) if compiled else network
    for epoch in range(len(history), recipe.epochs):
        started = time.monotonic()
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)  # the same after a resume
        loss_sum = correct = 0.0
        for chosen in torch.randperm(len(y), generator=generator).split(recipe.batch_size):
            batch = augment(x[chosen.to(device)].float().div_(255), recipe, generator)
            labels = y[chosen.to(device)]
            with torch.autocast(device.type, dtype=torch.bfloat16):
                logits = forward(batch.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        history.append({"epoch": epoch + 1, "loss": loss_sum / len(y), "train_accuracy": correct / len(y),
                        "seconds": time.monotonic() - started})
        _save(checkpoint, recipe, state, history)
        yield history[-1]


def _save(checkpoint: Path, recipe: Recipe, state: dict, history: list[dict]) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_suffix(".partial")  # a kill in the middle of writing must not lose the last one
    torch.save({"recipe": asdict(recipe), "history": history, "dropout": torch.get_rng_state(),
                **{name: part.state_dict() for name, part in state.items()}}, partial)
    os.replace(partial, checkpoint)


def _resume(checkpoint: Path, recipe: Recipe, state: dict) -> list[dict]:
    with contextlib.suppress(FileNotFoundError):
        saved = torch.load(checkpoint, weights_only=True)
        if saved["recipe"] == asdict(recipe):
            for name, part in state.items():
                part.load_state_dict(saved[name])
            torch.set_rng_state(saved["dropout"])
            return saved["history"]
    return []
