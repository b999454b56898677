"""What the benchmarks of the training step share: sizes, the step of a regime, its batch, its peer, its arithmetic.

Imports no framework but Keras and, in `peer`, PyTorch, so that it runs without TensorFlow.
"""

import dataclasses
import typing
from typing import Any

import keras
import numpy as np

from hand_tf.core import command_line, skeleton
from hand_tf.nets import feature_networks, metrics, models
from hand_tf.training import wiring
from hand_tf.training.regimes import Regime
from hand_tf.training.settings import TrainingSettings

if typing.TYPE_CHECKING:
    import torch

    from benchmarks import torch_peer

# Side of the crops (px), and the flags that give the sizes of networks and batch.
SIZES = {
    "demo": (64, ("--flagfile=pretrain", "--flagfile=demo")),
    "full": (128, ("--flagfile=pretrain",)),
    "miniature": (
        32,
        (
            *("--flagfile=pretrain", "--flagfile=smoke", "--stem=small", "--decoder_convolutions=1"),
            "--perceptual_weights=random",
        ),
    ),
}


# Of both sides: the weights of the losses, and the standard deviation of the labels, mm.
LOSS_WEIGHTS = {"image": 1.0, "mask": 1.0, "features": 1.0, "pose": 1.0, "joints_2d": 1.0}
POSE_STD = np.ones((skeleton.NUM_JOINTS, 3), "float32")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The side of the crops (px), and the settings of networks and batch."""

    image: int
    settings: TrainingSettings

    @property
    def batch(self) -> int:
        """Triplets per step, and as many labelled crops."""
        return self.settings.batch_size


def sizes_of(name: str, batch_size: int | None = None) -> Sizes:
    """The sizes called `name`, one of SIZES, on request with another batch size."""
    image, arguments = SIZES[name]
    settings = command_line.parse(TrainingSettings, [*arguments, "--data_dir=-", "--workdir=-"])
    return Sizes(image, dataclasses.replace(settings, batch_size=batch_size) if batch_size else settings)


@dataclasses.dataclass(frozen=True)
class Ours:
    """A compiled model, its sub-models and frozen feature network by name, and its batch (x, y, sample_weight)."""

    model: keras.Model
    parts: dict
    batch: tuple


def _parts(regime, sizes):
    settings = sizes.settings
    latent = {"num_points": settings.num_points, "appearance_size": settings.appearance_size}
    parts = {
        "encoder": models.encoder(
            sizes.image,
            backbone=settings.encoder,
            width=settings.encoder_width,
            stem=settings.stem,
            points=settings.points,
            normalize_points=settings.normalize_points,
            **latent,
        )
    }
    if "decoder" in regime.parts:
        parts["decoder"] = models.decoder(
            sizes.image,
            width=settings.decoder_width,
            points_to_map=settings.points_to_map,
            hidden=settings.decoder_hidden,
            convolutions=settings.decoder_convolutions,
            composite=settings.composite,
            **latent,
        )
    if "pose_head" in regime.parts:
        # No dropout: the two sides would draw different units, and their losses could not be compared.
        parts["pose_head"] = models.pose_head(
            settings.num_points,
            sizes.image,
            kind=settings.head,
            width=settings.head_width,
            depth=settings.head_depth,
            dropout=0.0,
        )
    return parts


def random_batch(sizes: Sizes, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch of smooth random pictures (source, reference, background, target, labelled) and what goes with them."""
    rng = np.random.default_rng(seed)
    names = ("source", "reference", "background", "target", "labelled")
    coarse = rng.integers(0, 256, (len(names), sizes.batch, 8, 8, 3)).astype("uint8")
    pictures = np.kron(coarse, np.ones((1, 1, sizes.image // 8, sizes.image // 8, 1), "uint8"))
    rotation = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(sizes.batch)])
    pose = rng.normal(size=(sizes.batch, skeleton.NUM_JOINTS, 3))
    places = rng.uniform(0, sizes.image, (sizes.batch, skeleton.NUM_JOINTS, 2))
    numbers = {"rotation": rotation, "pose": pose, "joints_2d": places}
    numbers = {name: value.astype("float32") for name, value in numbers.items()}
    numbers["placement"] = np.tile(np.float32([0, 0, 1]), (sizes.batch, 1))
    return dict(zip(names, pictures, strict=True)) | numbers


def ours(regime: Regime, sizes: Sizes, **compile_settings: Any) -> Ours:
    """The model of a regime, compiled as `hand_tf.train` compiles it, and a batch for it."""
    parts, named = _parts(regime, sizes), random_batch(sizes)
    with_features = regime.unlabelled and sizes.settings.perceptual_weights != "none"
    features = feature_networks.feature_model(sizes.image, "random") if with_features else None
    model = wiring.wire(regime, parts, sizes.settings.latent_dropout, sizes.settings.encode_once)
    losses, weights = wiring.compiled_losses(
        regime,
        pixel_weight=LOSS_WEIGHTS["image"],
        mask_weight=LOSS_WEIGHTS["mask"],
        feature_weight=LOSS_WEIGHTS["features"],
        pose_weight=LOSS_WEIGHTS["pose"],
        joints_2d_weight=LOSS_WEIGHTS["joints_2d"],
        crop_size=sizes.image,
        feature_model=features,
        pose_std=POSE_STD,
    )
    shown = {"pose": [metrics.MPJPE(), metrics.NMPJPE()]} if regime.labelled else None
    model.compile(keras.optimizers.Adam(1e-3), losses, weights, weighted_metrics=shown, **compile_settings)
    ones = np.ones((sizes.batch, sizes.image, sizes.image), "float32")
    joints = np.ones((sizes.batch, skeleton.NUM_JOINTS), "float32")
    y = dict.fromkeys(("image", "features"), named["target"]) | {"mask": _mask(named)[..., None]}
    y |= {name: named[name] for name in ("pose", "joints_2d")}
    weight = {"image": ones, "features": ones[:, 0, 0], "mask": ones, "pose": joints, "joints_2d": joints}
    x = {name: named[name] for name in model.input}
    batch = (x, {name: y[name] for name in model.output}, {name: weight[name] for name in model.output})
    return Ours(model, parts | ({"features": features} if features else {}), batch)


def _mask(named):
    return np.abs(named["target"].astype("int16") - named["background"]).max(-1) > 120


def peer(
    regime: Regime, sizes: Sizes, mine: Ours, precision: "torch.dtype | None" = None
) -> tuple["torch_peer.Step", dict[str, "torch.Tensor"]]:
    """The peer in PyTorch, a `torch_peer.Step` with the weights of `mine`, and the same batch: (step, batch)."""
    from benchmarks import torch_peer

    modules = {name: _peer_part(name, sizes) for name in mine.parts}
    for name, part in mine.parts.items():
        torch_peer.copy_weights(part, modules[name])
    features = modules.pop("features", None)
    step = torch_peer.Step(
        modules,
        frozen_encoder=bool(regime.frozen),
        features=features,
        weights=LOSS_WEIGHTS,
        std=POSE_STD,
        encode_once=sizes.settings.encode_once,
        precision=precision,
    )
    named = random_batch(sizes)
    ones = np.ones((sizes.batch, sizes.image, sizes.image), "float32")
    named |= {"mask": _mask(named).astype("float32"), "image_weight": ones, "mask_weight": ones}
    named |= {"pose_weight": np.ones((sizes.batch, skeleton.NUM_JOINTS), "float32")}
    return step.train(), torch_peer.channels_first(named)


def _peer_part(name, sizes):
    from benchmarks import torch_peer

    settings = sizes.settings
    latent = {"num_points": settings.num_points, "appearance_size": settings.appearance_size}
    if name == "encoder":
        return torch_peer.Encoder(sizes.image, width=settings.encoder_width, stem=settings.stem, **latent)
    if name == "decoder":
        shape = {"width": settings.decoder_width, "convolutions": settings.decoder_convolutions}
        return torch_peer.Decoder(sizes.image, **shape, **latent)
    if name == "pose_head":
        if settings.head == "linear":
            return torch_peer.LinearHead(settings.num_points, sizes.image)
        shape = {"width": settings.head_width, "depth": settings.head_depth}
        return torch_peer.PoseHead(settings.num_points, sizes.image, **shape, dropout=0.0)
    return torch_peer.Features()


def part_flops(mine: Ours) -> dict[str, int]:
    """Multiplications and additions of the layers that multiply by weights, for one sample, by part."""
    return {name: sum(map(_flops, part.layers)) for name, part in mine.parts.items()}


def _flops(layer):
    if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
        return 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
    if hasattr(layer, "weights_of_points"):  # the same for x, y and z
        return 2 * int(np.prod(layer.weights_of_points.shape)) * 3
    return 0


def peer_flops(step: "torch_peer.Step", batch: dict[str, "torch.Tensor"]) -> dict[str, int]:
    """The same for the peer, counted while it runs one sample of `batch`."""
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


def step_flops(regime: Regime, part_flops: dict[str, int], encode_once: bool) -> int:
    """Multiplications and additions of one sample in one step, from those of a forward pass by part.

    With `encode_once` a triplet encodes one picture, otherwise its source and its reference.

    A backward pass costs as much as two forward passes. Through the frozen feature network it costs one, since its
    weights have no gradient.
    """
    total = 0
    if regime.unlabelled:
        total += 3 * ((1 if encode_once else 2) * part_flops["encoder"] + part_flops["decoder"]) + 3 * part_flops.get(
            "features", 0
        )
    if regime.labelled:
        total += (1 if regime.frozen else 3) * part_flops["encoder"] + 3 * part_flops["pose_head"]
    return total
