"""Layers on pictures, and that layers of all kinds survive a file and a precision policy."""

import keras
import numpy as np
import pytest
from keras import ops
from random_rotations import rotations

from hand_tf.core.skeleton import NUM_JOINTS
from hand_tf.nets import layers, point_layers, pose_layers


def test_composite_background_at_both_ends_and_between(generator):
    foreground, background = generator.random((2, 1, 4, 4, 3)).astype("float32")
    composite = layers.CompositeBackground()
    for alpha, expected in ((0.0, background), (1.0, foreground), (0.5, (foreground + background) / 2)):
        mask = np.full((1, 4, 4, 1), alpha, "float32")
        np.testing.assert_allclose(composite([foreground, mask, background]), expected, atol=1e-6)


def test_normalize_image_takes_bytes_and_floats(generator):
    image = generator.integers(0, 256, (2, 4, 4, 3)).astype("uint8")
    normalised = ops.convert_to_numpy(layers.NormalizeImage()(image))
    restored = (normalised * layers.IMAGENET_STD + layers.IMAGENET_MEAN) * 255
    np.testing.assert_allclose(restored, image, atol=1e-3)
    np.testing.assert_array_equal(layers.NormalizeImage()(image.astype("float32")), normalised)
    np.testing.assert_allclose(layers.NormalizeImage(scale_only=True)(image), image / 255.0, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_normalize_image_declares_the_type_it_returns(policy):
    layer = layers.NormalizeImage(dtype=policy)
    symbolic = layer(keras.Input((4, 4, 3), dtype="uint8"))
    actual = layer(np.zeros((1, 4, 4, 3), "uint8"))
    assert keras.backend.standardize_dtype(actual.dtype) == symbolic.dtype == layer.compute_dtype


def test_rotation_and_millimetres_stay_in_float32_under_half_precision(generator):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        rotate, unstandardise = point_layers.RotatePoints(), pose_layers.UnstandardizePose()
    finally:
        keras.config.set_dtype_policy("float32")
    points = ops.cast(generator.normal(size=(1, 5, 3)), "bfloat16")
    assert keras.backend.standardize_dtype(rotate([points, rotations(generator, 1)]).dtype) == "float32"
    pose = unstandardise(ops.zeros((1, 63), "bfloat16"))
    assert keras.backend.standardize_dtype(pose.dtype) == "float32"


def test_batch_norm_normalises_and_hides_the_backends_switch(generator):
    layer = layers.BatchNorm()
    image = generator.normal(5.0, 3.0, (8, 4, 4, 2)).astype("float32")
    output = ops.convert_to_numpy(layer(image, training=True))
    np.testing.assert_allclose(output.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(output.std((0, 1, 2)), 1, atol=1e-3)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * image.mean((0, 1, 2)), rtol=1e-4)
    assert layer.synchronized == (keras.backend.backend() == "tensorflow")
    assert "synchronized" not in layer.get_config()


def _plain_batch_norm(x, gamma, beta, upstream):
    """Output and gradients (x, gamma, beta) of batch normalisation in float64, by the formula."""
    axes, x = (0, 1, 2), x.astype("float64")
    inverse = 1 / np.sqrt(x.var(axes) + 1e-5)
    unit = (x - x.mean(axes)) * inverse
    projected = upstream - upstream.mean(axes) - unit * (upstream * unit).mean(axes)
    return unit * gamma + beta, gamma * inverse * projected, (upstream * unit).sum(axes), upstream.sum(axes)


needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's kernel")


@needs_tensorflow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_batch_norms_kernel_has_the_gradients_of_its_formula(generator, policy):
    import tensorflow as tf

    layer = layers.BatchNorm(dtype=policy)
    x, upstream = generator.normal(2.0, 3.0, (2, 4, 8, 8, 5)).astype("float32")
    x = np.float32(ops.convert_to_tensor(x, layer.compute_dtype))
    layer.build(x.shape)
    gamma, beta = generator.normal(size=(2, 5))
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    inputs = tf.Variable(x)
    with tf.GradientTape() as tape:
        found = tf.cast(layer(inputs, training=True), tf.float32)
        total = tf.reduce_sum(found * upstream)
    gradients = tape.gradient(total, [inputs, layer.gamma.value, layer.beta.value])
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if policy == "float32" else {"rtol": 0.05, "atol": 0.2}
    for one, other in zip([found, *gradients], _plain_batch_norm(x, gamma, beta, upstream), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-4)
    assert layer.moving_mean.dtype == layer.moving_variance.dtype == "float32"


@needs_tensorflow
@pytest.mark.parametrize("training", [True, False])
def test_batch_norms_kernel_and_keras_agree(generator, training):
    x = generator.normal(1.0, 2.0, (3, 8, 8, 16)).astype("float32")
    ours, theirs = layers.BatchNorm(), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.set_weights([np.full(16, value, "float32") for value in (1.5, -0.5, 0.8, 3.0)])
    np.testing.assert_allclose(ours(x, training=training), theirs(x, training=training), atol=1e-5)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    # A frozen layer keeps its statistics in training, too.
    ours.trainable, before = False, ours.get_weights()
    ours(x, training=True)
    np.testing.assert_array_equal(ours.get_weights(), before)


@needs_tensorflow
def test_two_replicas_normalise_by_what_both_of_them_see(generator, strategy):
    import tensorflow as tf

    x = generator.normal(1.0, 2.0, (4, 8, 8, 2)).astype("float32")
    x[:2] += 3  # the halves differ
    with strategy.scope():
        layer = layers.BatchNorm()
        layer.build(x.shape)

    @tf.function
    def normalize(halves):
        return strategy.run(lambda half: layer(half, training=True), args=(halves,))

    halves = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(x[2 * context.replica_id_in_sync_group :][:2])
    )
    found = np.concatenate(strategy.experimental_local_results(normalize(halves)))
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        layers.CompositeBackground(name="b"),
        layers.NormalizeImage(scale_only=True, name="c"),
        layers.BatchNorm(momentum=0.8, name="d"),
        point_layers.RotatePoints(name="a"),
        point_layers.NormalizePoints(name="b"),
        point_layers.CentrePoints(name="c"),
        point_layers.PlacePoints(extent=1.5, name="d"),
        point_layers.DropPoints(0.2, seed=3, name="e"),
        point_layers.HeatmapPoints(extent=1.5, name="f"),
        point_layers.SplatPoints(8, extent=1.5, sigma=0.7, name="g"),
        point_layers.SwapPartners(name="h"),
        pose_layers.UnstandardizePose(name="a"),
        pose_layers.LinearPose(name="b"),
        pose_layers.JointsInCrop(64, extent=1.5, name="c"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configuration_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def test_a_model_of_all_layers_survives_its_file(generator, tmp_path):
    inputs = {
        "source": keras.Input((8, 8, 3), dtype="uint8", name="source"),
        "background": keras.Input((8, 8, 3), dtype="uint8", name="background"),
        "rotation": keras.Input((3, 3), name="rotation"),
    }
    x = layers.BatchNorm()(layers.NormalizeImage()(inputs["source"]))
    points = keras.layers.Reshape((21, 3))(keras.layers.Dense(63)(keras.layers.Flatten()(x)))
    points = point_layers.RotatePoints()([points, inputs["rotation"]])
    unstandardise = pose_layers.UnstandardizePose(name="millimetres")
    pose = unstandardise(keras.layers.Flatten()(points))
    alpha = keras.layers.Conv2D(1, 1, activation="sigmoid")(x)
    background = layers.NormalizeImage(scale_only=True)(inputs["background"])
    image = layers.CompositeBackground()([x, alpha, background])
    model = keras.Model(inputs, {"pose": pose, "image": image})
    statistics = generator.random((2, NUM_JOINTS, 3))
    unstandardise.set_statistics(*statistics)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")  # safe mode
    np.testing.assert_allclose(again.get_layer("millimetres").mean, statistics[0], rtol=1e-6)
    np.testing.assert_allclose(again.get_layer("millimetres").std, statistics[1], rtol=1e-6)
    batch = {
        "source": generator.integers(0, 256, (2, 8, 8, 3)).astype("uint8"),
        "background": generator.integers(0, 256, (2, 8, 8, 3)).astype("uint8"),
        "rotation": rotations(generator, 2),
    }
    before, after = model(batch), again(batch)
    for key in ("pose", "image"):
        np.testing.assert_allclose(after[key], before[key], atol=1e-6)
