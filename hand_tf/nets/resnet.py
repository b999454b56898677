"""ResNet-18 (He et al., CVPR 2016) in torchvision's geometry and under torchvision's names.

    stem      conv 7x7 /2, batch norm, ReLU                     [B, H/2,  W/2,   width]
    layer1    max pool 3x3 /2, two basic blocks                 [B, H/4,  W/4,   width]
    layer2    two basic blocks, the first /2                    [B, H/8,  W/8,  2 width]
    layer3                                                      [B, H/16, W/16, 4 width]
    layer4                                                      [B, H/32, W/32, 8 width]

A basic block is `relu(bn(conv3(relu(bn(conv3(x))))) + shortcut(x))`; the shortcut is a 1x1 convolution with batch norm
where the shape changes. Before a strided convolution torch pads both sides equally, while "same" pads the far side more
and shifts the picture by a pixel. So padding is explicit: weights trained with torch give the same maps here.

`feature_model` is the frozen network behind the feature loss (Eq. 3); `load_torchvision` fills any such network.
"""

import os

import h5py
import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hand_tf.nets.layers import BatchNorm, NormalizeImage

STAGES = ("layer1", "layer2", "layer3", "layer4")
IMAGENET_URL = "https://huggingface.co/timm/resnet18.tv_in1k/resolve/main/model.safetensors"


def resnet18(
    image: keras.KerasTensor, width: int = 64, stem: str = "imagenet", stages: int = 4
) -> dict[str, keras.KerasTensor]:
    """Wires a ResNet-18 onto a symbolic image; the defaults are the published network.

    Args:
        image: KerasTensor [batch, H, W, 3], normalised.
        width: channels of stem and layer1; 64 is He et al.'s.
        stem: "imagenet", or "small" for crops up to 64 px: conv 3x3 /2 and no max pool, so that all maps are twice
            as wide and high.
        stages: how many of layer1..layer4 to build.

    Returns:
        A dict of KerasTensors: "stem" (after its ReLU), "layer1", ... .

    Raises:
        ValueError: an unknown stem.
    """
    if stem not in ("imagenet", "small"):
        raise ValueError(f"stem: expected imagenet or small, got {stem!r}")
    kernel = 7 if stem == "imagenet" else 3
    x = _conv(image, width, kernel, 2, "conv1")
    x = BatchNorm(name="bn1")(x)
    x = keras.layers.ReLU(name="relu")(x)
    maps = {"stem": x}
    if stem == "imagenet":
        # Torch pads with -inf. After a ReLU, 0 is never above a maximum either.
        x = keras.layers.ZeroPadding2D(1, name="maxpool.pad")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(x)
    for index, stage in enumerate(STAGES[:stages]):
        for block in range(2):
            stride = 2 if index > 0 and block == 0 else 1
            x = _basic_block(x, width * 2**index, stride, f"{stage}.{block}.")
        maps[stage] = x
    return maps


def _basic_block(x, channels, stride, name):
    shortcut = x
    if stride > 1 or x.shape[-1] != channels:
        shortcut = _conv(x, channels, 1, stride, f"{name}downsample.0")
        shortcut = BatchNorm(name=f"{name}downsample.1")(shortcut)
    x = _conv(x, channels, 3, stride, f"{name}conv1")
    x = BatchNorm(name=f"{name}bn1")(x)
    x = keras.layers.ReLU(name=f"{name}relu1")(x)
    x = _conv(x, channels, 3, 1, f"{name}conv2")
    x = BatchNorm(name=f"{name}bn2")(x)
    x = keras.layers.Add(name=f"{name}add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}relu2")(x)


def _conv(x, channels, kernel, stride, name):
    padding = "valid"
    if stride == 1:
        padding = "same"  # symmetric for odd kernels, and one layer less
    elif kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}.pad")(x)
    return keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def feature_model(image_size: int, weights: str, seed: int = 0) -> keras.Model:
    """The frozen network whose feature maps the feature loss compares.

    Args:
        image_size: height and width, px.
        weights: a local file (see `load_torchvision`), "imagenet" (downloaded once into Keras' cache) or "random".
        seed: of the random weights; they are the same on every backend.

    Returns:
        A model, RGB [batch, H, W, 3] in 0..1 -> [stem after ReLU, layer1, layer2], not trainable. Call it with
        `training=False`.

    Raises:
        ConnectionError: "imagenet" cannot be downloaded.
        FileNotFoundError, ValueError: see `load_torchvision`.
    """
    # --- layers and wiring
    image = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(255.0)(image)
    x = NormalizeImage()(x)
    maps = resnet18(x, stages=2)

    # --- the model
    model = keras.Model(image, [maps["stem"], maps["layer1"], maps["layer2"]], name="features")
    if weights == "random":
        _randomise(model, seed)
    else:
        load_torchvision(model, _download() if weights == "imagenet" else weights)
    model.trainable = False
    return model


def _randomise(model, seed):
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            shape = layer.kernel.shape
            layer.kernel.assign(generator.normal(0.0, np.sqrt(2.0 / np.prod(shape[:3])), shape))


def _download():
    try:
        return keras.utils.get_file("resnet18.tv_in1k.safetensors", IMAGENET_URL, cache_subdir="models")
    except Exception as error:  # Keras wraps every network error in a plain Exception
        raise ConnectionError(
            f"cannot download {IMAGENET_URL}: pass a local file of these weights, or `random` or `none` by name"
        ) from error


def load_torchvision(model: keras.Model, path: str) -> None:
    """Fills a network built by `resnet18` from a file in torchvision's naming.

    Args:
        model: a Functional model; its convolutions and batch norms are filled.
        path: `.safetensors`, or `.h5`/`.weights.h5` with one dataset per tensor: `conv1.weight` [out, in, height,
            width], `bn1.weight`, `bn1.bias`, `bn1.running_mean`, `bn1.running_var`, `layer1.0.conv1.weight`, ... .
            Other tensors (`fc.*`, deeper layers, `num_batches_tracked`) are ignored.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read, or a tensor is missing or of another shape; nothing has been assigned.
    """
    tensors = _read_tensors(path)
    assignments = [
        (variable, _pick(tensors, f"{layer.name}.{tensor}", variable.shape, path))
        for layer in model.layers
        for tensor, variable in _variables(layer)
    ]
    for variable, value in assignments:
        variable.assign(value)


def _read_tensors(path):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such weights file; expected a .safetensors or .h5 file")
    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        if path.endswith(".h5"):
            with h5py.File(path) as file:
                return {name: item[...] for name, item in file.items() if isinstance(item, h5py.Dataset)}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read as a weights file: {error}") from error
    raise ValueError(f"{path}: expected a .safetensors or .h5 file")


def _variables(layer):
    """Torchvision's tensors of a layer, each with the variable that it fills."""
    if isinstance(layer, keras.layers.Conv2D):
        return [("weight", layer.kernel)]
    if isinstance(layer, BatchNorm):
        return [
            ("weight", layer.gamma),
            ("bias", layer.beta),
            ("running_mean", layer.moving_mean),
            ("running_var", layer.moving_variance),
        ]
    return []


def _pick(tensors, name, shape, path):
    height_width_in_out = len(shape) == 4
    expected = tuple(shape[i] for i in (3, 2, 0, 1)) if height_width_in_out else tuple(shape)
    if name not in tensors:
        raise ValueError(f"{path}: tensor {name} is missing, expected shape {list(expected)}")
    value = tensors[name]
    if value.shape != expected:
        raise ValueError(f"{path}: tensor {name} has shape {list(value.shape)}, expected {list(expected)}")
    return value.transpose(2, 3, 1, 0) if height_width_in_out else value
