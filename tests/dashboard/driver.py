"""Opens pages through AppTest, clicks, and reads what the live components are sent."""
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.i18n import catalogue

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = {"u8": np.uint8, "i8": np.int8, "f32": np.float32, "i32": np.int32}
VIEWS = ("explore", "compare", "targets", "blackbox", "curves", "minimal", "evidence", "frequency", "saliency",
         "defenses", "networks", "train", "data")
TIMEOUT = 120


def opened(view="explore", query=None, **state):
    """A new session on a view, run once. `state` fills the session's state ('__' stands for a dot)."""
    if view == "explore":
        app = AppTest.from_file(ROOT / "dashboard" / "app.py", default_timeout=TIMEOUT)
    else:
        others = [other for other in VIEWS if other != view]
        app = AppTest.from_string(f"from dashboard import shell\nshell.run({{'': {dict.fromkeys([view, *others])}}})\n",
                                  default_timeout=TIMEOUT)
    for name, value in state.items():
        app.session_state[name if "." in name else name.replace("__", ".")] = value
    if view == "targets" and "targets__attack" not in state:
        app.session_state["targets.attack"] = "fgsm"  # ten rows of Carlini-Wagner take ten seconds
    if view == "minimal" and "minimal__n" not in state and "n" not in (query or {}):
        app.session_state["minimal.n"] = 10  # it computes at once; 200 images take ten seconds
    if view == "frequency":
        app.session_state["frequency.attacks"] = ["fgsm"]  # a set under Carlini-Wagner takes seconds
    for name, value in (query or {}).items():
        app.query_params[name] = value
    return ran(app)


def ran(app):
    app.run()
    assert not app.exception, [(each.message, each.stack_trace) for each in app.exception]
    return app


def chosen(app, key, value):
    """The session after one widget was set, whatever kind it is."""
    app.get_by_key(key).set_value(value)
    return ran(app)


def words(key, **values):
    return catalogue("en")[key].format(**values)


def button(app, key, **values):
    label = words(key, **values)
    return next(each for each in app.button if each.label == label)


def decode(message):
    """The documented format: uint32 length, header as JSON, arrays from header['base'] on."""
    size, = struct.unpack_from("<I", message)
    header = json.loads(message[4:4 + size], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    arrays = {}
    for name, place in header["arrays"].items():
        assert place["offset"] % 4 == 0
        arrays[name] = np.frombuffer(message, KINDS[place["kind"]], place["count"], header["base"] + place["offset"])
    return header, arrays


def panel(app):
    """What the live panel of Explore was sent."""
    return decode(app.get_by_key("explore.panel").proto.bytes)
