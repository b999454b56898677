"""What the benchmarks of the training step share: sizes, the step of a regime, its batch, its peer, its arithmetic.

Imports no framework but Keras and, in `peer`, PyTorch; so it runs where there is no TensorFlow.
"""

import dataclasses

import keras
import numpy as np

from hand_tf.nets import models, resnet
from hand_tf.training import wiring

JOINTS = 21


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of networks and batch; the defaults are those of flags/demo.flags."""

    image: int = 64
    batch: int = 32
    encoder_width: int = 16
    stem: str = "small"
    num_points: int = 64
    appearance: int = 32
    decoder_width: int = 8
    convolutions: int = 1
    head_width: int = 256
    features: bool = False


DEMO = Sizes()
FULL = Sizes(128, 16, 64, "imagenet", 200, 128, 64, 2, 2048, True)  # flags/common.flags
MINIATURE = Sizes(32, 4, 4, "small", 8, 4, 4, 1, 16, True)


@dataclasses.dataclass(frozen=True)
class Ours:
    """A compiled model, its sub-models and frozen feature network by name, and its batch (x, y, sample_weight)."""

    model: keras.Model
    parts: dict
    batch: tuple


def _parts(regime, sizes):
    latent = {"num_points": sizes.num_points, "appearance_size": sizes.appearance}
    make = {
        "encoder": lambda: models.encoder(sizes.image, width=sizes.encoder_width, stem=sizes.stem, **latent),
        "decoder": lambda: models.decoder(
            sizes.image, width=sizes.decoder_width, convolutions=sizes.convolutions, **latent
        ),
        # No dropout: each side would draw its own, and their losses could not be compared.
        "pose_head": lambda: models.pose_head(sizes.num_points, width=sizes.head_width, dropout=0.0),
    }
    return {name: make[name]() for name in regime.parts}


def random_batch(sizes, seed=0):
    """A batch by name, smooth random pictures: source, reference, background, target, labelled, rotation, pose."""
    rng = np.random.default_rng(seed)
    names = ("source", "reference", "background", "target", "labelled")
    coarse = rng.integers(0, 256, (len(names), sizes.batch, 8, 8, 3)).astype("uint8")
    pictures = np.kron(coarse, np.ones((1, 1, sizes.image // 8, sizes.image // 8, 1), "uint8"))
    rotation = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(sizes.batch)])
    pose = rng.normal(size=(sizes.batch, JOINTS, 3))
    numbers = {"rotation": rotation.astype("float32"), "pose": pose.astype("float32")}
    return dict(zip(names, pictures, strict=True)) | numbers


def ours(regime, sizes, **compile_settings):
    """The real model of a regime, compiled as `hand_tf.train` does it, and a batch on its terms: `Ours`."""
    parts, named = _parts(regime, sizes), random_batch(sizes)
    features = resnet.feature_model(sizes.image, "random") if sizes.features and regime.unlabelled else None
    model = wiring.wire(regime, parts)
    losses, weights = wiring.compiled_losses(
        regime, mask_weight=1.0, feature_model=features, pose_std=np.ones((JOINTS, 3), "float32")
    )
    model.compile(keras.optimizers.Adam(1e-3), losses, weights, **compile_settings)
    ones = np.ones((sizes.batch, sizes.image, sizes.image), "float32")
    y = {"image": named["target"], "features": named["target"], "pose": named["pose"], "mask": _mask(named)[..., None]}
    weight = {"image": ones, "features": ones[:, 0, 0], "mask": ones, "pose": np.ones((sizes.batch, JOINTS), "float32")}
    x = {name: named[name] for name in model.input}
    batch = (x, {name: y[name] for name in losses}, {name: weight[name] for name in losses})
    return Ours(model, parts | ({"features": features} if features else {}), batch)


def _mask(named):
    return np.abs(named["target"].astype("int16") - named["background"]).max(-1) > 120


def peer(regime, sizes, mine, precision=None):
    """(step, batch) of the peer in PyTorch: `torch_peer.Step` with the weights of `mine`, and the same batch."""
    from benchmarks import torch_peer

    makers = {
        "encoder": lambda: torch_peer.Encoder(
            sizes.image, sizes.encoder_width, sizes.num_points, sizes.appearance, sizes.stem
        ),
        "decoder": lambda: torch_peer.Decoder(
            sizes.image, sizes.decoder_width, sizes.num_points, sizes.appearance, sizes.convolutions
        ),
        "pose_head": lambda: torch_peer.PoseHead(sizes.num_points, sizes.head_width, dropout=0.0),
        "features": torch_peer.Features,
    }
    modules = {name: makers[name]() for name in mine.parts}
    for name, module in modules.items():
        torch_peer.copy_weights(mine.parts[name], module)
    features = modules.pop("features", None)
    step = torch_peer.Step(modules, frozen_encoder=bool(regime.frozen), features=features, precision=precision)
    named = random_batch(sizes)
    ones = np.ones((sizes.batch, sizes.image, sizes.image), "float32")
    named |= {"mask": _mask(named).astype("float32"), "image_weight": ones, "mask_weight": ones}
    named |= {"pose_weight": np.ones((sizes.batch, JOINTS), "float32")}
    return step.train(), torch_peer.channels_first(named)


def part_flops(mine):
    """Multiplications and additions of the convolutions and fully connected layers, for one sample, by part."""
    return {
        name: sum(
            2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
            for layer in part.layers
            if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
        )
        for name, part in mine.parts.items()
    }


def peer_flops(step, batch):
    """The same of the peer, counted while it runs one sample of `batch`."""
    from benchmarks import torch_peer

    count = torch_peer.forward_flops
    one = {name: value[:1] for name, value in batch.items()}
    points, appearance = step.parts["encoder"].eval()(one["source"])
    inputs = {"encoder": [one["source"]], "pose_head": [points]}
    inputs |= {"decoder": [points, appearance, one["background"]], "features": [one["source"].float()]}
    found = {name: count(part.eval(), *inputs[name]) for name, part in step.parts.items()}
    if step.features:
        found["features"] = count(step.features, *inputs["features"])
    step.train()
    return found


def step_flops(regime, part_flops):
    """Multiplications and additions of one sample in one step, out of those of a forward pass by part.

    A backward pass costs two forward passes, of a frozen network one: there the weights have no gradient.
    """
    total = 0
    if regime.unlabelled:
        total += 3 * (2 * part_flops["encoder"] + part_flops["decoder"]) + 3 * part_flops.get("features", 0)
    if regime.labelled:
        total += (1 if regime.frozen else 3) * part_flops["encoder"] + 3 * part_flops["pose_head"]
    return total
