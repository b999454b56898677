"""Settings as flags: types, bounds, flagfiles, help, exit statuses."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import pytest

from hand_tf.core import command_line, entry_point
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, as_flags, as_texts, check, setting
from hand_tf.training.settings import TrainingSettings

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """One field of each kind."""

    output: str = setting("Folder to write.")
    size: int = setting("Side, px.", 128, low=16, high=512, section="Crops")
    share: float = setting("Share of something.", 0.5, above=0, below=1, section="Crops")
    rule: str = setting("Which rule.", "plain", choices=("plain", "fancy"))
    draw: bool = setting("Draw it.", True)
    scale: tuple[float, float] = setting("Range.", (0.6, 1.25), above=0)
    cameras: tuple[str, ...] = setting("Only these.", ())
    input: tuple[str, ...] = setting("Folder; may be repeated.", (), repeated=True)
    limit: int | None = setting("At most.", None, low=1)
    files: tuple[str, ...] = setting("Files.", (), positional="FILE...")

    def __post_init__(self):
        check(self)


def main(settings: ExampleSettings) -> None:
    """Prints the settings, or fails as it is told to."""
    if settings.output == "bad":
        raise InputError("bad.csv: field x: a number expected")
    if settings.output == "bug":
        raise ValueError("operands could not be broadcast together")
    print(settings)


def parse(*arguments, output="out"):
    return command_line.parse(ExampleSettings, [f"--output={output}", *arguments])


def test_defaults_stand_in_the_dataclass_alone():
    assert parse() == ExampleSettings(output="out")


def test_every_kind_of_field_is_read():
    found = parse(
        *("--size=64", "--share=0.25", "--rule=fancy", "--nodraw", "--scale=1,2", "--cameras=00_03,00_07"),
        *("photo.jpg", "--input=a", "--input=b", "--limit=3", "clip.mp4"),
    )
    assert found == ExampleSettings(
        output="out",
        size=64,
        share=0.25,
        rule="fancy",
        draw=False,
        scale=(1.0, 2.0),
        cameras=("00_03", "00_07"),
        input=("a", "b"),
        limit=3,
        files=("photo.jpg", "clip.mp4"),
    )


def test_flags_written_out_are_read_back():
    settings = parse("--size=64", "--nodraw", "--scale=1,2", "--input=a", "--input=b,c", "--share=0.1")
    assert command_line.parse(ExampleSettings, as_flags(settings).splitlines()) == settings
    assert as_texts(settings)["draw"] == "false" and "limit" not in as_texts(settings)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--size=8", "--size=8: expected at least 16 and at most 512"),
        ("--share=1", "--share=1.0: expected above 0 and below 1"),
        ("--share=nan", "--share=nan: expected a finite number"),
        ("--share=inf", "--share=inf: expected a finite number"),
        ("--rule=odd", "--rule=odd: expected one of plain, fancy"),
        ("--scale=1", "--scale=1: expected 2 numbers, separated by commas"),
        ("--scale=1,x", "--scale=1,x: expected 2 numbers, separated by commas"),
        ("--scale=0,1", "--scale=0.0,1.0: expected above 0"),
        ("--limit=0", "--limit=0: expected at least 1"),
        ("--size=many", "--size=many: expected a whole number"),
        ("--share=much", "--share=much: expected a number"),
        ("--draw=maybe", "--draw=maybe: expected true or false"),
        ("--sise=64", "sise"),
    ],
)
def test_a_wrong_flag_says_which_and_what_was_expected(argument, message, capsys):
    assert command_line.run(main, ["--output=out", argument]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_a_dataclass_checks_itself_whoever_makes_it():
    with pytest.raises(SettingError, match="--size=8"):
        ExampleSettings(output="out", size=8)


def test_a_missing_flag_and_arguments_that_nobody_takes(capsys):
    assert command_line.run(main, []) == 2
    assert "--output is missing: Folder to write." in capsys.readouterr().err
    arguments = ["--regime=pretrain", "--data_dir=a", "--workdir=b", "photo.jpg"]
    with pytest.raises(SettingError, match=r"unexpected argument 'photo\.jpg'"):
        command_line.parse(TrainingSettings, arguments)


def test_a_flag_whose_value_was_forgotten_does_not_take_the_next_flag(capsys):
    assert command_line.run(main, ["--output", "--size=64"]) == 2
    assert "--output is followed by --size=64: expected a value" in capsys.readouterr().err


def test_wrong_input_gives_one_line_and_status_1(capsys):
    assert command_line.run(main, ["--output=bad"]) == 1
    assert capsys.readouterr().err == "error: bad.csv: field x: a number expected\n"


def test_a_fault_of_the_program_shows_its_traceback():
    with pytest.raises(ValueError, match="broadcast"):
        command_line.run(main, ["--output=bug"])


# --- flagfiles ------------------------------------------------------------------------------------------------------


def test_flagfiles_include_what_lies_beside_them(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "common.flags").write_text("# a comment\n// another\n\n--size=32\n--share=0.1\n")
    (tmp_path / "elsewhere" / "mine.flags").write_text("--flagfile=common.flags\n--share=0.2\n")
    monkeypatch.chdir(tmp_path)
    for arguments in (["--flagfile=elsewhere/mine.flags"], ["--flagfile", "elsewhere/mine.flags"]):
        assert parse(*arguments) == ExampleSettings(output="out", size=32, share=0.2)
    assert parse("--flagfile=elsewhere/mine.flags", "--size=64").size == 64  # later flags override earlier ones
    assert parse("--size=64", "--flagfile=elsewhere/mine.flags").size == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--flagfile=loop.flags", "includes itself"),
        ("size=3", "expected one flag per line"),
        (
            "--flagfile=nowhere",
            "--flagfile=nowhere: no such file, and none of those that come with hand_tf: broad_dome, ",
        ),
    ],
)
def test_a_wrong_flagfile_is_named(text, message, tmp_path):
    (tmp_path / "loop.flags").write_text(text)
    with pytest.raises(SettingError, match=message):
        parse(f"--flagfile={tmp_path / 'loop.flags'}")


def test_shipped_flagfiles_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = ["--data_dir=a", "--workdir=b"]
    found = command_line.parse(TrainingSettings, ["--flagfile=pretrain_aug", *folders])
    assert (found.regime, found.in_plane_degrees, found.warmup_steps) == ("pretrain", 180.0, 500)
    assert command_line.parse(TrainingSettings, ["--flagfile=pretrain_aug.flags", *folders]) == found
    assert command_line.parse(TrainingSettings, ["--flagfile=paper/pretrain_aug", *folders]).same_view_share == 0
    (tmp_path / "pretrain_aug").write_text("--regime=pretrain\n--seed=7\n")  # a file of that name comes first
    assert command_line.parse(TrainingSettings, ["--flagfile=pretrain_aug", *folders]).seed == 7


SIZES = {
    "common",
    "demo",
    "development",
    "evidence",
    "hands",
    "smoke",
    "subjects",
    "version_0_2_0",
}  # read after the flagfile of a regime
OF_A_STUDY, OF_THE_DOME = {"recipe"}, {"broad_dome"}


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "flags").glob("*.flags")) if path.stem not in OF_A_STUDY | OF_THE_DOME],
    ids=lambda path: path.stem,
)
def test_every_shipped_flagfile_is_one_of_a_regime_or_of_sizes(path):
    sizes = path.stem.partition(".")[0] in SIZES
    plain = "supervised" if path.stem == "hands" else "pretrain"  # that of hands has a scenario
    start = [f"--flagfile={path.stem.partition('.')[2] or plain}"] if sizes else []
    arguments = [*start, f"--flagfile={path.stem}", "--data_dir=a", "--workdir=b", "--init_from=c"]
    try:
        found = command_line.parse(TrainingSettings, arguments)
    except SettingError as error:
        assert "learns from labels" in str(error)
        found = command_line.parse(TrainingSettings, [*arguments, "--scenario=S0"])
    assert sizes or found.regime == path.stem or found.regime == "pretrain"


def test_the_flagfile_of_the_dome_sets_all_that_varies():
    from tfrecords_tools.dome import __main__ as dome
    from tfrecords_tools.dome.variety import STUDIO

    found = command_line.parse(dome.DomeSettings, ["--flagfile=broad_dome", "--records=a"]).varied
    same = {name for name, value in vars(found).items() if value == getattr(STUDIO, name)}
    assert same == {"max_distance"}


@pytest.mark.parametrize("path", sorted((ROOT / "flags" / "paper").glob("*.flags")), ids=lambda path: path.stem)
def test_the_papers_flagfiles_have_nothing_of_ours(path):
    arguments = ["--data_dir=a", "--workdir=b", "--init_from=c"]
    if path.stem == "common":
        arguments.append("--regime=pretrain")
    elif not path.stem.startswith("pretrain"):
        arguments.append("--scenario=S0")
    ours = {"same_view_share": 0.0, "points_to_map": "dense", "normalize_points": False, "composite": False}
    ours |= {"mask_weight": 0.0, "foreground_weight": 1.0, "centre_sigma": 0.0, "equal_weights": False}
    ours |= {"jitter_unlabelled": False, "colour_strength": 0.0, "head": "mlp", "joints_2d_weight": 0.0}
    ours |= {"swap_background_share": 0.0}
    ours |= {"encode_once": False, "points": "dense", "latent_dropout": 0.0, "label_views": "one"}
    for size in ("", "demo", "evidence", "smoke"):
        after = [f"--flagfile={size}"] if size else []
        found = command_line.parse(TrainingSettings, [f"--flagfile=paper/{path.stem}", *after, *arguments])
        assert {name: getattr(found, name) for name in ours} == ours | {"mask_weight": found.mask_weight}
        assert not found.mask_weight or not found.composite  # without a mask its weight counts for nothing


def test_every_regime_has_a_flagfile():
    from hand_tf.training import regimes

    assert {path.stem for path in (ROOT / "flags").glob("*.flags")} >= set(regimes.REGIMES)


# --- help and programs ----------------------------------------------------------------------------------------------


def test_help_is_grouped_and_shows_defaults(capsys):
    assert command_line.run(main, ["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Crops:" in lines and "Common to all commands:" in lines
    assert lines[lines.index("Arguments:") + 1].split() == ["FILE...", "Files."]
    assert next(line for line in lines if "--size" in line).split("  ")[-1] == "Side, px. Default: 128."
    assert "Folder to write. Required." in next(line for line in lines if "--output" in line)
    assert "One of plain, fancy. Default: plain." in next(line for line in lines if "--rule" in line)
    assert max(map(len, lines)) <= 120


def program(*arguments, **options):
    code = "from hand_tf.core import entry_point; entry_point.main()"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **streams)


def test_a_reader_that_has_seen_enough_ends_it_quietly():
    # The reader is gone before the program writes: otherwise a pipe may hold the whole text and nothing breaks.
    reader, writer = os.pipe()
    os.close(reader)
    running = program("train", "--help", stdout=writer)
    os.close(writer)
    assert running.stderr.read() == "" and running.wait() == 141


def test_another_broken_pipe_is_an_error(capsys):
    def broken(settings: ExampleSettings) -> None:
        raise BrokenPipeError("the peer is gone")

    assert command_line.run(broken, ["--output=out"]) == 1
    assert "error: the peer is gone" in capsys.readouterr().err


def test_a_backend_that_is_not_installed_is_one_line(capsys, monkeypatch):
    def absent(settings: ExampleSettings) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert command_line.run(absent, ["--output=out"]) == 1
    assert capsys.readouterr().err == "error: KERAS_BACKEND=torch: torch is not installed\n"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ModuleNotFoundError):  # a fault of ours keeps its traceback
        command_line.run(absent, ["--output=out"])


def test_the_entry_point_lists_runs_and_refuses_commands():
    listed, _ = program("--help").communicate()
    assert all(f"  {name} " in listed for name in entry_point.COMMANDS)
    wrong = program("trian")
    assert wrong.wait() == 2 and "trian: no such command; expected one of dome, build" in wrong.stderr.read()
    wrong = program("train", "--flagfile=pose_head", "--data_dir=a", "--workdir=b", "--scenario=S0")
    assert wrong.wait() == 2 and "expected its folder as --init_from" in wrong.stderr.read()
