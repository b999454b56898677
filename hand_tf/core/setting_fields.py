"""Settings: a frozen dataclass whose fields carry their help, default and bounds, and which checks itself.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class BuildSettings:
        output: str = setting("Folder to write.")                       # no default: it must be given
        crop_size: int = setting("Side of a crop, px.", 128, low=16)

        def __post_init__(self):
            check(self)                                                 # bounds; contradictions follow here

The dataclass is the only place where a default, a bound or a contradiction stands; it checks itself, whoever makes it.
`core.command_line` turns its fields into flags. Messages name a setting as its flag.
"""

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any

from hand_tf.core.errors import InputError

_LIMITS = {
    "low": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "high": ("at most", operator.le),
    "below": ("below", operator.lt),
}


class SettingError(InputError):
    """A flag with a value that cannot be, or flags that contradict each other."""


def setting(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    section: str = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    repeated: bool = False,
    positional: str = "",
) -> Any:
    """A field of a dataclass of settings.

    Args:
        help: one or two sentences, with the unit.
        default: none makes the flag required.
        section: heading under which --help lists the flag.
        low, high: least and greatest value; above, below: the same, exclusive. For tuples they hold for each item.
        choices: the values allowed.
        repeated: the flag may be given several times (tuple[str, ...]).
        positional: the field takes the arguments without a flag; the text is what --help calls them.
    """
    metadata = {"help": help, "section": section, "low": low, "high": high, "above": above, "below": below}
    metadata |= {"choices": tuple(choices), "repeated": repeated, "positional": positional}
    return dataclasses.field(default=default, metadata=metadata)


def check(settings: Any) -> None:
    """Raises SettingError for the first field that is out of its bounds or not among its choices."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is None:
            continue
        if value == "" and field.default is dataclasses.MISSING:
            raise SettingError(f"--{field.name}=: expected a value; {field.metadata['help']}")
        for item in value if isinstance(value, tuple) else (value,):
            expected = _expected(item, field.metadata)
            if expected:
                given = as_text(item) if field.metadata["positional"] else f"--{field.name}={as_text(value)}"
                raise SettingError(f"{given}: expected {expected}")


def _expected(value, bounds):
    """What was expected instead of `value`, or None if it is as it should be."""
    if bounds["choices"] and value not in bounds["choices"]:
        return f"one of {', '.join(bounds['choices'])}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value):
        return "a finite number"
    limits = [(text, holds, bounds[name]) for name, (text, holds) in _LIMITS.items() if bounds[name] is not None]
    if all(holds(value, limit) for _, holds, limit in limits):
        return None
    return " and ".join(f"{text} {limit:g}" for text, _, limit in limits)


def as_flags(settings: Any) -> str:
    """The settings in flagfile syntax, a flag per line, those without a value left out; `parse` reads it back."""
    lines = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is None or field.metadata["positional"]:
            continue
        repeated = value if field.metadata["repeated"] else (value,)
        lines += [f"--{field.name}={as_text(each)}" for each in repeated]
    return "\n".join(lines) + "\n"


def as_texts(settings: Any) -> dict[str, str]:
    """The settings by name, each value as one would type it; those without a value are left out."""
    values = ((field.name, getattr(settings, field.name)) for field in dataclasses.fields(settings))
    return {name: as_text(value) for name, value in values if value is not None}


def as_text(value: Any) -> str:
    """A setting's value as one would type it."""
    if isinstance(value, tuple):
        return ",".join(map(as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
