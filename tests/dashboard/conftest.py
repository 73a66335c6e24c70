"""What every page test wants."""
import pytest
import streamlit as st


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """A data directory of this test's own: only the bundled samples exist."""
    monkeypatch.setenv("EPSILON_LAB_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def downloads(monkeypatch):
    """What st.download_button offers in a run, by file name."""
    offered, button = {}, st.download_button

    def download_button(label, data, file_name, *args, **options):
        offered[file_name] = data
        return button(label, data, file_name, *args, **options)
    monkeypatch.setattr(st, "download_button", download_button)
    return offered
