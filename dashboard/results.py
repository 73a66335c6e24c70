"""The curves shipped in assets/results: what `python -m core.evaluate --json` printed, one file each."""
import json

import streamlit as st

from core.data import ROOT
from core.evaluation import Point

RESULTS = ROOT / "assets" / "results"
EVIDENCE = ("spectra", "transfer", "fourier", "qualities", "first-error", "lengths", "layers", "saliency",
            "hardening")


@st.cache_data
def shipped() -> list[dict]:
    """Every shipped evaluation, its points as Point."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    return [{**each, "points": [Point(**point) for point in each["points"]]} for each in found]


@st.cache_data
def evidence() -> dict[str, dict]:
    """The shipped figures of the reports R2 and R3, by name, in the order in which they are told."""
    return {name: json.loads(path.read_text("utf-8")) for name in EVIDENCE
            if (path := RESULTS / "evidence" / f"{name}.json").is_file()}
