"""The people of the dome have the published sizes, and each use of random numbers has its own key."""

import ast
import collections
import pathlib

import numpy as np
import pytest

from tfrecords_tools.dome import random_keys
from tfrecords_tools.dome.person import people
from tfrecords_tools.dome.random_keys import RandomKey


@pytest.fixture(scope="module")
def rows():
    return people.statistics(3, 400)


def test_samples_have_the_published_spread(rows):
    assert len(rows) == 6 + 19
    for name, unit, mean, sd, published_mean, published_sd in rows:
        assert unit == "mm"
        assert mean == pytest.approx(published_mean, rel=0.03), name
        assert sd == pytest.approx(published_sd, rel=0.25), name


def test_a_person_adds_up():
    for index in range(60):
        person = people.traits(1, index)
        tip = person.bases[2, 1] + person.lengths[2].sum()
        soft = people.SOFT_TIP[2] / 2 * person.length / people.MEDIAN_LENGTH
        assert tip + soft == pytest.approx(person.length, rel=1e-3)
        # Without thumb: knuckles in order, fingers of believable proportions.
        assert np.all(np.diff(person.bases[1:, 0]) < -8)
        fingers = person.lengths[1:].sum(1)
        assert fingers[1] > fingers[3] and np.all(fingers > 0.3 * person.length)
        assert np.all(person.lengths > 10) and np.all(np.diff(person.radii, axis=1) < 0)
        assert np.all((person.skin >= 0) & (person.skin <= 1)) and 0 <= person.tone <= 1
        assert person.name == f"S{index}"


def test_length_and_breadth_go_together_but_not_wholly():
    crowd = [people.traits(5, index) for index in range(1, 400)]
    for sex in people.SEXES:
        sizes = np.array([(person.length, person.breadth) for person in crowd if person.sex == sex])
        assert 140 < len(sizes) < 260
        assert 0.3 < np.corrcoef(sizes.T)[0, 1] < 0.7


def test_subject_zero_is_the_median_person():
    for seed in range(5):
        person = people.traits(seed, 0)
        assert (person.length, person.breadth) == (people.MEDIAN_LENGTH, people.MEDIAN_BREADTH)
        assert (person.thickness, person.tone) == (1, 0.5)
        np.testing.assert_array_equal(person.lengths, people.traits(0, 0).lengths)
        for finger, row in enumerate(people.BONES):
            bones = person.lengths[finger] - [0, 0, people.SOFT_TIP[finger] / 2]
            np.testing.assert_allclose(bones, row[-3:])


def test_test_subjects_differ_for_every_seed():
    for seed in range(200):
        a, b = people.traits(seed, 9), people.traits(seed, 10)
        assert abs(a.length - b.length) > 6
        assert abs(a.tone - b.tone) > 0.4
        assert np.abs(a.skin - b.skin).max() > 0.08


def test_few_subjects_already_cover_the_range():
    for seed in range(20):
        crowd = [people.traits(seed, index) for index in range(1, 11)]
        lengths, tones = (np.array([getattr(p, name) for p in crowd]) for name in ("length", "tone"))
        assert lengths.max() - lengths.min() > 27
        assert tones.min() < 0.2 and tones.max() > 0.8


def test_tones_follow_the_monk_scale():
    for tone, swatch in zip(np.linspace(0, 1, 10), people.SWATCHES, strict=True):
        np.testing.assert_allclose(people.skin_colour(tone), swatch)
    # Warmth moves the hue, hardly the lightness.
    for tone in (0.1, 0.5, 0.9):
        olive, ruddy = people.skin_colour(tone, -1), people.skin_colour(tone, 1)
        assert ruddy[0] / ruddy[2] > olive[0] / olive[2]
        assert abs(ruddy.mean() - olive.mean()) < 0.03


def test_sleeves_vary():
    crowd = [people.traits(2, index) for index in range(1, 200)]
    edges = np.array([person.sleeve.edge for person in crowd])
    bare = edges == people.BARE
    assert 0.06 < bare.mean() < 0.2
    covered = edges[~bare]
    assert covered.max() < -10 and covered.min() > -people.FOREARM_RATIO * 210
    assert covered.max() - covered.min() > 100
    assert {person.sleeve.pattern for person in crowd} == set(people.PATTERNS)
    for person in crowd:
        assert np.all((person.sleeve.colour >= 0) & (person.sleeve.colour <= 1))
        assert np.abs(person.sleeve.colour - person.sleeve.colour2).max() > 0.01


def test_traits_are_a_function_of_seed_and_index():
    person = people.traits(4, 7)
    people.traits.cache_clear()
    again = people.traits(4, 7)
    assert again is not person
    np.testing.assert_array_equal(again.bases, person.bases)
    assert again.sleeve.edge == person.sleeve.edge
    assert people.traits(5, 7).length != person.length


def test_every_use_of_random_numbers_has_its_own():
    assert len({int(key) for key in RandomKey.__members__.values()}) == len(RandomKey.__members__)
    lengths = collections.defaultdict(set)
    for path in pathlib.Path(random_keys.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            key = node.elts[1] if isinstance(node, ast.List) and len(node.elts) > 1 else None
            if isinstance(key, ast.Attribute) and getattr(key.value, "id", None) == "RandomKey":
                lengths[key.attr].add(len(node.elts))
    assert all(len(found) == 1 for found in lengths.values())
    assert set(lengths) == set(RandomKey.__members__)
