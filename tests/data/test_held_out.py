"""Held-out stretches: their size, their place, and that they are stretches."""

import collections
import itertools

import pytest

from hand_tf.data import held_out, scenarios


def rows(subjects=("S0", "S1", "S10"), sides=("left", "right"), frames=400, first=100):
    return [
        {"key": f"a/{subject}/{side}/{frame:08d}", "sequence": "a", "subject": subject, "side": side, "frame": frame}
        | {"labelled": True, "cameras": ("00_00", "00_01")}
        for subject in subjects
        for side in sides
        for frame in range(first, first + frames)
    ]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_the_share_of_every_group_is_held_out_in_two_stretches(share):
    held = held_out.held_out_keys(rows(), share)
    places = collections.defaultdict(list)
    for key in sorted(held):
        group, _, frame = key.rpartition("/")
        places[group].append(int(frame))
    assert len(places) == 6
    for frames in places.values():
        assert len(frames) == pytest.approx(400 * share, abs=2)
        gaps = [b - a for a, b in itertools.pairwise(frames) if b - a > 1]
        assert len(gaps) <= 1  # two stretches, which may touch
        assert frames[0] < 300 <= frames[-1]  # one in each half of the time


def test_the_choice_depends_on_the_group_alone():
    whole = held_out.held_out_keys(rows(), 0.1)
    assert held_out.held_out_keys(reversed(rows(subjects=("S1",))), 0.1) == {key for key in whole if "/S1/" in key}
    starts = {
        min(key for key in whole if f"/{s}/{side}/" in key)[-8:]
        for s in ("S0", "S1", "S10")
        for side in ("left", "right")
    }
    assert len(starts) > 3  # groups do not share their places


def test_nothing_is_held_out_by_default_and_labels_stay_those_of_the_scenario():
    assert held_out.held_out_keys(rows(), 0.0) == set()
    held = held_out.held_out_keys(rows(), 0.1)
    left = [row for row in rows() if row["key"] not in held]
    chosen = scenarios.choose_labels("S0:64", left, ("S0", "S1", "S10"))
    assert len(chosen) == 64 and not {key for key, _ in chosen} & held
    every = scenarios.choose_labels("S0:all", rows(), ("S0", "S1", "S10"))
    rank = {crop: n for n, crop in enumerate(every)}
    assert [rank[crop] for crop in chosen] == sorted(rank[crop] for crop in chosen)  # the same order, with gaps
