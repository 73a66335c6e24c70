"""Remake assets/results: `python assets/make_results.py --data-dir D`. About an hour on two cores; resumes.

Each file is what the command inside it prints: the shipped networks on the whole official test sets.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
MODELS = {"tutorial-cnn": "mnist", "lenet5": "mnist", "convnet3": "cifar10", "resnet20": "cifar10"}
ATTACKS = ("fgsm", "noise", "pgd", "fgm", "noise-l2", "pgd-l2")
DEFENDED = ("fgsm", "fgm")
QUALITY = 40


def commands() -> dict[str, list[str]]:
    """name of the file -> arguments of core.evaluate, the quick ones first."""
    found = {}
    for attack in ATTACKS:
        for model, dataset in MODELS.items():
            base = ["--dataset", dataset, "--split", "test", "--model", model, "--attack", attack]
            found[f"{dataset}-{model}-{attack}"] = base
            if attack in DEFENDED:
                jpeg = [*base, "--defense", "jpeg", "--quality", str(QUALITY)]
                found[f"{dataset}-{model}-{attack}-jpeg{QUALITY}"] = jpeg
                found[f"{dataset}-{model}-{attack}-jpeg{QUALITY}-aware"] = [*jpeg, "--aware"]
    return found


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--only", default="", help="only files whose name contains this")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name, command in commands().items():
        path = RESULTS / f"{name}.json"
        if path.exists() or arguments.only not in name:
            continue
        started = time.monotonic()
        shell = [sys.executable, "-m", "core.evaluate", *command, "--json", "--data-dir", arguments.data_dir]
        run = subprocess.run(shell, cwd=RESULTS.parent.parent, capture_output=True, text=True)
        if run.returncode:
            print(name, run.stderr.strip())
            continue
        result = {"command": "python -m core.evaluate " + " ".join([*command, "--json"]), **json.loads(run.stdout)}
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
