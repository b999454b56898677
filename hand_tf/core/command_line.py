"""Commands: the fields of a dataclass of settings (`core.setting_fields`) are the flags, `main(settings)` does the work.

    def main(settings: BuildSettings) -> None: ...

    if __name__ == "__main__":
        command_line.execute(main)

The annotation of a field decides how its flag is written:

    bool                  --name, --noname, --name=true
    int, float, str       --name=VALUE; `| None` where the default is None
    tuple[str, ...]       --name=A,B; with `repeated`, --name=A --name=B
    tuple[float, float]   --name=0.6,1.25

`--flagfile=NAME` reads flags from a file (`core.flagfiles`); later flags override earlier ones.
"""

import dataclasses
import os
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from hand_tf.core import stderr_filter
from hand_tf.core.flagfiles import expand_flagfiles
from hand_tf.core.setting_fields import SettingError, as_text

_COMMON_HELP = (
    ("--flagfile=NAME", "Read flags from a file, or from a flagfile that comes with hand_tf, by its bare name."),
    ("--verbose", "Show all messages of TensorFlow."),
    ("--help", "Show this text."),
)

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
    return f"{choices} Default: {as_text(field.default)}.".strip()


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
