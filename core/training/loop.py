"""Training one network: steps that can be watched and paused, epochs that checkpoint and resume."""
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from core.errors import UserError
from core.training.augment import augment
from core.training.losses import batch_loss
from core.training.recipes import Recipe


@dataclass(frozen=True)
class Progress:
    """Where a training stands: means over the steps since the last report."""

    step: int  # done, of `steps`
    steps: int
    epoch: int  # the one under way or just ended, from 1
    ended: bool  # whether that epoch is over
    loss: float
    train_accuracy: float  # on what the network was shown: attacked images in adversarial training
    seconds: float  # of training in all
    due: bool = True  # False: no report was due, whoever asks is but given a chance to pause or stop


def fast_half(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 here. A CPU without AVX-512 emulates it, ten times slower."""
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def train(network: nn.Module, x: torch.Tensor, y: torch.Tensor, recipe: Recipe, device: torch.device,
          checkpoint: Path | None = None, *, every: int = 0, breath: float = math.inf,
          compiled: bool = False) -> Iterator[Progress]:
    """Train in place on x (uint8 [N, C, H, W]) and y (int64 [N]); yield at each epoch's end and after `every` steps, and
    where `breath` seconds have passed without, so that whoever asks for more is heard.

    The network takes pixels in [0, 1]. After each epoch all state goes to `checkpoint`; when that file is there at the
    start and was written with the same recipe, training goes on from it; one of another recipe is renamed. Raises
    UserError for a damaged one. Stop it by not asking for more. bfloat16 autocast where it is fast, and channels_last;
    `compiled` saves a quarter more through torch.compile, which needs a C++ compiler.
    """
    network.to(device, memory_format=torch.channels_last).train()
    x, y = x.to(device), y.to(device)
    per_epoch = -(-len(y) // recipe.batch_size)
    total = per_epoch * recipe.epochs
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum,
                                nesterov=True, weight_decay=recipe.weight_decay)
    schedule = (torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=max(2, total),
                                                    pct_start=recipe.warm_up) if recipe.schedule == "one-cycle"
                else torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0))
    state = {"network": network, "optimizer": optimizer, "schedule": schedule}
    history = _resume(checkpoint, recipe, state) if checkpoint else []
    forward, half = torch.compile(network) if compiled else network, fast_half(device)
    seconds, spoken = sum(record["seconds"] for record in history), time.monotonic()
    for epoch in range(len(history), recipe.epochs):
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)  # the same after a resume
        whole, part = _Means(), _Means()
        for k, chosen in enumerate(torch.randperm(len(y), generator=generator).split(recipe.batch_size)):
            started = time.monotonic()
            done = epoch * per_epoch + k
            eps = recipe.eps * min(1.0, (done + 1) / (recipe.ramp * total)) if recipe.ramp else recipe.eps
            batch = augment(x[chosen.to(device)].float().div_(255), recipe, generator)
            labels = y[chosen.to(device)]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                loss, logits = batch_loss(forward, batch.contiguous(memory_format=torch.channels_last), labels, recipe,
                                          eps, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            _step(network, optimizer, recipe)
            schedule.step()
            count, correct, spent = len(labels), (logits.argmax(1) == labels).sum().item(), time.monotonic() - started
            seconds += spent
            for means in (whole, part):
                means.add(count, loss.item(), correct, spent)
            if k + 1 == per_epoch:
                history.append({"epoch": epoch + 1, "loss": whole.loss, "train_accuracy": whole.accuracy,
                                "seconds": whole.seconds})
                if checkpoint:
                    _save(checkpoint, recipe, state, history)
                yield Progress(done + 1, total, epoch + 1, True, (part if every else whole).loss,
                               (part if every else whole).accuracy, seconds)
                part, spoken = _Means(), time.monotonic()
            elif every and (k + 1) % every == 0:
                yield Progress(done + 1, total, epoch + 1, False, part.loss, part.accuracy, seconds)
                part, spoken = _Means(), time.monotonic()
            elif time.monotonic() - spoken > breath:
                yield Progress(done + 1, total, epoch + 1, False, part.loss, part.accuracy, seconds, due=False)
                spoken = time.monotonic()


class _Means:
    """Loss and accuracy over the images seen since the start."""

    def __init__(self):
        self.count = self.total_loss = self.correct = self.seconds = 0

    def add(self, count: int, loss: float, correct: int, seconds: float) -> None:
        self.count, self.correct, self.seconds = self.count + count, self.correct + correct, self.seconds + seconds
        self.total_loss += loss * count

    @property
    def loss(self) -> float:
        return self.total_loss / self.count

    @property
    def accuracy(self) -> float:
        return self.correct / self.count


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe) -> None:
    if recipe.clip:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    optimizer.step()
    if recipe.max_norm:
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(torch.renorm(parameter, 2, 0, recipe.max_norm))


def _same(saved: dict, recipe: Recipe, epochs_done: int) -> bool:
    """Whether a checkpoint is on this recipe's way. Under a constant rate a short training is the start of a long
    one."""
    wanted = asdict(recipe)
    if recipe.schedule == "constant" and not recipe.ramp:
        wanted["epochs"] = saved.get("epochs")
    return saved == wanted and epochs_done <= recipe.epochs


def _save(checkpoint: Path, recipe: Recipe, state: dict, history: list[dict]) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_suffix(".partial")  # a kill in the middle of writing must not lose the last one
    torch.save({"recipe": asdict(recipe), "history": history, "dropout": torch.get_rng_state(),
                "dropout_gpu": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                **{name: part.state_dict() for name, part in state.items()}}, partial)
    os.replace(partial, checkpoint)


def _resume(checkpoint: Path, recipe: Recipe, state: dict) -> list[dict]:
    if checkpoint.is_file():
        saved = _saved(checkpoint)
        if _same(saved["recipe"], recipe, len(saved["history"])):
            for name, part in state.items():
                part.load_state_dict(saved[name])
            torch.set_rng_state(saved["dropout"])
            if torch.cuda.is_available() and len(saved.get("dropout_gpu", [])) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(saved["dropout_gpu"])
            return saved["history"]
        os.replace(checkpoint, checkpoint.with_suffix(".other.pt"))  # hours of work on another recipe are not overwritten
    return []


def _saved(checkpoint: Path) -> dict:
    try:
        saved = torch.load(checkpoint, weights_only=True, map_location="cpu")  # a GPU's goes on without one
        for key in ("recipe", "history", "dropout", "network", "optimizer", "schedule"):
            saved[key]
        return saved
    except Exception as error:  # torch's and zipfile's readers raise many kinds on damaged files
        raise UserError("training.damaged", path=checkpoint) from error
