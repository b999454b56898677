"""ResNet-18 against convolutions written out in NumPy, and its weight files."""

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file
from scipy.signal import correlate

from hand_tf.nets import feature_networks, resnet
from hand_tf.nets.layers import IMAGENET_MEAN, IMAGENET_STD

# (out, in, size) of the convolutions of torchvision's resnet18 up to layer2, with the batch norm behind each.
CONVOLUTIONS = {
    "conv1": ("bn1", 64, 3, 7),
    **{f"layer1.{block}.conv{i}": (f"layer1.{block}.bn{i}", 64, 64, 3) for block in range(2) for i in (1, 2)},
    "layer2.0.conv1": ("layer2.0.bn1", 128, 64, 3),
    "layer2.0.conv2": ("layer2.0.bn2", 128, 128, 3),
    "layer2.0.downsample.0": ("layer2.0.downsample.1", 128, 64, 1),
    "layer2.1.conv1": ("layer2.1.bn1", 128, 128, 3),
    "layer2.1.conv2": ("layer2.1.bn2", 128, 128, 3),
}


@pytest.fixture(scope="module")
def tensors():
    """Random weights as torchvision would save them, batch norm statistics off their defaults."""
    generator = np.random.default_rng(11)
    found = {"fc.weight": generator.normal(size=(10, 512)), "bn1.num_batches_tracked": np.array(7)}
    for name, (norm, outputs, inputs, size) in CONVOLUTIONS.items():
        shape = (outputs, inputs, size, size)
        found[f"{name}.weight"] = generator.normal(size=shape) / np.sqrt(inputs * size**2)
        for tensor in ("weight", "running_var"):
            found[f"{norm}.{tensor}"] = generator.uniform(0.5, 1.5, outputs)
        for tensor in ("bias", "running_mean"):
            found[f"{norm}.{tensor}"] = 0.1 * generator.normal(size=outputs)
    return {name: value.astype("float32") for name, value in found.items()}


@pytest.fixture(scope="module")
def weights_file(tensors, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")
    save_file(tensors, path)
    return path


def conv(x, tensors, name, stride, padding):
    """Torch's Conv2d and BatchNorm2d on [channels, height, width]: padding on both sides, then every stride-th."""
    norm = CONVOLUTIONS[name][0]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    filtered = [correlate(x, kernel, mode="valid")[0, ::stride, ::stride] for kernel in tensors[f"{name}.weight"]]
    scale, bias, mean, var = (
        tensors[f"{norm}.{tensor}"][:, None, None] for tensor in ("weight", "bias", "running_mean", "running_var")
    )
    return (np.stack(filtered) - mean) / np.sqrt(var + 1e-5) * scale + bias


def block(x, tensors, name, stride):
    shortcut = conv(x, tensors, f"{name}.downsample.0", stride, 0) if stride > 1 else x
    x = np.maximum(conv(x, tensors, f"{name}.conv1", stride, 1), 0)
    return np.maximum(conv(x, tensors, f"{name}.conv2", 1, 1) + shortcut, 0)


def max_pool(x):
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-1, -2))


def test_every_map_equals_torchs_formulas(tensors, weights_file):
    model = feature_networks.feature_model(16, weights_file)
    image = np.random.default_rng(0).random((1, 16, 16, 3)).astype("float32")
    found = [ops.convert_to_numpy(x)[0].transpose(2, 0, 1) for x in model(image, training=False)]

    x = ((image[0] - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)
    stem = np.maximum(conv(x, tensors, "conv1", 2, 3), 0)
    layer1 = block(block(max_pool(stem), tensors, "layer1.0", 1), tensors, "layer1.1", 1)
    layer2 = block(block(layer1, tensors, "layer2.0", 2), tensors, "layer2.1", 1)
    for actual, expected in zip(found, (stem, layer1, layer2), strict=True):
        assert actual.std() > 0.05
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_shapes_names_and_size_of_the_whole_network(stem):
    image = keras.Input((64, 64, 3))
    maps = resnet.resnet18(image, stem=stem)
    first = 16 if stem == "imagenet" else 32
    assert {name: tuple(x.shape[1:]) for name, x in maps.items()} == {
        "stem": (32, 32, 64),
        "layer1": (first, first, 64),
        "layer2": (first // 2, first // 2, 128),
        "layer3": (first // 4, first // 4, 256),
        "layer4": (first // 8, first // 8, 512),
    }
    model = keras.Model(image, maps["layer4"])
    assert model.get_layer("layer4.0.downsample.1").name
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    # ResNet-18 has 11689512 parameters, 513000 of them in `fc`.
    smaller_stem = 64 * 3 * (7**2 - 3**2) if stem == "small" else 0
    assert trainable == 11689512 - 513000 - smaller_stem


def test_width_and_unknown_stem():
    maps = resnet.resnet18(keras.Input((32, 32, 3)), width=8, stages=1)
    assert {name: x.shape[-1] for name, x in maps.items()} == {"stem": 8, "layer1": 8}
    with pytest.raises(ValueError, match="stem: expected imagenet or small, got 'large'"):
        resnet.resnet18(keras.Input((32, 32, 3)), stem="large")


def test_hdf5_and_safetensors_give_the_same_network(tensors, weights_file, tmp_path):
    path = str(tmp_path / "resnet18.weights.h5")
    with h5py.File(path, "w") as file:
        for name, value in tensors.items():
            file[name] = value
    models = [feature_networks.feature_model(16, source) for source in (weights_file, path)]
    for one, two in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))


def test_bad_weight_files_are_named(weights_file, tmp_path):
    tensors = load_file(weights_file)
    path = str(tmp_path / "bad.safetensors")

    save_file({name: value for name, value in tensors.items() if name != "layer1.1.bn2.running_var"}, path)
    message = r"bad.safetensors: tensor layer1.1.bn2.running_var is missing, expected shape \[64\]"
    with pytest.raises(ValueError, match=message):
        feature_networks.feature_model(16, path)

    save_file(tensors | {"conv1.weight": tensors["conv1.weight"].transpose(2, 3, 1, 0).copy()}, path)
    message = r"bad.safetensors: tensor conv1.weight has shape \[7, 7, 3, 64\], expected \[64, 3, 7, 7\]"
    with pytest.raises(ValueError, match=message):
        feature_networks.feature_model(16, path)

    for name in ("broken.safetensors", "broken.h5"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(ValueError, match=f"{name}: cannot be read"):
            feature_networks.feature_model(16, str(tmp_path / name))
    with pytest.raises(ValueError, match=r"expected a \.safetensors or \.h5 file"):
        feature_networks.feature_model(16, __file__)
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors: no such weights file"):
        feature_networks.feature_model(16, str(tmp_path / "missing.safetensors"))


def test_a_refused_file_changes_nothing(tensors, tmp_path):
    model = feature_networks.feature_model(16, "random")
    before = [ops.convert_to_numpy(weight).copy() for weight in model.weights]
    path = str(tmp_path / "short.safetensors")
    save_file({name: value for name, value in tensors.items() if not name.startswith("layer2.1.bn2")}, path)
    with pytest.raises(ValueError, match="is missing"):
        resnet.load_torchvision(model, path)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), old)
