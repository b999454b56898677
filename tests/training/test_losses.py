"""Losses: their formulas in NumPy, and what `sample_weight` does to them."""

import keras
import numpy as np
import pytest
from keras import ops

from hand_tf.core.skeleton import NUM_JOINTS
from hand_tf.nets import feature_networks
from hand_tf.training import losses


@pytest.fixture
def generator():
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def features():
    return feature_networks.feature_model(16, "random")


def images(generator, batch=4, size=16):
    target = generator.integers(0, 256, (batch, size, size, 3)).astype("uint8")
    return target, generator.random((batch, size, size, 3)).astype("float32")


def poses(generator, batch=4):
    return (generator.normal(size=(2, batch, NUM_JOINTS, 3)) * 30).astype("float32")


def number(tensor):
    return float(ops.convert_to_numpy(tensor))


def test_pixel_l1_is_the_mean_over_channels(generator):
    target, image = images(generator)
    found = losses.pixel_l1(target, image)
    np.testing.assert_allclose(found, np.abs(target / 255.0 - image).mean(-1), atol=1e-6)
    np.testing.assert_allclose(losses.pixel_l1(target, target / 255.0), np.zeros((4, 16, 16)), atol=1e-6)
    # The loss object casts bytes to floats before it calls: the range must not depend on the type.
    np.testing.assert_array_equal(losses.pixel_l1(target.astype("float32"), image), found)


def test_pixel_l1_weights_the_foreground(generator):
    target, image = images(generator)
    weight = generator.integers(0, 3, (4, 16, 16)).astype("float32")
    expected = (np.abs(target / 255.0 - image).mean(-1) * weight).sum() / weight.size
    assert number(losses.PixelL1()(target, image, weight)) == pytest.approx(expected, rel=1e-5)


def test_feature_l1_is_the_mean_over_maps_and_per_sample(generator, features):
    target, image = images(generator)
    image[1] = target[1] / 255.0
    found = ops.convert_to_numpy(losses.feature_l1(target, image, features))
    wanted, seen = (features(x.astype("float32")) for x in (target / 255.0, image))
    differences = [
        np.abs(ops.convert_to_numpy(a) - ops.convert_to_numpy(b)).mean((1, 2, 3))
        for a, b in zip(wanted, seen, strict=True)
    ]
    assert len(differences) == 3
    np.testing.assert_allclose(found, np.mean(differences, 0), rtol=1e-3, atol=1e-4)
    assert found[1] < 1e-3 < found[0]
    weighted = losses.FeatureL1(features)(target, image, np.array([1.0, 0.0, 2.0, 0.0], "float32"))
    assert number(weighted) == pytest.approx((found[0] + 2 * found[2]) / 4, rel=1e-5)


def test_feature_l1_sees_a_change_of_colour_of_the_whole_picture(generator, features):
    # With batch statistics a change of brightness and contrast would vanish.
    target, _ = images(generator)
    duller = (0.5 * target / 255.0 + 0.25).astype("float32")
    assert number(losses.FeatureL1(features)(target, duller)) > 0.05


def test_feature_l1_trains_the_image_and_leaves_no_trace_in_the_model(generator, features, tmp_path):
    before = [ops.convert_to_numpy(weight).copy() for weight in features.weights]
    target, noise = images(generator)
    inputs = keras.Input((16, 16, 3))
    image = keras.layers.Conv2D(3, 1, activation="sigmoid", name="image")(inputs)
    model = keras.Model(inputs, {"image": image})
    model.compile(keras.optimizers.Adam(0.05), loss={"image": losses.FeatureL1(features)})
    history = model.fit(noise, {"image": target}, epochs=6, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert model.count_params() == 12
    for old, weight in zip(before, features.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), old)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(again(noise)["image"], model(noise)["image"], atol=1e-6)
    with pytest.raises(ValueError, match="load with compile=False"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_pose_mse_is_the_error_of_standardised_coordinates(generator):
    true, pred = poses(generator)
    std = generator.uniform(1, 30, (NUM_JOINTS, 3)).astype("float32")
    expected = (((true - pred) / std) ** 2).mean(-1)
    np.testing.assert_allclose(losses.pose_mse(true, pred, std), expected, rtol=1e-4)


def test_pose_mse_with_a_root_that_never_varies(generator):
    true, pred = poses(generator)
    std = np.ones((NUM_JOINTS, 3), "float32")
    std[0] = 0
    found = ops.convert_to_numpy(losses.pose_mse(true, pred, std))
    np.testing.assert_array_equal(found[:, 0], np.zeros(4))
    assert np.isfinite(found).all() and (found[:, 1:] > 0).all()


def test_pose_loss_is_the_mean_over_accepted_joints_only(generator):
    true, pred = poses(generator)
    std = np.full((NUM_JOINTS, 3), 10.0, "float32")
    weight = (generator.random((4, NUM_JOINTS)) < 0.6).astype("float32")
    loss = losses.PoseMSE(std)
    per_joint = (((true - pred) / 10) ** 2).mean(-1)
    expected = per_joint[weight > 0].mean()
    assert number(loss(true, pred, weight)) == pytest.approx(expected, rel=1e-5)
    # What a prediction says where nobody looks changes nothing,
    elsewhere = np.where(weight[..., None] > 0, pred, 1e4).astype("float32")
    assert number(loss(true, elsewhere, weight)) == pytest.approx(expected, rel=1e-5)
    # nor do unlabelled samples beside the labelled ones,
    doubled = [np.concatenate([x, x[::-1]]) for x in (true, pred)]
    assert number(loss(*doubled, np.concatenate([weight, 0 * weight]))) == pytest.approx(expected, rel=1e-5)
    # and no label at all is no error.
    assert number(loss(true, pred, 0 * weight)) == 0


def test_places_are_compared_in_shares_of_the_crop_over_accepted_joints_only(generator):
    """A joint that is off by a sixth of the side costs as much as one standard deviation of a pose."""
    true = generator.uniform(0, 64, (4, NUM_JOINTS, 2)).astype("float32")
    weight = (generator.random((4, NUM_JOINTS)) < 0.6).astype("float32")
    found = number(losses.JointsMSE(64)(true, true + 64 / 6, weight))
    assert found == pytest.approx(1, rel=1e-4)
    pred = generator.uniform(0, 64, true.shape).astype("float32")
    expected = (((true - pred) * 6 / 64) ** 2).mean(-1)[weight > 0].mean()
    elsewhere = np.where(weight[..., None] > 0, pred, 1e4).astype("float32")
    for each in (pred, elsewhere):
        assert number(losses.JointsMSE(64)(true, each, weight)) == pytest.approx(expected, rel=1e-5)
    # The same hand in a crop of another size is as far off.
    assert number(losses.JointsMSE(128)(2 * true, 2 * pred, weight)) == pytest.approx(expected, rel=1e-4)


def test_weights_of_another_shape_are_refused(generator, features):
    # Keras would broadcast [batch] along the last axis whenever the numbers happen to agree.
    target, image = images(generator, batch=16)
    per_sample, per_pixel = np.ones(16, "float32"), np.ones((16, 16, 16), "float32")
    with pytest.raises(ValueError, match=r"pixel_l1: sample_weight must be \[batch, 16, 16\]"):
        losses.PixelL1()(target, image, per_sample)
    with pytest.raises(ValueError, match=r"feature_l1: sample_weight must be \[batch\]"):
        losses.FeatureL1(features)(target, image, per_pixel)
    true, pred = poses(generator, NUM_JOINTS)
    with pytest.raises(ValueError, match=r"pose_mse: sample_weight must be \[batch, 21\]"):
        losses.PoseMSE(np.ones((NUM_JOINTS, 3)))(true, pred, np.ones(NUM_JOINTS))
    with pytest.raises(ValueError, match=r"joints_mse: sample_weight must be \[batch, 21\]"):
        losses.JointsMSE(64)(true[..., :2], pred[..., :2], np.ones(NUM_JOINTS))
    with pytest.raises(ValueError, match=r"std must be \[21, 3\]"):
        losses.PoseMSE(np.ones(63))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_are_compared_in_single(generator, features, dtype):
    target, image = images(generator)
    half = ops.cast(image, dtype)
    for loss in (losses.PixelL1(), losses.FeatureL1(features)):
        result = loss(target, half)
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
        assert number(result) == pytest.approx(number(loss(target, image)), rel=0.05)
    true, _ = poses(generator)
    # 500 mm off squares to more than float16 can hold.
    far = ops.cast(true + 500.0, dtype)
    result = losses.PoseMSE(np.ones((NUM_JOINTS, 3)))(true, far)
    assert number(result) == pytest.approx(500.0**2, rel=0.01)


@pytest.mark.parametrize(
    "loss",
    [losses.PixelL1(reduction="sum"), losses.PoseMSE(np.eye(21, 3), name="pose"), losses.JointsMSE(32, name="places")],
)
def test_configuration_round_trip(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
