"""The repository's root on sys.path, and the full data sets where there are any."""
import os
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the workers share the processor
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

FULL_SETS = {("mnist", "train"), ("mnist", "test"), ("cifar10", "train"), ("cifar10", "test")}


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The directory of the full MNIST and CIFAR-10 sets; the test is skipped where there is none."""
    from core.data import available

    given = os.environ.get("EPSILON_LAB_DATA")
    if not given:
        pytest.skip("EPSILON_LAB_DATA is not set: it names the directory of the full MNIST and CIFAR-10 sets")
    missing = FULL_SETS - {(entry.name, entry.split) for entry in available(Path(given))}
    if missing:
        pytest.skip(f"EPSILON_LAB_DATA={given} lacks " + ", ".join(sorted(f"{n} ({s})" for n, s in missing)))
    return Path(given)
