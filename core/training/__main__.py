"""`python -m core.training NAME [--data-dir D]`: train, resume, and write the weights and their card."""
import argparse
import hashlib
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch

from core.data import ROOT, DataSet, data_directory, held_out, load
from core.device import best_device, device_name
from core.errors import UserError
from core.models.cards import ModelCard
from core.models.loading import Classifier, card_named
from core.statistics import wilson
from core.training.loop import train
from core.training.recipes import RECIPES


def count_correct(model: torch.nn.Module, dataset: DataSet, device: torch.device, batch_size: int = 500) -> int:
    """How many images of a data set the model names right, in float32."""
    correct = 0
    for start in range(0, len(dataset), batch_size):
        x, y = dataset.batch(slice(start, start + batch_size))
        with torch.no_grad():
            correct += (model(x.to(device)).argmax(1).cpu() == y).sum().item()
    return correct


def accuracy(model: torch.nn.Module, dataset: DataSet, device: torch.device) -> dict:
    """Clean accuracy as a card states it: correct, n, share and 95 % Wilson interval."""
    correct, n = count_correct(model, dataset, device), len(dataset)
    low, high = wilson(correct, n)
    return {"split": dataset.split, "correct": correct, "n": n, "accuracy": correct / n, "low": low, "high": high}


def reproduce(card: ModelCard, directory: Path, runs: Path, compiled: bool = False) -> dict:
    """Train `card` by its recipe on the official training set and write its weights and .json card."""
    recipe, device = RECIPES[card.name], best_device()
    train_set, test_set = load(card.dataset, "train", directory), load(card.dataset, "test", directory)
    sample = load(card.dataset, "sample", directory)
    keep = ~held_out(card.dataset, train_set.images)
    images = train_set.images[keep]
    x = torch.from_numpy(images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2).copy())
    y = torch.from_numpy(train_set.labels[keep])
    torch.manual_seed(recipe.seed)
    model = Classifier(card.build(), card.mean, card.std)
    print(f"{card.name}: {len(y)} images, {(~keep).sum()} held out, {recipe.epochs} epochs on {device_name(device)}")
    history = runs / f"{card.name}.jsonl"
    for record in train(model, x, y, recipe, device, runs / f"{card.name}.pt", compiled):
        with history.open("a") as log:
            log.write(json.dumps(record) + "\n")
        print(f"epoch {record['epoch']:3d}  loss {record['loss']:.4f}  "
              f"train accuracy {record['train_accuracy']:.4f}  {record['seconds']:.1f} s", flush=True)
    saved = torch.load(runs / f"{card.name}.pt", weights_only=True)
    seconds = sum(record["seconds"] for record in saved["history"])
    model.eval()
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.network.state_dict().items()}
    content = safetensors.torch.save(tensors)
    facts = {
        "name": card.name, "title": card.title, "paper": card.paper, "licence": "MIT",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sha256": hashlib.sha256(content).hexdigest(),
        "data": {"name": card.dataset, "trained_on": len(y), "held_out": int((~keep).sum())},
        "recipe": asdict(recipe), "precision": "bfloat16 autocast in training, float32 in evaluation",
        "seconds": round(seconds), "trained": time.strftime("%Y-%m-%d"),
        "machine": f"{device_name(device)}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "accuracy": accuracy(model, test_set, device), "sample_accuracy": accuracy(model, sample, device),
    }
    card.weights.write_bytes(content)
    card.weights.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return facts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m core.training", description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data-dir", help="where the official data is (default: EPSILON_LAB_DATA, or data/)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="logs and checkpoints to resume from")
    parser.add_argument("--compile", action="store_true", help="a quarter faster; needs a C++ compiler")
    arguments = parser.parse_args()
    try:
        facts = reproduce(card_named(arguments.name), data_directory(arguments.data_dir), arguments.runs,
                          arguments.compile)
    except UserError as error:
        print(f"core.training: {error}", file=sys.stderr)
        return 2
    score = facts["accuracy"]
    print(f"{facts['name']}: {facts['parameters']} parameters, {score['correct']} of {score['n']} test images right "
          f"= {score['accuracy']:.2%} (95 %: {score['low']:.2%} to {score['high']:.2%})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
