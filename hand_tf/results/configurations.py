"""Configurations: what was trained from what, such as `supervised` or `pose_head on pretrain_aug`.

A configuration is a column of the tables. Runs of one column differ in scenario and seed only; if they differ in other
flags, those flags become part of the column's name. A `run` is a summary from `training.runs.describe`.
"""

import functools
from collections.abc import Iterator, Sequence

from hand_tf.core import command_line
from hand_tf.core.setting_fields import as_texts
from hand_tf.training import regimes, runs
from hand_tf.training.settings import TrainingSettings

# Paper: Table 1 has these columns in this order; ours follow.
ORDER = (
    "supervised",
    "pose_head",
    "semi_supervised",
    "semi_supervised_aug",
    "multi_view_teacher",
    "finetune",
    "finetune_joint",
)
# For readers who look at the tables first.
MEANING = {
    "supervised": "encoder and pose head learn from the labels alone",
    "pretrain": "encoder and decoder learn to show the hand as another camera sees it, without labels",
    "pretrain_aug": "pretrain, with random in-plane rotations of the views",
    "pose_head": "the encoder of the earlier run stays frozen, only the pose head learns from the labels; on pretrain"
    " and pretrain_aug this is the paper's “Pre-trained”",
    "semi_supervised": "learns novel views of all crops and the poses of the labelled ones at the same time",
    "semi_supervised_aug": "semi_supervised, with random in-plane rotations of the unlabelled views; not in the paper",
    "multi_view_teacher": "starts from the earlier run, whose poses for all crops are fused over the views of each"
    " instant, and learns these beside the labels; not in the paper",
    "finetune": "starts from the earlier run, then encoder and pose head learn from the labels; not in the paper",
    "finetune_joint": "starts from the earlier run, then learns poses and novel views at the same time; not in the"
    " paper",
    "finetune_joint_aug": "finetune_joint, with random in-plane rotations of the unlabelled views; not in the paper",
}
# Flags that do not make a run another experiment.
SAME_EXPERIMENT = {
    *("regime", "scenario", "seed", "workdir", "data_dir", "init_from", "checkpoint_every", "pictures_every"),
    *("perceptual_sha256", "probe_every", "probe_crops", "probe_fit", "probe_test"),
}
# Of the flags of paper/..., those that a size file may set without making it another method.
_OF_SIZES = {"mask_weight"}  # which counts for nothing without a mask


def chain(run: dict | None) -> Iterator[dict]:
    """The run, the run it started from, the one before that, and so on."""
    while run:
        yield run
        run = run["before"]


def training_names(run: dict) -> list[str]:
    """What was trained, the last run first: ["pose_head", "pretrain_aug"]."""
    return [runs.training_name(each["flags"]) for each in chain(run)]


def uses_unlabelled(run: dict) -> bool:
    """Whether the run, or one that it started from, has learned from views without labels."""
    return any(regimes.REGIMES[each["regime"]].sees_unlabelled for each in chain(run))


def position(run: dict) -> int:
    """The place of the run's configuration in the order of the tables; equal for those that `ORDER` does not name."""
    name = runs.training_name(run["flags"])
    return ORDER.index(name) if name in ORDER else len(ORDER)


def experiment(run: dict) -> dict[str, str]:
    """The flags that make a run the experiment it is; those of the runs before it as `before.<flag>`."""
    flags = {name: value for name, value in (_before_flags() | run["flags"]).items() if name not in SAME_EXPERIMENT}
    before = experiment(run["before"]) if run["before"] else {}
    return flags | {f"before.{name}": value for name, value in before.items()}


@functools.cache
def _before_flags():
    """What a run was trained with that is older than a flag: what version 0.2.0 did, otherwise the flag's default."""
    flags = ["--flagfile=version_0_2_0", "--regime=pretrain", "--data_dir=RECORDS", "--workdir=RUN"]
    before = as_texts(command_line.parse(TrainingSettings, flags))
    del before["last_same_view_share"]  # the share of i = j, which the run knows, did not change
    return before


def column_names(results: Sequence[dict]) -> list[str]:
    """The column of each result: its configuration, with the flags in which runs of one cell differ."""
    cells = {}
    for run in (result["run"] for result in results):
        cells.setdefault((run["configuration"], run["labels"], run["scenario"]), []).append(experiment(run))
    differing = {}
    for (configuration, *_), experiments in cells.items():
        names = {name for flags in experiments for name in flags}
        varied = {name for name in names if len({flags.get(name) for flags in experiments}) > 1}
        differing.setdefault(configuration, set()).update(varied)
    columns = []
    for run in (result["run"] for result in results):
        flags, names = experiment(run), differing[run["configuration"]]
        extra = []
        if names and all(_is_paper(each["flags"]) for each in chain(run)):
            # One word for the flags of paper/..., or the name would fill the page.
            extra, names = ["as in the paper"], {name for name in names if name.rpartition(".")[2] not in _paper()}
        extra += [f"{name}={flags.get(name)}" for name in sorted(names)]
        columns.append(", ".join([run["configuration"], *extra]))
    return columns


@functools.cache
def _paper():
    """The flags in which the flagfiles paper/... differ from ours; None where they set nothing."""
    places = ["--data_dir=RECORDS", "--workdir=RUN"]
    paper, ours = (
        as_texts(command_line.parse(TrainingSettings, [f"--flagfile={name}", *places]))
        for name in ("paper/pretrain", "pretrain")
    )
    return {name: paper.get(name) for name in paper | ours if paper.get(name) != ours.get(name)}


def _is_paper(flags):
    flags = _before_flags() | flags
    return all(flags.get(name) == value for name, value in _paper().items() if name not in _OF_SIZES)
