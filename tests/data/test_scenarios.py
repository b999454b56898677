"""Scenarios: the same labels everywhere, the smaller amount inside the larger, one crop an instant before a second."""

import collections
import itertools
import json
import os
import subprocess
import sys

import pytest

from hand_tf.data import scenarios

CAMERAS = ("00_00", "00_01", "00_02")
SUBJECTS = tuple(f"S{i}" for i in range(11))
LABELLED = 40  # instants of every subject but S9, which has none


def rows_of(subject, instants=50, labelled=LABELLED, cameras=CAMERAS):
    """Index rows of one subject: unlabelled ones too, and every fourth instant seen by two cameras only."""
    return [
        {
            "key": f"pose1/{subject}/right/{frame:08d}",
            "subject": subject,
            "cameras": cameras[:2] if frame % 4 == 0 else cameras,
            "labelled": frame < labelled,
        }
        for frame in range(instants)
    ]


INDEX = [row for subject in SUBJECTS for row in rows_of(subject, labelled=0 if subject == "S9" else LABELLED)]
ROWS = {row["key"]: row for row in INDEX}


def choose(scenario, index=INDEX, subjects=SUBJECTS):
    return scenarios.choose_labels(scenario, index, subjects)


def subjects_of(labels):
    return {ROWS[key]["subject"] for key, _ in labels}


@pytest.mark.parametrize("scenario", ["S0:all", "S0..S2", "S1+S3:7", "*:all", "S10:50%"])
def test_labels_are_crops_that_exist_and_have_a_label(scenario):
    labels = choose(scenario)
    assert len(set(labels)) == len(labels) > 0
    for key, camera in labels:
        assert ROWS[key]["labelled"] and camera in ROWS[key]["cameras"]


@pytest.mark.parametrize(
    ("scenario", "count"),
    [
        ("S0", 40),
        ("S0:100%", 40),
        ("S0:50%", 20),
        ("S0:10%", 4),
        ("S0:1%", 1),  # never nothing
        ("S0:12.5%", 5),
        ("S0:99%", 39),  # rounded down
        ("S0:17", 17),
        ("S0:110", 110),
        ("S0:all", 110),  # 10 of the 40 instants have two views, 30 have three
        ("S0+S3", 80),
        ("S0..S4:10%", 20),
        ("S0..S2+S10:all", 440),
        ("S0+S0..S1", 80),  # a subject named twice counts once
        ("*", 400),
        (" S0:3 ", 3),
    ],
)
def test_counts(scenario, count):
    assert len(choose(scenario)) == count


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("S0..S4", ["S0", "S1", "S2", "S3", "S4"]),
        ("S9..S10", ["S9", "S10"]),
        ("S0..S6+S8", [*(f"S{i}" for i in range(7)), "S8"]),
        ("S3+S0", ["S3", "S0"]),
        ("*", list(SUBJECTS)),
    ],
)
def test_subjects(text, names):
    assert list(scenarios.parse_subjects(text, SUBJECTS)) == names


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([*(f"S{i}" for i in range(7)), "S8"], "S0..S6+S8"),
        (["S3", "S0"], "S3+S0"),
        (["S9", "S10", "anna", "bo2", "bo3", "S11"], "S9..S10+anna+bo2..bo3+S11"),
        (["S01", "S02"], "S01+S02"),
        ([], ""),
    ],
)
def test_subjects_in_words(names, text):
    assert scenarios.in_words(names) == text
    assert list(scenarios.expand_subjects(text, ())) == (names or [""])


def test_names_need_not_be_numbers():
    assert scenarios.parse_subjects("anna+bo2", ("anna", "bo2", "S0")) == ("anna", "bo2")


def test_a_scenario_takes_the_labels_of_its_subjects():
    assert subjects_of(choose("S2..S4:10%")) <= {"S2", "S3", "S4"}
    assert subjects_of(choose("S2..S4")) == {"S2", "S3", "S4"}
    assert subjects_of(choose("*:all")) == set(SUBJECTS) - {"S9"}


@pytest.mark.parametrize("subjects", ["S0", "S0..S4", "*"])
def test_smaller_amounts_are_inside_larger_ones(subjects):
    amounts = ["1", "1%", "5%", "10%", "50%", "100%", "all"]
    labels = [choose(f"{subjects}:{amount}") for amount in amounts]
    for smaller, larger in itertools.pairwise(labels):
        assert set(smaller) <= set(larger) and len(smaller) <= len(larger)
    assert len(labels[-1]) > len(labels[-2]) > len(labels[-3])


def test_every_instant_comes_once_before_any_comes_twice():
    every = choose("S0:all")
    for count in range(1, len(every) + 1):
        uses = collections.Counter(key for key, _ in every[:count])
        unused = LABELLED - len(uses)
        # An instant may be short of views, but none is used twice while another waits.
        assert max(uses.values()) == 1 or unused == 0
        assert max(uses.values()) <= 2 or min(uses.values()) >= 2


def test_cameras_and_instants_are_mixed():
    labels = choose("*")
    counts = collections.Counter(camera for _, camera in labels)
    assert set(counts) == set(CAMERAS) and min(counts.values()) > 70
    tenth = [int(key[-8:]) for key, _ in choose("*:10%")]
    assert min(tenth) < 8 and max(tenth) > 31  # not the first frames of a video, which look alike


def test_the_order_of_the_index_does_not_matter():
    assert choose("S0..S3:25%", INDEX[::-1]) == choose("S0..S3:25%")


def test_other_subjects_of_the_records_do_not_matter():
    assert choose("S1:50%", rows_of("S1"), ("S1",)) == choose("S1:50%")


def test_the_choice_is_the_same_in_every_process():
    code = (
        "import json, sys; from hand_tf.data import scenarios;"
        "index, subjects = json.load(sys.stdin);"
        "print(json.dumps(scenarios.choose_labels('S0..S4:30%', index, subjects)))"
    )
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps([INDEX, SUBJECTS]),
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert [tuple(label) for label in json.loads(result.stdout)] == choose("S0..S4:30%")


def test_the_papers_table_can_be_asked_for():
    subjects = tuple(f"S{i}" for i in range(9))
    index = [row for subject in subjects for row in rows_of(subject, 200, 200)]
    labels = {scenario: choose(scenario, index, subjects) for scenario in scenarios.TABLE_1}
    counts = [len(chosen) for chosen in labels.values()]
    assert counts == [1800, 1000, 600, 400, 200, 100, 20, 10, 2]
    one_subject = list(labels.values())[4:]
    assert all(set(few) <= set(many) for many, few in itertools.pairwise(one_subject))
    papers = list(scenarios.TABLE_1.values())
    assert papers == sorted(papers, reverse=True) and len(papers) == 9 and all(n % 16 == 0 for n in papers)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("S11", "no S11 in the records, which have S0, S1"),
        ("S0+T1", "no T1 in the records"),
        ("S9..S12", "no S11, S12 in the records"),
        ("S4..S0", r"no S4\.\.S0 in the records"),
        ("", "subjects ''"),
        ("S9", "the records hold no label of S9"),
        ("S0:111", "asks for 111 labels, the records have 110"),
        ("S0:0", "asks for 0 labels"),
        *(
            (f"S0:{amount}", "expected a count, a percentage such as 10%, or all")
            for amount in ("0%", "101%", "-5%", "-5", "ten", "1.5", "10%:5", "%", "all%")
        ),
    ],
)
def test_scenarios_that_cannot_be_met_are_refused(scenario, message):
    with pytest.raises(ValueError, match=message):
        choose(scenario)
