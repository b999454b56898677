"""Crops with fused poses: given the truth as fused poses, every label is that of the crop; and the mixed streams."""

import numpy as np
import pytest
import tensorflow as tf

from hand_tf.core import fusion, records_folder
from hand_tf.data import fused_labels, labelled_crops, scenarios

COUNT = 24


@pytest.fixture(scope="module")
def opened(records):
    return records_folder.open_records(records)


@pytest.fixture(scope="module")
def labels(opened):
    """All labels of S0 and S1."""
    chosen = scenarios.choose_labels("S0+S1:all", opened.index, opened.manifest.subjects)
    return labelled_crops.load_labels(opened, chosen)


@pytest.fixture(scope="module")
def truth(labels):
    """The true poses of these instants as fused poses; every instant has a weight of its own."""
    keys, first = np.unique(labels["key"].astype(str), return_index=True)
    world = fusion.to_world(labels["pose"][first].astype(float), labels["rotation"][first].astype(float))
    weights = np.linspace(0.5, 1.5, len(keys))[:, None] * np.ones((1, 21))
    return fused_labels.FusedPoses(keys, world.astype("float32"), weights.astype("float32"))


def stream(opened, fused, **settings):
    settings = {"count": COUNT, "seed": 0} | settings
    return fused_labels.crops(opened, ["S0", "S1"], fused, **settings)


def test_true_poses_give_the_labels_of_every_view(opened, labels, truth):
    of_crop = {bytes(source): n for n, source in enumerate(labels["source"])}
    seen, poses = set(), dict(zip(truth.keys, truth.weights, strict=True))
    for crop in stream(opened, truth, count=len(labels["pose"])).take(len(labels["pose"])).as_numpy_iterator():
        n = of_crop[bytes(crop["source"])]
        seen.add(n)
        np.testing.assert_allclose(crop["pose"], labels["pose"][n], atol=1e-2)  # mm
        # The centre of the hand is found from the cameras: the truth to a fraction of a pixel of a 32 px crop.
        np.testing.assert_allclose(crop["joints_2d"], labels["joints_2d"][n], atol=0.05)
        np.testing.assert_allclose(crop["intrinsics"], labels["intrinsics"][n])
        np.testing.assert_allclose(crop["pose_weight"], poses[labels["key"][n].decode()])
    assert len(seen) == len(labels["pose"])  # one pass shows every crop once


def test_instants_without_a_fused_pose_are_left_out(opened, labels, truth):
    few = fused_labels.FusedPoses(truth.keys[:3], truth.world[:3], truth.weights[:3])
    allowed = {bytes(s) for s, key in zip(labels["source"], labels["key"], strict=True) if key.decode() in few.keys}
    found = {bytes(crop["source"]) for crop in stream(opened, few).take(2 * COUNT).as_numpy_iterator()}
    assert found == allowed


def test_a_resumed_stream_sees_what_the_whole_one_saw(opened, truth):
    whole = [crop["source"] for crop in stream(opened, truth).take(3 * COUNT).as_numpy_iterator()]
    rest = [crop["source"] for crop in stream(opened, truth, first_epoch=2).take(COUNT).as_numpy_iterator()]
    assert whole[2 * COUNT :] == rest and whole[:COUNT] != whole[COUNT : 2 * COUNT]
    assert [c["source"] for c in stream(opened, truth, seed=1).take(COUNT).as_numpy_iterator()] != whole[:COUNT]


def test_statistics_are_those_of_poses_seen_from_all_sides(truth):
    mean, std = truth.statistics()
    assert not mean.any() and not std[0].any()
    turns = tf.linalg.qr(tf.random.stateless_normal([2000, 3, 3], [0, 1])).q.numpy()
    weights = truth.weights[:, 0] / truth.weights[:, 0].sum()
    for joint in (5, 20):
        seen = truth.world[:, joint] @ turns.swapaxes(1, 2)  # [turns, instants, 3]
        spread = np.sqrt((np.square(seen).mean(0) * weights[:, None]).sum(0))
        np.testing.assert_allclose(spread, std[joint], rtol=0.05)


def test_joints_can_be_left_out(truth):
    fewer = truth.without([20, 3])
    assert not fewer.weights[:, [3, 20]].any() and (fewer.weights[:, 5] == truth.weights[:, 5]).all()
    (_, std), (_, without) = truth.statistics(), fewer.statistics()
    assert not without[[3, 20]].any() and np.isfinite(without).all()
    np.testing.assert_allclose(without[5], std[5])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_every_batch_has_its_share_of_labels(opened, labels, truth, share):
    """Told apart by their weights: 3 for the labels, 7 for the others."""
    mine = labels | {"pose_weight": np.full_like(labels["pose_weight"], 3)}
    others = fused_labels.FusedPoses(truth.keys, truth.world, np.full_like(truth.weights, 7))
    batch_size, steps = 8, 3
    count = batch_size * steps

    def batches(first_epoch):
        rest = count - labelled_crops.num_labelled(count, share)
        return labelled_crops.training_batches(
            mine,
            32,
            batch_size=batch_size,
            steps=steps,
            seed=0,
            in_plane_degrees=20.0,
            scale_jitter=(0.8, 1.2),
            centre_jitter=0.05,
            colour_strength=0.1,
            swap_background_share=0.5,
            foreground_threshold=0.04,
            first_epoch=first_epoch,
            others=stream(opened, others, count=rest, first_epoch=first_epoch),
            share=share,
        )

    whole = list(batches(0).take(2 * steps).as_numpy_iterator())
    for _, _, weights in whole:
        assert abs((weights["pose"][:, 0] == 3).sum() - share * batch_size) < 1
    np.testing.assert_equal(list(batches(1).take(steps).as_numpy_iterator()), whole[steps:])
