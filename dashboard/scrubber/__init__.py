"""The live component: one message carries a whole epsilon path, the browser redraws from it while dragging."""
from pathlib import Path

from dashboard.component import component

HERE = Path(__file__).parent
_mount = component("scrubber", HERE, (HERE / "scrubber.html").read_text("utf-8"))


def scrubber(message: bytes, key: str) -> dict | None:
    """Show the panel. Returns what the sliders were last released at ({epsilon, quality, scale}), if ever."""
    return _mount(data=message, key=key, on_release_change=lambda: None).get("release")
