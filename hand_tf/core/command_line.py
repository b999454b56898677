"""Commands: the fields of a dataclass of settings (`core.setting_fields`) are the flags of a command.

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
import re
import sys
import textwrap
import types
import typing
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from hand_tf.core import remarks, signals, stderr_filter
from hand_tf.core.errors import InputError
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
    return _parse(settings_class, arguments)[0]


def _parse(settings_class, arguments):
    """The settings, and whether --verbose was given."""
    values = _flags_of(settings_class)
    try:
        positional = values(["command", *expand_flagfiles(arguments)])[1:]
    except flags.IllegalFlagValueError as error:
        raise SettingError(_illegal_value(str(error), settings_class)) from error
    except flags.Error as error:
        raise SettingError(str(error)) from error
    found, takes_arguments = {}, False
    for field in dataclasses.fields(settings_class):
        if field.metadata["positional"]:
            found[field.name], takes_arguments = tuple(positional), True
        elif values[field.name].present:
            found[field.name] = _value(field, values[field.name].value)
        elif field.default is dataclasses.MISSING:
            raise SettingError(f"--{field.name} is missing: {field.metadata['help']}")
    if positional and not takes_arguments:
        raise SettingError(f"unexpected argument {positional[0]!r}: this command takes flags only")
    return settings_class(**found), values["verbose"].value


_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def _illegal_value(message, settings_class):
    """absl's message about a value that a flag cannot have, in the words of the other messages."""
    match = re.match(r"flag --(\w+)=(.*?): ", message)
    field = next((each for each in dataclasses.fields(settings_class) if match and each.name == match[1]), None)
    if field is None:
        return message
    choices = field.metadata["choices"]
    expected = f"one of {', '.join(choices)}" if choices else _KINDS.get(_kind(field), "another value")
    return f"--{match[1]}={match[2]}: expected {expected}"


def _flags_of(settings_class):
    """An absl `FlagValues` with one flag per field of the dataclass."""
    values = flags.FlagValues()
    values.set_gnu_getopt()  # flags may follow the arguments
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


def _type(field):
    """The annotation of a field, without `| None`."""
    if not isinstance(field.type, types.UnionType):
        return field.type
    return next(each for each in typing.get_args(field.type) if each is not types.NoneType)


def _kind(field):
    """bool, int, float, str or tuple."""
    return typing.get_origin(_type(field)) or _type(field)


def _value(field, value):
    """A flag's value as the field wants it."""
    if _kind(field) is str and value.startswith("--"):
        raise SettingError(f"--{field.name} is followed by {value}: expected a value, as in --{field.name}=VALUE")
    if _kind(field) is not tuple:
        return value
    items = typing.get_args(_type(field))
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


def help_text(main: Callable) -> str:
    """What `--help` prints: the docstring of the command's module, then its flags by section, with their defaults."""
    lines = [(sys.modules[main.__module__].__doc__ or "").strip()]
    fields = dataclasses.fields(settings_class_of(main))
    for field in (field for field in fields if field.metadata["positional"]):
        lines += ["", "Arguments:", *_flag_help(field.metadata["positional"], field.metadata["help"])]
    fields = [field for field in fields if not field.metadata["positional"]]
    for section in dict.fromkeys(field.metadata["section"] for field in fields):
        lines += ["", f"{section or 'Flags'}:"]
        for field in (field for field in fields if field.metadata["section"] == section):
            lines += _flag_help(f"--{field.name}", " ".join(filter(None, (field.metadata["help"], _default(field)))))
    lines += ["", "Common to all commands:"]
    for flag, text in _COMMON_HELP:
        lines += _flag_help(flag, text)
    return "\n".join(lines)


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


def settings_class_of(main: Callable) -> type:
    """The dataclass of settings that `main` takes."""
    return typing.get_type_hints(main)["settings"]


def run(main: Callable, arguments: Sequence[str], as_program: bool = False) -> int:
    """Runs a command in this process and returns its exit status.

    Wrong flags give one line and status 2, wrong input (InputError, OSError) one line and status 1, Ctrl-C one line and
    status 130, SIGTERM as a program one line and status 143.
    `as_program` leaves out TensorFlow's start-up messages, unless --verbose is given, for the rest of the process.
    """
    if {"--help", "-h", "--helpfull", "--helpshort"} & set(arguments):
        print(help_text(main))
        return 0
    try:
        settings, verbose = _parse(settings_class_of(main), arguments)
        if verbose:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        elif as_program:
            stderr_filter.start()
        if as_program:
            signals.stop_at_sigterm()
        with warnings.catch_warnings():
            warnings.simplefilter("once", remarks.Remark)
            _show_remarks()
            main(settings)
    except SettingError as error:
        print(f"error: {error} (--help lists the flags)", file=sys.stderr)
        return 2
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if not error.name or error.name != os.environ.get("KERAS_BACKEND"):
            raise
        print(f"error: KERAS_BACKEND={error.name}: {error.name} is not installed", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:  # Ctrl-C, or signals.Terminated
        print(str(stop) or "stopped; what had finished is kept", file=sys.stderr)
        return stop.status if isinstance(stop, signals.Terminated) else 130
    return 0


def _show_remarks():
    """Prints remarks as notes, until `warnings.catch_warnings` ends; other warnings as they are."""
    other = warnings.showwarning

    def show(message, category, *rest, **options):
        if issubclass(category, remarks.Remark):
            print(f"note: {message}", file=sys.stderr)
        else:
            other(message, category, *rest, **options)

    warnings.showwarning = show


def execute(main: Callable, arguments: Sequence[str] | None = None) -> typing.NoReturn:
    """Runs a command as a program of its own, and ends the process."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    end_with(lambda: run(main, arguments, as_program=True))


def end_with(work: Callable[[], int | None]) -> typing.NoReturn:
    """Ends the process with the exit status that `work` returns; quietly if its output is no longer read."""
    try:
        status = work()
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 141  # as of a program that SIGPIPE ends
    sys.exit(status)


def _nobody_reads():
    """Whether standard output is a pipe that nobody reads any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False
