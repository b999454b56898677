"""What all commands share: how flags are parsed, helped with and how an error looks.

Each command owns a `flags.FlagValues`, so that several commands live in one process (the tests do this) although
their flags share names, the vocabulary's. `--flagfile=FILE` works everywhere and may be nested; a later flag wins.
"""

import sys

from absl import flags


def run(main, values, argv=None):
    """Parses `argv` into `values` and calls `main(positional arguments)`; returns the exit status.

    Bad flags give one line and status 2, bad input (ValueError, OSError) one line and status 1.
    """
    argv = sys.argv if argv is None else argv
    module = sys.modules[main.__module__]
    if {"--help", "-h", "--helpfull", "--helpshort"} & set(argv[1:]):
        print(f"{module.__doc__}\nflags:\n{_help(values)}\n\n  --flagfile=FILE: read flags from a file")
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


def _help(values):
    return "\n".join(values.module_help(module) for module in sorted(values.flags_by_module_dict()))


def reset(values):
    """Sets all flags back to their defaults (a process that runs a command twice starts afresh)."""
    values.unparse_flags()
    for name in list(values):
        values[name].unparse()
