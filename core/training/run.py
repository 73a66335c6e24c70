"""From a recipe to a file of assets/weights and its card."""
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from core.attacks import FGSM, PGD
from core.data import DataSet, held_out, load
from core.device import best_device, device_name
from core.models import loading
from core.models.cards import ModelCard
from core.models.ensemble import Ensemble
from core.models.loading import Classifier
from core.training import measure
from core.training.loop import fast_half, train
from core.training.recipes import RECIPES, Recipe

WATCHED = 500  # test images on which an adversarial training is watched, never chosen by


def training_images(card: ModelCard, directory: Path) -> tuple[torch.Tensor, torch.Tensor, int]:
    """x uint8 [N, C, H, W] and y int64 [N] of the official training set without the bundled images, and how many
    those are."""
    whole = load(card.dataset, "train", directory).only(card.labels)
    keep = ~held_out(card.dataset, whole.images)
    return *whole.at(keep).tensors(), int((~keep).sum())


def with_attacked(x: torch.Tensor, y: torch.Tensor, recipe: Recipe,
                  device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """x, y and behind them as many images that FGSM made of them on `recipe.base`, rounded to 8 bits."""
    model, attack = loading.load(recipe.base, device), FGSM(eps=recipe.eps)
    made = [attack(model, some.to(device).float().div_(255), labels.to(device)).adversarial
            for some, labels in zip(x.split(1000), y.split(1000))]
    return torch.cat([x, torch.cat(made).mul_(255).round_().byte().cpu()]), torch.cat([y, y])


def fit(card: ModelCard, directory: Path, runs: Path, compiled: bool, say: Callable[[str], None]) -> dict:
    """Train by the recipe: the classifier, and what is to be said of how it came about."""
    recipe, device = RECIPES[card.name], best_device()
    x, y, left_out = training_images(card, directory)
    test = load(card.dataset, "test", directory).only(card.labels)
    facts = {"data": {"name": card.dataset, "trained_on": len(y), "held_out": left_out}}
    say(f"{card.name}: {len(y)} images, {left_out} held out, {recipe.epochs} epochs on {device_name(device)}")
    if recipe.method == "static":
        x, y = with_attacked(x, y, recipe, device)
    torch.manual_seed(recipe.seed)
    model = Classifier(card.build(), card.mean, card.std)
    if recipe.base and recipe.method != "static":
        model.network.load_state_dict(loading.load(recipe.base, device).network.state_dict())
    if hasattr(model.network, "start_from"):
        model.network.start_from(x[torch.randperm(len(x))[:1000]].float() / 255)
    members = model.network.members if isinstance(model.network, Ensemble) else [model.network]
    seconds = 0.0
    for k, member in enumerate(members):
        seed = recipe.seed + k
        if len(members) > 1:
            torch.manual_seed(seed)
            member.load_state_dict(type(member)().state_dict())
        name = f"{card.name}.{k}" if len(members) > 1 else card.name.partition("-e")[0] + "-long" if (
            recipe.schedule == "constant") else card.name
        part = Classifier(member, card.mean, card.std) if len(members) > 1 else model
        for nth, progress in enumerate(train(part, x, y, replace(recipe, seed=seed, members=1), device,
                                             runs / f"{name}.pt", compiled=compiled)):
            if nth == 0 and progress.epoch > 1:
                say(f"{name}: goes on after epoch {progress.epoch - 1}")
            line = {"epoch": progress.epoch, "loss": round(progress.loss, 5),
                    "train_accuracy": round(progress.train_accuracy, 5), "seconds": round(progress.seconds, 1)}
            if recipe.adversarial:
                line |= _watch(part, test, recipe, device)
            with (runs / f"{name}.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            say("  ".join(f"{key} {value}" for key, value in line.items()))
        saved = torch.load(runs / f"{name}.pt", weights_only=True, map_location="cpu")
        seconds += sum(record["seconds"] for record in saved["history"])
    facts["seconds"] = round(seconds)
    if recipe.adversarial:  # from the log: a resumed training saw only its own epochs
        facts["watched"] = _log(runs / f"{name}.jsonl", recipe.epochs)
    facts["precision"] = ("bfloat16 autocast" if fast_half(device) else "float32") + (
        " in training, float32 in evaluation, weights stored as float16")
    facts["machine"] = f"{device_name(device)}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    return {"network": model.eval().network, "facts": facts}


def _log(path: Path, epochs: int) -> list[dict]:
    """The last line of each epoch."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [line for line in {line["epoch"]: line for line in lines}.values() if line["epoch"] <= epochs]


def _watch(model: nn.Module, test: DataSet, recipe: Recipe, device: torch.device) -> dict:
    """Accuracy on a few test images, clean, under FGSM and under PGD-10: FGSM high and PGD near 0 is catastrophic
    overfitting (Wong et al. 2020)."""
    x, y = (part.to(device) for part in test.batch(slice(0, WATCHED)))
    model.eval()
    with torch.no_grad():
        shares = {"clean": (model(x).argmax(1) == y).float().mean().item()}
    for attack in (FGSM(eps=recipe.eps), PGD(eps=recipe.eps, steps=10)):
        fooled = attack(model, x, y, early=True).success.float().mean().item()
        shares[attack.title.partition(" ")[0].lower()] = 1 - fooled
    model.train()
    return {key: round(value, 4) for key, value in shares.items()}


def half(network: nn.Module) -> dict[str, torch.Tensor]:
    """Its state with floats in half precision: a file half as large; computation stays float32."""
    return {key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
            for key, value in network.state_dict().items()}


def reproduce(card: ModelCard, directory: Path, runs: Path, compiled: bool = False,
              say: Callable[[str], None] = print) -> dict:
    """Train `card` by its recipe on the official training set, measure the weights as they are stored, and write them
    with their card."""
    runs.mkdir(parents=True, exist_ok=True)
    trained = fit(card, directory, runs, compiled, say)
    content = safetensors.torch.save(half(trained["network"]))
    facts = {
        "name": card.name, "title": card.title, "paper": card.paper, "licence": "MIT", "parameters": card.parameters,
        "sha256": hashlib.sha256(content).hexdigest(), "recipe": asdict(RECIPES[card.name]),
        "trained": time.strftime("%Y-%m-%d"), **trained["facts"],
    }
    return write_measured(card, content, facts, directory, say)


def measure_again(card: ModelCard, directory: Path, say: Callable[[str], None] = print) -> dict:
    """Write the card anew from what its weights can do. Raises UserError where they are not the card's."""
    loading.load(card.name)
    return write_measured(card, card.weights.read_bytes(), card.measured, directory, say)


def write_measured(card: ModelCard, content: bytes, facts: dict, directory: Path,
                   say: Callable[[str], None] = print) -> dict:
    """Measure the weights in `content` (safetensors), then write them and their card: `facts` and what was measured.
    What was there before stays until both are complete."""
    device = best_device()
    model = loading.load(card.name, device, checkpoint=content)
    test, sample = (load(card.dataset, split, directory).only(card.labels) for split in ("test", "sample"))
    facts = {**facts, "accuracy": measure.clean(model, test, device),
             "sample_accuracy": measure.clean(model, sample, device), "robust": []}
    for line in measure.robust(model, card, test):
        say(f"{line['attack']} at {line['eps']:.4g}: {line['correct']} of {line['n']}")
        facts["robust"].append(line)
    for path, written in ((card.weights, content),
                          (card.weights.with_suffix(".json"), (json.dumps(facts, indent=1) + "\n").encode())):
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(written)
        os.replace(partial, path)
    return facts
