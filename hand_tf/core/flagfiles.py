"""Flagfiles: flags in a file, one per line; `#` starts a comment line.

`--flagfile=NAME` reads one. NAME is a path, or the name of a flagfile that comes with the package, such as
`pretrain_aug` or `paper/pretrain_aug`. A flagfile may include others; they are looked up beside it first. Later flags
override earlier ones.
"""

import pathlib
from collections.abc import Iterable

from hand_tf.core import reading
from hand_tf.core.setting_fields import SettingError

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# The flagfiles of the package: inside it where it is installed, beside it in a checkout.
SHIPPED = (_PACKAGE / "flags", _PACKAGE.parent / "flags")


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
    given = pathlib.Path(name).expanduser()
    near = [base / given] if base else []
    shipped = [folder / f"{name.removesuffix('.flags')}.flags" for folder in SHIPPED if _is_name(given)]
    for path in (*near, given, *shipped):
        if path.is_file():
            return path.resolve()
    known = {name_of(path) for folder in SHIPPED for path in folder.rglob("*.flags") if "." not in path.stem}
    raise SettingError(
        f"--flagfile={name}: no such file, and none of those that come with hand_tf: {', '.join(sorted(known))}"
    )


def _is_name(given):
    """Whether it may be the name of a shipped flagfile: not a path that leads elsewhere."""
    return not given.is_absolute() and ".." not in given.parts


def name_of(path: pathlib.Path) -> str:
    """The name of the flagfile at `path`: for a shipped one with its folder, `paper/pretrain`, otherwise its stem."""
    for folder in SHIPPED:
        if path.is_relative_to(folder.resolve()):
            return path.relative_to(folder.resolve()).with_suffix("").as_posix()
    return path.stem
