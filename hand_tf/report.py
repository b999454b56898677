"""Puts the results of all runs in a folder side by side, as a web page.

    hand-tf report --runs=RUNS --data_dir=RECORDS

Looks in RUNS, at any depth, for runs that `hand-tf evaluate` has measured (results.json) and for runs that learned
without labels (history.csv, pictures/). Writes OUTPUT/report.html, one self-contained file, and OUTPUT/report.md with
its OUTPUT/pictures/. With --data_dir, predicted poses are drawn on test crops.

In the tables, a row is a scenario and a column is a configuration: what was trained from what. Runs that differ only
in their seeds share a cell, as mean ± standard deviation (number of runs).
"""

import dataclasses
import pathlib

from hand_tf.core import command_line
from hand_tf.core.setting_fields import check, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The flags of `report`; see the help text of each."""

    runs: str = setting("Folder with run folders, at any depth.")
    data_dir: str | None = setting("Folder of the records that the runs were evaluated on, to draw poses on.", None)
    output: str | None = setting("Folder to write, instead of RUNS/report.", None)
    overlay_crops: int = setting("Number of test crops to draw poses on.", 3, low=1)

    def __post_init__(self):
        check(self)


def main(settings: ReportSettings) -> None:
    """Writes the report and prints its Table 1."""
    from hand_tf.results import page

    output = pathlib.Path(settings.output or pathlib.Path(settings.runs) / "report")
    print(page.make(settings.runs, output, data_dir=settings.data_dir, num_crops=settings.overlay_crops))
    print(f"{output / 'report.html'}: written")


if __name__ == "__main__":
    command_line.execute(main)
