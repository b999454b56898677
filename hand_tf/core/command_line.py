"""Commands: a frozen dataclass of settings is the flags of a command; `main(settings)` is what it does.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class BuildSettings:
        output: str = setting("Folder to write.")                       # no default: the flag is required
        crop_size: int = setting("Side of a crop, px.", 128, low=16)

        def __post_init__(self):
            check(self)                                                 # bounds; contradictions follow here

    def main(settings: BuildSettings) -> None: ...

    if __name__ == "__main__":
        command_line.execute(main)

The annotation of a field decides how its flag is written:

    bool                  --name, --noname, --name=true
    int, float, str       --name=VALUE; `| None` where the default is None
    tuple[str, ...]       --name=A,B; with `repeated`, --name=A --name=B
    tuple[float, float]   --name=0.6,1.25

The dataclass is the only place where a default, a bound or a contradiction stands: it checks itself, whoever makes it.

`--flagfile=NAME` reads flags from a file, one per line; `#` starts a comment line. NAME is a path, or the bare name of
a flagfile that comes with the package, such as `pretrain_aug`. A flagfile may include others; they are looked up beside
it first. Later flags override earlier ones.
"""

import dataclasses
import math
import operator
import os
import pathlib
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import flags

from hand_tf.core import reading, stderr_filter

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# The flagfiles of the package: inside it where it is installed, beside it in a checkout.
FLAGFILE_FOLDERS = (PACKAGE / "flags", PACKAGE.parent / "flags")
_COMMON_HELP = (
    ("--flagfile=NAME", "Read flags from a file, or from a flagfile that comes with hand_tf, by its bare name."),
    ("--verbose", "Show all messages of TensorFlow."),
    ("--help", "Show this text."),
)

_LIMITS = {
    "low": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "high": ("at most", operator.le),
    "below": ("below", operator.lt),
}


class SettingError(ValueError):
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
        positional: the field takes the arguments without a flag; the text is what usage calls them.
    """
    metadata = {"help": help, "section": section, "low": low, "high": high, "above": above, "below": below}
    metadata |= {"choices": tuple(choices), "repeated": repeated, "positional": positional}
    return dataclasses.field(default=default, metadata=metadata)


# --- checks ---------------------------------------------------------------------------------------------------------


def check(settings: Any) -> None:
    """Raises SettingError for the first field that is out of its bounds or not among its choices."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is None:
            continue
        for item in value if isinstance(value, tuple) else (value,):
            expected = _expected(item, field.metadata)
            if expected:
                raise SettingError(f"--{field.name}={_text(value)}: expected {expected}")


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


# --- flags ----------------------------------------------------------------------------------------------------------


def parse(settings_class: type, arguments: Sequence[str]) -> Any:
    """The settings that command-line `arguments` ask for.

    Raises SettingError for an unknown or missing flag or a wrong value, OSError for a flagfile that cannot be read.
    """
    values = _flags_of(settings_class)
    try:
        positional = values(["command", *expand_flagfiles(arguments)])[1:]
    except flags.Error as error:
        raise SettingError(str(error)) from error
    found, place = {}, ""
    for field in dataclasses.fields(settings_class):
        if field.metadata["positional"]:
            found[field.name], place = tuple(positional), field.metadata["positional"]
        elif values[field.name].present or field.default is dataclasses.MISSING:
            found[field.name] = _value(field, values[field.name].value)
    if positional and not place:
        raise SettingError(f"unexpected argument {positional[0]!r}: this command takes flags only")
    return settings_class(**found)


def _flags_of(settings_class):
    """An absl `FlagValues` with one flag per field of the dataclass."""
    values = flags.FlagValues()
    values.set_gnu_getopt()  # flags may follow the arguments
    # Accepted wherever a command is started; `execute` acts on it.
    flags.DEFINE_bool("verbose", False, "", flag_values=values)
    for field in dataclasses.fields(settings_class):
        kind, choices = _kind(field), field.metadata["choices"]
        if field.metadata["positional"]:
            continue
        if choices and kind is str:
            flags.DEFINE_enum(field.name, None, list(choices), "", flag_values=values)
        elif field.metadata["repeated"]:
            flags.DEFINE_multi_string(field.name, None, "", flag_values=values)
        else:
            define = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
            define |= {str: flags.DEFINE_string, tuple: flags.DEFINE_list}
            define[kind](field.name, None, "", flag_values=values)
    return values


def _kind(field):
    """The type of a field: bool, int, float, str or tuple."""
    annotation = field.type
    if isinstance(annotation, types.UnionType):
        (annotation,) = (each for each in typing.get_args(annotation) if each is not types.NoneType)
    return typing.get_origin(annotation) or annotation


def _value(field, value):
    """A flag's value as the field wants it."""
    if value is None:
        raise SettingError(f"--{field.name}: needed; {field.metadata['help']}")
    if _kind(field) is not tuple:
        return value
    items = typing.get_args(field.type)
    if isinstance(field.type, types.UnionType):
        items = typing.get_args(next(each for each in items if typing.get_origin(each)))
    if items[-1] is Ellipsis:
        return tuple(value)
    try:
        numbers = tuple(float(item) for item in value)
    except ValueError:
        numbers = ()
    if len(numbers) != len(items):
        raise SettingError(f"--{field.name}={','.join(value)}: expected {len(items)} numbers, separated by commas")
    return numbers


def expand_flagfiles(arguments: Iterable[str], base: pathlib.Path | None = None, chain: tuple = ()) -> list[str]:
    """`arguments` with every `--flagfile=NAME` replaced by the flags in that file.

    `base` is the folder of the file that includes, `chain` the files that are being read.
    """
    expanded, arguments = [], iter(arguments)
    for argument in arguments:
        name, equals, value = argument.lstrip("-").partition("=")
        if argument == "--":
            return [*expanded, argument, *arguments]
        if not argument.startswith("-") or name != "flagfile":
            expanded.append(argument)
            continue
        path = find_flagfile(value if equals else next(arguments, ""), base)
        if path in chain:
            raise SettingError(f"{path}: this flagfile includes itself")
        lines = (line.strip() for line in reading.read_text(path).splitlines())
        included = [line for line in lines if line and not line.startswith(("#", "//"))]
        wrong = next((line for line in included if not line.startswith("-")), None)
        if wrong:
            raise SettingError(f"{path}: expected one flag per line, such as --epochs=20, found {wrong!r}")
        expanded += expand_flagfiles(included, path.parent, (*chain, path))
    return expanded


def find_flagfile(name: str, base: pathlib.Path | None = None) -> pathlib.Path:
    """The path of the flagfile called `name`; see the module's docstring. Raises SettingError if there is none."""
    near = [base / name] if base else []
    shipped = [folder / f"{name}.flags" for folder in FLAGFILE_FOLDERS if pathlib.PurePath(name).name == name]
    for path in (*near, pathlib.Path(name), *shipped):
        if path.is_file():
            return path.resolve()
    known = sorted({path.stem for folder in FLAGFILE_FOLDERS for path in folder.glob("*.flags")})
    raise SettingError(f"--flagfile={name}: no such file, and none of those that come with hand_tf: {', '.join(known)}")


def as_flags(settings: Any) -> str:
    """The settings in flagfile syntax, a flag per line, those without a value left out; `parse` reads it back."""
    lines = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is None or field.metadata["positional"]:
            continue
        repeated = value if field.metadata["repeated"] else (value,)
        lines += [f"--{field.name}={_text(each)}" for each in repeated]
    return "\n".join(lines) + "\n"


def as_texts(settings: Any) -> dict[str, str]:
    """The settings by name, each value as one would type it; those without a value are left out."""
    values = ((field.name, getattr(settings, field.name)) for field in dataclasses.fields(settings))
    return {name: _text(value) for name, value in values if value is not None}


def _text(value):
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- help -----------------------------------------------------------------------------------------------------------


def help_text(main: Callable, name: str) -> str:
    """What `--help` prints: the docstring of the command's module, then its flags by section, with their defaults."""
    settings_class = settings_of(main)
    fields = [field for field in dataclasses.fields(settings_class) if not field.metadata["positional"]]
    lines = [(sys.modules[main.__module__].__doc__ or "").strip(), ""]
    for section in dict.fromkeys(field.metadata["section"] for field in fields):
        lines += ["", f"{section or 'Flags'}:"]
        for field in (field for field in fields if field.metadata["section"] == section):
            lines += _flag_help(f"--{field.name}", " ".join(filter(None, (field.metadata["help"], _default(field)))))
    lines += ["", "Common to all commands:"]
    for flag, text in _COMMON_HELP:
        lines += _flag_help(flag, text)
    return "\n".join(lines).replace("\n\n\n", "\n\n")


def _default(field):
    choices = f"One of {', '.join(field.metadata['choices'])}." if field.metadata["choices"] else ""
    if field.default is dataclasses.MISSING:
        return f"{choices} Required.".strip()
    if field.default in (None, "", ()):
        return choices
    return f"{choices} Default: {_text(field.default)}.".strip()


def _flag_help(flag, text):
    column = 28
    lines = textwrap.wrap(text, 118 - column)
    first = f"  {flag}"
    if len(first) >= column:
        return [first, *(" " * column + line for line in lines)]
    return [first.ljust(column) + lines[0], *(" " * column + line for line in lines[1:])]


# --- running --------------------------------------------------------------------------------------------------------


def settings_of(main: Callable) -> type:
    """The dataclass of settings that `main` takes."""
    return typing.get_type_hints(main)["settings"]


def run(main: Callable, arguments: Sequence[str], name: str = "") -> int:
    """Runs a command in this process and returns its exit status.

    Wrong flags give one line and status 2, wrong input (ValueError, OSError) one line and status 1.
    """
    if {"--help", "-h", "--helpfull", "--helpshort"} & set(arguments):
        print(help_text(main, name))
        return 0
    try:
        main(parse(settings_of(main), arguments))
    except SettingError as error:
        print(f"error: {error} (--help lists the flags)", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what had finished is kept", file=sys.stderr)
        return 130
    return 0


def execute(main: Callable, arguments: Sequence[str] | None = None) -> typing.NoReturn:
    """Runs a command as a program of its own: with start-up messages left out, and ends the process."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if "--verbose" not in arguments and not {"--help", "-h"} & set(arguments):
        stderr_filter.start()
    try:
        status = run(main, arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


# --- TEMPORARY, goes with the last command that defines absl flags by hand ---


def old_run(main, values, argv=None):
    """Parses `argv` into `values` and calls `main(positional arguments)`; returns the exit status.

    Bad flags give one line and status 2, bad input (ValueError, OSError) one line and status 1.
    """
    argv = sys.argv if argv is None else argv
    module = sys.modules[main.__module__]
    if {"--help", "-h", "--helpfull", "--helpshort"} & set(argv[1:]):
        print(f"{module.__doc__}\nflags:\n{_old_help(values)}\n\n  --flagfile=FILE: read flags from a file")
        return 0
    try:
        arguments = values(argv)[1:]
    except flags.Error as error:
        print(f"error: {error} (--help lists the flags)", file=sys.stderr)
        return 2
    try:
        main(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what had finished is kept", file=sys.stderr)
        return 130
    return 0


def _old_help(values):
    return "\n".join(values.module_help(module) for module in sorted(values.flags_by_module_dict()))


def reset(values):
    """Sets all flags back to their defaults (a process that runs a command twice starts afresh)."""
    values.unparse_flags()
    for name in list(values):
        values[name].unparse()
