"""What every page test wants."""
import pytest


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """A data directory of this test's own: only the bundled samples exist."""
    monkeypatch.setenv("EPSILON_LAB_DATA", str(tmp_path))
    return tmp_path
