"""The grid of a study: which flagfiles are trained on which scenarios, and where each run starts.

    pretrain_aug; S0:64 = supervised, pose_head, finetune; S0..S4 = supervised, pose_head

A grid is a list of cells, separated by `;` or line breaks. A cell is a flagfile, or a scenario, `=` and the flagfiles
to train on it, separated by commas. A flagfile is the name of one that comes with hand_tf, such as pretrain_aug, or a
path. The scenario `*` stands for those of --scenario. The regime of a flagfile decides where a run starts:

    no labels                       this is a pre-training; from scratch
    frozen encoder (pose_head)      from the last pre-training before it
    needs a start (finetune, ...)   from the pose_head run of its scenario since the last pre-training, if there is
                                    one (a new head would first damage the encoder), otherwise from the pre-training
    fused poses (multi_view_teacher)   from that pose_head run, or without pre-training from the run of its scenario
                                    before it, such as supervised; what follows in its scenario starts from the student
    all others                      from scratch
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from hand_tf.core import command_line, flagfiles
from hand_tf.core.setting_fields import SettingError
from hand_tf.training import regimes
from hand_tf.training.settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a study: its settings, and the command-line arguments that ask for them."""

    settings: TrainingSettings
    arguments: tuple[str, ...]


def parse_grid(text: str, scenarios: Sequence[str] = ()) -> list[tuple[str, str | None]]:
    """The runs of a grid in order: (flagfile, scenario or None); the scenario `*` stands for each of `scenarios`.

    Raises SettingError for half a cell, and for scenarios without a `*` or the other way round.
    """
    runs, starred = [], False
    for cell in (cell.strip() for cell in text.replace("\n", ";").split(";")):
        scenario, equals, listed = (part.strip() for part in cell.partition("="))
        if equals:
            names = [name.strip() for name in listed.split(",")]
            if not scenario or not all(names):
                raise SettingError(f"--grid cell {cell!r}: expected SCENARIO = FLAGFILE, FLAGFILE, ...")
            if scenario == "*" and not scenarios:
                raise SettingError(f"--grid cell {cell!r}: expected --scenario, such as S0:10%, for its *")
            starred |= scenario == "*"
            runs += [(name, each) for each in (scenarios if scenario == "*" else (scenario,)) for name in names]
        elif cell:
            runs.append((cell, None))
    if scenarios and not starred:
        raise SettingError(f"--scenario={scenarios[0]}: expected a cell of --grid with the scenario *")
    return runs


def plan(
    grid: Sequence[tuple[str, str | None]], *, data_dir: str, output: str, sizes: Sequence[str] = (), seed: str = "0"
) -> list[PlannedRun]:
    """The runs of a grid for one seed, in the order in which they are to be trained.

    Args:
        grid: from `parse_grid`.
        data_dir: folder of records; output: folder of the run folders.
        sizes: flagfiles that override those of the grid. Beside NAME.flags, NAME.<flagfile>.flags is read too, if it is
            there, for the runs of that flagfile only.

    Raises SettingError for an unknown flagfile, wrong settings, a scenario for a regime without labels, a run with
    nothing to start from, or two runs that would share a folder.
    """
    runs, pretrained, heads = [], None, {}
    for flagfile, scenario in grid:
        try:
            arguments = _arguments(flagfile, scenario, data_dir, output, sizes, seed)
            regime = _regime(arguments)
            if regime.needs_init:
                start = pretrained if regime.frozen else heads.get(scenario, pretrained)
                if regime.fused and scenario not in heads:
                    raise SettingError(
                        f"--regime={regime.name} needs a pose_head of its scenario before it in the grid, or without"
                        " pre-training a supervised run"
                    )
                if not start:
                    raise SettingError(f"--regime={regime.name} needs a pre-training before it in the grid")
                arguments.append(f"--init_from={start}")
            settings = command_line.parse(TrainingSettings, arguments)
        except SettingError as error:
            cell = f"{scenario} = {flagfile}" if scenario else flagfile
            raise SettingError(f"--grid cell {cell!r}: {error}") from error
        if any(run.settings.workdir == settings.workdir for run in runs):
            raise SettingError(f"--grid: two of its runs would have the folder {settings.workdir}")
        if not regime.labelled:
            pretrained, heads = settings.workdir, {}
        elif regime.frozen or regime.fused or not pretrained:
            heads[scenario] = settings.workdir
        runs.append(PlannedRun(settings, tuple(arguments)))
    return runs


def _arguments(flagfile, scenario, data_dir, output, sizes, seed):
    """The command-line arguments of a run, except for where it starts."""
    path = flagfiles.find_flagfile(flagfile)
    overriding = [flagfiles.find_flagfile(size) for size in sizes]
    overriding += [own for own in (size.with_suffix(f".{path.stem}.flags") for size in overriding) if own.is_file()]
    names = [flagfiles.name_of(path).replace("/", "_"), f"seed{seed}"]
    if scenario:
        names.insert(1, scenario.replace(":", "_").replace("%", "pct"))
    arguments = [f"--flagfile={each}" for each in (path, *overriding)]
    arguments += [f"--data_dir={data_dir}", f"--workdir={pathlib.Path(output, '-'.join(names))}", f"--seed={seed}"]
    return [*arguments, f"--scenario={scenario}"] if scenario else arguments


def _regime(arguments):
    """The regime of a run whose start is not known yet."""
    settings = command_line.parse(TrainingSettings, [*arguments, "--init_from=unknown"])
    return regimes.REGIMES[settings.regime]
