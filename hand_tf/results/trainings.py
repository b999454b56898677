"""Run folders as training left them, finished or not."""

import dataclasses
import pathlib

from hand_tf.results.results_table import RESULTS_FILE
from hand_tf.training import callbacks, runs


@dataclasses.dataclass(frozen=True)
class Training:
    """One run folder.

    `folder` is relative to the folder of all runs; `run` is the summary of `runs.describe`, None if the run has not
    finished; `history` has one {column: value} per epoch; `novel_views` is the newest picture of novel views.
    """

    folder: str
    run: dict | None
    history: list[dict[str, float]]
    novel_views: pathlib.Path | None
    has_pose_head: bool
    has_results: bool


def load_trainings(root: pathlib.Path) -> list[Training]:
    """All folders below `root` in which `hand-tf train` has begun a run."""
    return [
        Training(
            folder=str(path.parent.relative_to(root)),
            run=runs.describe(path.parent) if (path.parent / "run.json").is_file() else None,
            history=callbacks.read_history(path),
            novel_views=max(path.parent.glob("pictures/novel_views_*.png"), default=None),
            has_pose_head=(path.parent / "pose_head.keras").is_file(),
            has_results=(path.parent / RESULTS_FILE).is_file(),
        )
        for path in sorted(root.rglob("history.csv"))
    ]
