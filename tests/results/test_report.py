"""The report: its tables hold the numbers of the results and nothing else, and its page needs nothing from outside."""

import base64
import html.parser
import json
import re
import statistics
import xml.etree.ElementTree as ElementTree

import cv2
import default_networks
import numpy as np
import pytest

from hand_tf import evaluate, report
from hand_tf.core import command_line, drawing, reading, records_folder, skeleton
from hand_tf.core.setting_fields import as_texts
from hand_tf.results import overlays, results_table
from hand_tf.training import runs
from hand_tf.training.settings import TrainingSettings

# Errors (N-MPJPE, mm) of the seeds of each cell: (scenario, labels) -> configuration -> seeds.
TABLE = {
    ("S0", 640): {"supervised": [30.125, 31.5], "pose_head": [33.0], "semi_supervised": [31.0]},
    ("S0:10%", 64): {"supervised": [45.25, 44.0], "pose_head": [34.375, 33.0]},
    ("S0+S1", 1280): {"supervised": [28.0]},
}
MEAN_POSE = 77.5


def numbers(error):
    """Measures as `evaluate.measure` returns them, all derived from one error."""
    joints = {name: {"n_mpjpe": error, "mpjpe": 1.1 * error} for name in skeleton.JOINT_NAMES}
    joints["wrist"] = {"n_mpjpe": 0.0, "mpjpe": 0.0}
    aucs = {"auc_0_50": 1 - error / 100, "auc_20_50": 1 - error / 200}
    return {
        **{"n_mpjpe": error, "mpjpe": 1.1 * error, "pa_mpjpe": 0.6 * error, **aucs, "per_joint": joints},
        "pck": np.clip(np.arange(51) / error, 0, 1).tolist(),
        "per_subject": {},
    }


def write_run(folder, regime, scenario=None, labels=0, seed=0, init_from=None, **flags):
    """A run folder without models, as hand_tf.train leaves it; pre-training runs with a picture."""
    folder.mkdir(parents=True)
    flags = {"regime": regime, "seed": str(seed), "in_plane_degrees": "0.0", "composite": "true"} | flags
    summary = {"regime": regime, "scenario": scenario, "labels": labels, "init_from": init_from, "steps": 20}
    summary |= {"batch_size": 4, "seconds": 90.0, "backend": "tensorflow", "flags": flags}
    (folder / "run.json").write_text(json.dumps(summary))
    probe = "" if labels else ",70,79,75"
    header = "epoch,loss" + ("" if labels else ",probe,probe_mean_pose,probe_start")
    (folder / "history.csv").write_text(f"{header}\n1,0.5{probe}\n2,0.25{probe}\n")
    if not labels:
        (folder / "pictures").mkdir()
        drawing.save(folder / "pictures" / "novel_views_00002.png", np.full((8, 8, 3), 90, np.uint8))
    return folder


def write_results(folder, error, **data):
    data = {"subjects": "S9+S10", "max_crops": 0, "box_margin": 1.5, "crop_size": 32, "instants": 9} | data
    data |= {"sequences": ["noise"], "index_sha256": data.get("index_sha256", "ab" * 32)}
    rules = {rule: numbers(factor * error) for rule, factor in (("box2d", 1), ("joints3d", 1.25))}
    for rule in rules.values():
        rule["reference"] = numbers(MEAN_POSE)
    result = {"run": runs.describe(folder), "data": data, "crops": 1234, "results": rules}
    result |= {"versions": {"keras": "3"}, "machine": {"platform": "Linux", "cpus": 2, "devices": ["cpu:0"]}}
    (folder / "results.json").write_text(json.dumps(result))


def write_study(root):
    """A folder of runs with the errors of `TABLE`; pose heads stand on one `pretrain_aug` run."""
    before = write_run(root / "pre", "pretrain", in_plane_degrees="180.0", perceptual_weights="none")
    for (scenario, labels), cells in TABLE.items():
        for regime, errors in cells.items():
            for seed, error in enumerate(errors):
                folder = root / "heads" / f"{regime}_{labels}_{seed}"
                start = {"init_from": str(before)} if regime == "pose_head" else {}
                write_results(write_run(folder, regime, scenario, labels, seed, **start), error)


def run(root, *arguments):
    return command_line.run(report.main, [f"--runs={root}", *arguments])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a finished report."""
    root = tmp_path_factory.mktemp("runs")
    write_study(root)
    assert run(root) == 0
    return root / "report"


class Reader(html.parser.HTMLParser):
    """Collects tables as lists of rows of (text, class), and everything that a browser would load."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.loaded, self.cell, self.open = [], [], None, []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loaded += [attributes[name] for name in ("src", "href", "srcset", "data") if name in attributes]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.cell = ["", attributes.get("class") or ""]
            self.tables[-1][-1].append(self.cell)
        if tag in ("span", "br") and self.cell:
            self.cell[0] += " "

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.cell[0] += data


def expected_cell(errors):
    mean = f"{np.mean(errors):.2f}"
    return f"{mean} ± {statistics.stdev(errors):.2f} ({len(errors)})" if len(errors) > 1 else mean


COLUMNS = {"supervised": "supervised", "pose_head": "pose_head on pretrain_aug", "semi_supervised": "semi_supervised"}


def test_table_1_holds_exactly_the_results(written):
    table = Reader((written / "report.html").read_text()).tables[0]
    assert [text for text, _ in table[0]] == ["scenario", "labels", *COLUMNS.values(), "mean pose"]
    expected = sorted(TABLE.items(), key=lambda item: -item[0][1])
    for ((scenario, labels), cells), row in zip(expected, table[1:], strict=True):
        assert [row[0][0], row[1][0], row[-1][0]] == [scenario, f"{labels:,}", f"{MEAN_POSE:.2f}"]
        best = min(cells, key=lambda regime: np.mean(cells[regime]))
        for regime, (text, kind) in zip(COLUMNS, row[2:-1], strict=True):
            assert text == (expected_cell(cells[regime]) if regime in cells else "–")
            assert (kind == "best") == (regime == best)


def test_table_2_has_every_metric_by_both_crop_rules(written):
    tables = Reader((written / "report.html").read_text()).tables[1:3]
    for lines, factor in zip(tables, (1, 1.25), strict=True):
        line = next(row for row in lines if row[0][0] == "semi_supervised")
        error = 31.0 * factor
        errors = [f"{value:.2f}" for value in (error, 21 / 20 * error, 1.1 * error, 0.6 * error)]
        assert [text for text, _ in line[1:]] == [*errors, f"{1 - error / 100:.3f}", f"{1 - error / 200:.3f}"]
        mean_pose = next(row for row in lines if row[0][0] == "mean pose")
        assert [text for text, _ in mean_pose[1:3]] == [f"{MEAN_POSE:.2f}", f"{21 / 20 * MEAN_POSE:.2f}"]


def test_the_page_says_which_convention_its_means_follow(written):
    for name in ("report.html", "report.md"):
        text = " ".join((written / name).read_text().split())
        assert "21 joints, including the wrist, whose error is 0" in text and "errors are 21/20 of these" in text
        # In short: the best of the fewest and of the most labels.
        assert f"is best: {33.6875:.1f} mm ({33.6875 * 21 / 20:.1f} mm without the wrist)" in text
        assert "With 1,280 labels (S0+S1), supervised is best: 28.0 mm (29.4 mm without the wrist)" in text
        aided, alone = (np.mean(TABLE["S0:10%", 64][name]) for name in ("pose_head", "supervised"))
        assert f"64 labels and unlabelled views (pose_head on pretrain_aug): {aided:.1f} mm. Labels" in text
        assert f"Labels alone (supervised): {alone:.1f} mm with 64, " in text and " mm with 1,280." in text


def test_labels_that_chose_the_networks_are_named(tmp_path):
    write_results(write_run(tmp_path / "plain", "supervised", "S0:8", 8, keep="last", early_stopping="0"), 40.0)
    write_results(write_run(tmp_path / "best", "semi_supervised", "S0:8", 8, keep="best"), 45.0)
    assert run(tmp_path) == 0
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "decided which networks these runs kept: semi_supervised." in markdown


def test_nothing_is_best_that_loses_to_the_mean_pose(tmp_path, capsys):
    """One row without a winner, one where the mean pose beats one of two configurations, one where both draw."""
    errors = {"S0:8": (90.0, 80.0), "S0:16": (60.0, 80.0), "S0:32": (MEAN_POSE, 79.0)}
    for scenario, values in errors.items():
        for regime, error in zip(("supervised", "semi_supervised"), values, strict=True):
            labels = int(scenario.partition(":")[2])
            write_results(write_run(tmp_path / f"{regime}_{labels}", regime, scenario, labels), error)
    assert run(tmp_path) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if re.search(r"\d\*", line)] == ["S0:16"]
    table = Reader((tmp_path / "report" / "report.html").read_text()).tables[0]
    assert [(row[0][0], text) for row in table for text, kind in row if kind == "best"] == [("S0:16", "60.00")]
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "With 8 labels (S0:8), no configuration beats the labels' mean pose, which scores 77.5 mm" in markdown
    assert "the lowest error is that of semi_supervised: 80.0 mm (84.0 mm without the wrist)." in markdown
    assert "With 32 labels (S0:32), no configuration beats the labels' mean pose" in markdown
    assert "is best" not in markdown and "**80.00**" not in markdown and "**60.00**" in markdown
    assert "nothing useful was learned: semi_supervised on S0:16, semi_supervised on S0:32," in markdown


def test_markdown_and_terminal_say_the_same(written, capsys):
    lines = (written / "report.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| S0:10% |"))
    supervised, head = (TABLE["S0:10%", 64][name] for name in ("supervised", "pose_head"))
    mean, spread = expected_cell(head).split(" ", 1)
    assert row == f"| S0:10% | 64 | {expected_cell(supervised)} | **{mean}** {spread} | – | *{MEAN_POSE:.2f}* |"
    assert run(written.parent, f"--output={written.parent / 'again'}") == 0
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("S0:10%"))
    shown = [*expected_cell(supervised).split(), *f"{mean} {spread}*".split(), "–", f"{MEAN_POSE:.2f}"]
    assert line.split() == ["S0:10%", "64", *shown]
    for name in ("report.html", "report.md"):
        assert (written / name).read_text() == (written.parent / "again" / name).read_text()


def test_the_page_needs_nothing_from_outside(written):
    text = (written / "report.html").read_text()
    loaded = Reader(text).loaded
    assert loaded and all(item.startswith("data:image/") for item in loaded)
    assert not re.search(r"url\(|@import|<script|<link|https?://", text)
    for item in loaded:
        kind, _, data = item.partition(";base64,")
        data = base64.b64decode(data)
        if kind == "data:image/svg+xml":
            svg = ElementTree.fromstring(data)
            outside = [value for part in svg.iter() for name, value in part.attrib.items() if name.endswith("href")]
            assert all(value.startswith("#") for value in outside)
        else:
            assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


def test_pictures_that_markdown_shows_are_there(written):
    shown = re.findall(r"\]\((pictures/.+?)\)", (written / "report.md").read_text())
    assert "pictures/error_over_labels.svg" in shown and "pictures/pre_novel_views.png" in shown
    assert sorted(shown) == sorted(f"pictures/{path.name}" for path in (written / "pictures").iterdir())


def test_notes_say_what_is_missing(written):
    text = (written / "report.md").read_text()
    for note in (
        "A cell without ± is a single run",
        "so ± leaves out its seed: pose_head on pretrain_aug.",
        "Not measured: pose_head on pretrain_aug on S0+S1, semi_supervised on S0+S1, semi_supervised on S0:10%",
        "the paper uses ImageNet weights",
        "--data_dir",
    ):
        assert note in text
    assert "--in_plane_degrees=180.0" in text and "--workdir=RUNS/heads/supervised_64_0" in text
    assert "--init_from=RUNS/pre" in text and str(written.parent) not in text


def test_text_of_runs_cannot_become_markup(tmp_path):
    write_results(write_run(tmp_path / "run", "supervised", "S0:<b>1", 3, note="<script>"), 20.0)
    assert run(tmp_path) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    assert "<script" not in text and "<b>" not in text and "S0:&lt;b&gt;1" in text


def test_runs_that_differ_in_more_than_the_seed_get_columns_of_their_own(tmp_path):
    for name, settings in {"a": {}, "b": {"seed": 1}, "c": {"seed": 2, "head_width": "64"}}.items():
        settings = {"head_width": "32"} | settings
        write_results(write_run(tmp_path / name, "supervised", "S0", 9, **settings), 20.0)
    found = results_table.ResultsTable(results_table.load_results(tmp_path))
    assert {column: found.cell((9, "S0"), column).count for column in found.columns} == {
        "supervised, head_width=32": 2,
        "supervised, head_width=64": 1,
    }


def test_the_papers_settings_are_one_word_in_the_name_of_a_column(tmp_path):
    folders = ["--data_dir=a", "--workdir=b", "--scenario=S0:9"]
    for name, arguments in {
        "ours": [],
        "paper": ["--flagfile=paper/common"],
        "half": ["--points_to_map=dense"],
    }.items():
        flags = as_texts(command_line.parse(TrainingSettings, [*arguments, "--regime=semi_supervised", *folders]))
        flags = {key: value for key, value in flags.items() if key not in ("regime", "seed", "scenario")}
        write_results(write_run(tmp_path / name, "semi_supervised", "S0:9", 9, **flags), 20.0)
    (paper,) = (c for c in results_table.ResultsTable(results_table.load_results(tmp_path)).columns if "paper" in c)
    assert paper.startswith("semi_supervised, as in the paper") and "centre_sigma" not in paper


def test_a_run_that_is_older_than_a_flag_had_its_default(tmp_path):
    """validation_share came after 0.2.0."""
    for seed, flags in enumerate(({}, {"validation_share": "0.0"}, {"validation_share": "0.1"})):
        write_results(write_run(tmp_path / str(seed), "supervised", "S0", 9, seed, **flags), 20.0)
    found = results_table.ResultsTable(results_table.load_results(tmp_path))
    assert {column: found.cell((9, "S0"), column).count for column in found.columns} == {
        "supervised, validation_share=0.0": 2,
        "supervised, validation_share=0.1": 1,
    }


def test_bad_input_is_one_clear_line(tmp_path, capsys):
    def message():
        assert run(tmp_path) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "no results.json" in message()
    write_results(write_run(tmp_path / "a", "supervised", "S0", 9), 20.0)
    write_results(write_run(tmp_path / "b", "supervised", "S0", 9, 1), 21.0, subjects="S9")
    assert "b/results.json: measured with subjects S9," in message()
    (tmp_path / "b" / "results.json").write_text("{}")
    assert "b/results.json: not a result" in message()
    (tmp_path / "b" / "results.json").write_text("{")
    assert "b/results.json: not valid JSON" in message()
    assert run(tmp_path / "nowhere") == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert run(tmp_path, "--overlay_crops=0") == 2
    assert "--overlay_crops=0: expected at least 1" in capsys.readouterr().err


# --- poses on crops -------------------------------------------------------------------------------------------------


def test_wrist_position_undoes_the_projection():
    random = np.random.default_rng(2)
    pose, wrist = random.normal(scale=50, size=(21, 3)), np.array([14.0, -30.0, 800.0])
    pose -= pose[0]
    K = np.array([[90.0, 0, 15.5], [0, 90, 15.5], [0, 0, 1]])
    pixels = (pose + wrist) @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    accepted = np.ones(21)
    accepted[5], pixels[5] = 0, 1e4
    np.testing.assert_allclose(overlays.wrist_position(pose, pixels, K, accepted), wrist, rtol=1e-6)


def test_evaluate_and_report_of_real_records(records, tmp_path):
    """A run with random weights, measured and drawn on crops that the tests rendered."""
    folder = write_run(tmp_path / "run", "supervised", "S0:4", 4)
    default_networks.encoder(32, width=8, num_points=16, appearance_size=8).save(folder / "encoder.keras")
    default_networks.pose_head(16, width=32).save(folder / "pose_head.keras")
    subject = records_folder.load_manifest(records).subjects[-1]
    arguments = [f"--data_dir={records}", f"--run={folder}", f"--subjects={subject}", "--crop=box2d"]
    assert command_line.run(evaluate.main, arguments) == 0
    assert run(tmp_path, f"--data_dir={records}", "--overlay_crops=2") == 0
    picture = cv2.imread(str(tmp_path / "report" / "pictures" / "poses_1.png"))
    assert picture.shape[1] > 4 * overlays.SIZE and picture.std() > 10
    # Where views agree and are wrong is shown of a configuration that beats the mean pose.
    result = reading.read_json_object(folder / "results.json")
    for mean_pose in (1.0, 1e3):
        result["results"]["box2d"]["reference"]["n_mpjpe"] = mean_pose
        (folder / "results.json").write_text(json.dumps(result))
        output = tmp_path / f"report_{mean_pose:g}"
        assert run(tmp_path, f"--data_dir={records}", f"--output={output}") == 0
        assert (output / "pictures" / "agreed_and_wrong.png").is_file() == (mean_pose > 100)
        for page in ("report.md", "report.html"):
            assert ("Where the views agree and are wrong" in (output / page).read_text()) == (mean_pose > 100)
    assert "Only the crop rule box2d" in (tmp_path / "report" / "report.md").read_text()
