"""Refreshes the tables of the pages in docs/ from the measurements that lie beside them.

    python -m benchmarks.docs_tables

The pages are written by hand; only what stands between two markers is replaced:

    <!-- table: build -->
    <!-- /table -->

A table is made from the newest suitable line of the files DOCS/*.jsonl, to which the other benchmarks append. This
command measures nothing.
"""

import dataclasses
import pathlib
import re

from benchmarks import (
    dome_tables,
    fault_tables,
    learning_tables,
    model_card_tables,
    performance_tables,
    scale_tables,
)
from hand_tf.core import atomic, command_line, reading
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting

PAGES = ("performance.md", "scale.md", "dome.md", "pretraining.md", "learning.md", "reliability.md", "model_card.md")
TABLES = (
    performance_tables.TABLES
    | scale_tables.TABLES
    | dome_tables.TABLES
    | learning_tables.TABLES
    | fault_tables.TABLES
    | model_card_tables.TABLES
)
BLOCK = re.compile(r"<!-- table: (\w+) -->\n(.*?)<!-- /table -->", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocsTablesSettings:
    """The flags of this command."""

    docs: str = setting("Folder of the pages and of the measurements.", "docs")

    def __post_init__(self):
        check(self)


def refresh(text: str, docs: pathlib.Path) -> str:
    """The text of a page with the tables that the measurements in the folder `docs` give.

    Raises ValueError for an unknown table, a marker without its counterpart, or a measurement that is missing.
    """
    if not text.count("<!-- table:") == text.count("<!-- /table -->") == len(BLOCK.findall(text)):
        raise InputError("a marker `<!-- table: NAME -->` or `<!-- /table -->` without its counterpart")

    def block(found):
        name, old = found.groups()
        if "<!-- table:" in old:
            raise InputError(f"table {name}: no `<!-- /table -->` before the next table")
        if name not in TABLES:
            raise InputError(f"table {name}: unknown; expected one of {', '.join(TABLES)}")
        return f"<!-- table: {name} -->\n\n{TABLES[name](docs)}\n\n<!-- /table -->"

    return BLOCK.sub(block, text)


def main(settings: DocsTablesSettings) -> None:
    """Writes the pages whose tables have changed."""
    docs = pathlib.Path(settings.docs)
    for path in (docs / page for page in PAGES):
        text = reading.read_text(path)
        try:
            fresh = refresh(text, docs)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
        if fresh != text:
            atomic.write_text(path, fresh)
        print(f"{path}: {'written' if fresh != text else 'up to date'}")


if __name__ == "__main__":
    command_line.execute(main)
