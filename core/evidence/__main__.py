"""Remake a figure of assets/results/evidence: `python -m core.evidence transfer --data-dir D`, or all of them."""
import argparse
import json
import sys
import time
from pathlib import Path

from core.data import ROOT, data_directory
from core.errors import UserError
from core.evidence import FIGURES

EVIDENCE = ROOT / "assets" / "results" / "evidence"


def main(argv: list[str] | None = None) -> int:
    """Compute and write each figure asked for."""
    parser = argparse.ArgumentParser(prog="python -m core.evidence", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--data-dir", help="of the official MNIST and CIFAR-10; default: EPSILON_LAB_DATA, or data/")
    parser.add_argument("--out", type=Path, default=EVIDENCE)
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure called {unknown[0]}; choose among {', '.join(FIGURES)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FIGURES:
        started = time.monotonic()
        try:
            result = FIGURES[name](Path(data_directory(arguments.data_dir)))
        except UserError as error:
            print(f"{parser.prog}: {error}", file=sys.stderr)
            return 2
        result = {"figure": name, "command": f"python -m core.evidence {name} --data-dir D", "seed": 0, **result}
        (arguments.out / f"{name}.json").write_text(json.dumps(result) + "\n", "utf-8")
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
