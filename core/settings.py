"""Settings of attacks and defenses: dataclass fields that carry their range, so that a page can draw a widget,
a shell an option, and a constructor can refuse nonsense, all from the one declaration."""
import dataclasses
import math
from dataclasses import dataclass

from core.errors import UserError


@dataclass(frozen=True)
class Setting:
    """One setting: its name, default and either a numeric range or a list of choices."""

    name: str
    kind: type
    default: object
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()


def setting(default, low=None, high=None, step=None, choices=()):
    """A dataclass field with a range (numbers) or choices (strings)."""
    return dataclasses.field(default=default, metadata={
        "setting": {"low": low, "high": high, "step": step, "choices": tuple(choices)}})


def settings_of(kind: type) -> tuple[Setting, ...]:
    """The settings that a dataclass declares, in order."""
    return tuple(Setting(field.name, type(field.default), field.default, **field.metadata["setting"])
                 for field in dataclasses.fields(kind) if "setting" in field.metadata)


def check(instance) -> None:
    """Raise UserError when a setting of `instance` is out of its range or not among its choices."""
    for each in settings_of(type(instance)):
        value = getattr(instance, each.name)
        if each.choices:
            if value not in each.choices:
                raise UserError("setting.choice", name=each.name, available=", ".join(each.choices), value=value)
            continue
        allowed = (int, float) if each.kind is float else each.kind
        number = isinstance(value, allowed) and isinstance(value, bool) == (each.kind is bool)
        if not number or not abs(value) < math.inf:
            raise UserError("setting.number", name=each.name, value=value)
        if each.low is not None and not each.low <= value <= each.high:
            raise UserError("setting.range", name=each.name, low=each.low, high=each.high, value=value)


def values_of(instance) -> dict:
    """{name: value} of the settings of `instance`: what to print, store and use as a cache key."""
    return {each.name: getattr(instance, each.name) for each in settings_of(type(instance))}
