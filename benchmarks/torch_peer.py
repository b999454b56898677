"""The same network, losses and steps in plain PyTorch: what the training step is measured against.

    Encoder     image [B, 3, H, W] uint8        -> points [B, N, 3], appearance [B, A]
    Decoder     points, appearance, background  -> image [B, 3, H, W] in 0..1, mask [B, 1, H, W]
    LinearHead  points [B, N, 3]                -> pose [B, 21, 3] mm, joints_2d [B, 21, 2] px; PoseHead, the MLP, too
    Step        one step of a regime: forward, losses, backward, Adam

Written as is usual in PyTorch: channels first, run eagerly. Modules have the names of the Keras layers, by which
`copy_weights` fills them. Both sides must then give the same outputs; `benchmarks.train_step` checks it.
"""

import typing
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if typing.TYPE_CHECKING:
    import keras

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JOINTS = 21


def _unit(image):
    return image.float() / 255.0


class Normalize(nn.Module):
    """RGB in 0..1 -> ImageNet's mean 0 and standard deviation 1."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class Block(nn.Module):
    """A basic block of ResNet-18."""

    def __init__(self, before: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride > 1 or before != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(x)).add_(shortcut), inplace=True)


class Trunk(nn.Module):
    """The first `stages` stages of a ResNet-18: normalised image -> the maps after the stem and each stage.

    The defaults are the published network.
    """

    def __init__(self, width: int = 64, stem: str = "imagenet", stages: int = 4):
        super().__init__()
        kernel = 7 if stem == "imagenet" else 3
        self.conv1 = nn.Conv2d(3, width, kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        before = width
        for i in range(stages):
            channels, stride = width * 2**i, 2 if i else 1
            self.add_module(
                f"layer{i + 1}", nn.Sequential(Block(before, channels, stride), Block(channels, channels, 1))
            )
            before = channels
        self.stages = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        maps, x = [x], self.pool(x)
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
            maps.append(x)
        return maps


class Encoder(Trunk):
    """`hand_tf.nets.models.encoder`."""

    def __init__(self, size: int, *, width: int, num_points: int, appearance_size: int, stem: str):
        super().__init__(width, stem)
        side = size // (32 if stem == "imagenet" else 16)
        self.normalize = Normalize()
        self.points_dense = nn.Linear(8 * width * side * side, 3 * num_points)
        self.appearance_dense = nn.Linear(8 * width, appearance_size)
        self.map_shape = (8 * width, side, side)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        last = super().forward(self.normalize(_unit(image)))[-1]
        points = self.points_dense(last.flatten(1)).unflatten(1, (-1, 3))
        points = points * torch.rsqrt(points.square().sum(-1, keepdim=True).mean(1, keepdim=True) + 1e-6)
        return points, self.appearance_dense(last.mean((2, 3)))


class Decoder(nn.Module):
    """`hand_tf.nets.models.decoder` with `splat` and `composite`."""

    def __init__(
        self, size: int, *, width: int, num_points: int, appearance_size: int, convolutions: int, extent: float = 2.0
    ):
        super().__init__()
        self.start, self.extent = size // 4, extent
        self.look = nn.Linear(appearance_size, 2 * width)
        self.register_buffer("cells", torch.arange(self.start, dtype=torch.float32), persistent=False)
        self.convolutions, before = convolutions, 2 * num_points + 2 * width
        for stage in range(3):
            channels, layers = width * 2 ** (2 - stage), nn.ModuleDict()
            for i in range(convolutions):
                layers[f"{i}_conv"] = nn.Conv2d(before, channels, 3, 1, 1, bias=False)
                layers[f"{i}_bn"] = nn.BatchNorm2d(channels)
                before = channels
            self.add_module(f"stage{stage}", layers)
        self.foreground, self.mask = nn.Conv2d(before, 3, 1), nn.Conv2d(before, 1, 1)

    def splat(self, points: Tensor) -> Tensor:
        """[B, N, 3] -> soft dots, and once more times their depth, [B, 2 N, start, start]."""
        places = points[..., :2] * (self.start / (2 * self.extent)) + (self.start - 1) / 2
        near = torch.exp(-0.5 * (places.unsqueeze(-1) - self.cells).square())
        dots = near[:, :, 1].unsqueeze(-1) * near[:, :, 0].unsqueeze(-2)
        return torch.cat([dots, dots * points[..., 2, None, None]], 1)

    def forward(self, points: Tensor, appearance: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        look = functional.relu(self.look(appearance))[..., None, None].expand(-1, -1, self.start, self.start)
        x = torch.cat([self.splat(points), look], 1)
        if self.foreground.weight.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        for stage in range(3):
            if stage:
                x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            layers = getattr(self, f"stage{stage}")
            for i in range(self.convolutions):
                x = functional.relu(layers[f"{i}_bn"](layers[f"{i}_conv"](x)), inplace=True)
        mask = torch.sigmoid(self.mask(x).float())
        return mask * torch.sigmoid(self.foreground(x).float()) + (1 - mask) * _unit(background), mask


class Weights(nn.Module):
    """The weights [21, N] of a layer of `LinearHead`."""

    def __init__(self, num_points: int):
        super().__init__()
        self.weights_of_points = nn.Parameter(torch.zeros(JOINTS, num_points))

    def forward(self, points: Tensor) -> Tensor:
        return self.weights_of_points @ points


class LinearHead(nn.Module):
    """`hand_tf.nets.models.pose_head`, `linear`, over points without places in the crop."""

    def __init__(self, num_points: int, size: int, extent: float = 2.0, unit: float = 100.0):
        super().__init__()
        self.size, self.extent, self.unit = size, extent, unit
        self.pose, self.joints_2d = Weights(num_points), Weights(num_points)
        self.pose.register_buffer("mean", torch.zeros(JOINTS, 3))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        points = points.float()
        pose, places = self.unit * self.pose(points), self.joints_2d(points)[..., :2]
        return pose - pose[:, :1], places * (self.size / (2 * self.extent)) + (self.size - 1) / 2


class PoseHead(nn.Module):
    """`hand_tf.nets.models.pose_head`, `mlp`."""

    def __init__(self, num_points: int, size: int, *, width: int, depth: int, dropout: float):
        super().__init__()
        before, self.size, self.depth, self.dropout = 3 * num_points, size, depth, dropout
        self.points_bn = nn.BatchNorm1d(before)
        for i in range(depth):
            self.add_module(f"hidden{i}", nn.Linear(before, width, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm1d(width))
            before = width
        self.standardised, self.places = nn.Linear(before, 3 * JOINTS), nn.Linear(before, 2 * JOINTS)
        self.pose = nn.Module()
        self.pose.register_buffer("mean", torch.zeros(JOINTS, 3))
        self.pose.register_buffer("std", torch.ones(JOINTS, 3))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        x = self.points_bn(points.flatten(1))
        for i in range(self.depth):
            x = functional.relu(getattr(self, f"bn{i}")(getattr(self, f"hidden{i}")(x)))
            x = functional.dropout(x, self.dropout, self.training)
        pose = self.standardised(x).float().unflatten(1, (JOINTS, 3)) * self.pose.std + self.pose.mean
        places = self.places(x).float().unflatten(1, (JOINTS, 2))
        return pose, places * (self.size / 4) + (self.size - 1) / 2


class Features(nn.Module):
    """`hand_tf.nets.feature_networks.feature_model`: frozen, always in inference mode; RGB in 0..1 -> three maps."""

    def __init__(self):
        super().__init__()
        self.normalize, self.trunk = Normalize(), Trunk(stages=2)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.trunk(self.normalize(image))


class Step(nn.Module):
    """One training step of a regime (`hand_tf.training.regimes`) on a batch of tensors by name.

    Args:
        parts: encoder, and decoder or pose_head or both, by name.
        frozen_encoder: only the pose head is trained.
        features: the network of the feature loss, or None.
        weights: weights of the losses, by name: image, mask, features, pose and joints_2d.
        std: standard deviation of the labels, [21, 3] mm.
        encode_once: the source of a sample is the reference of its partner in the batch.
        precision: dtype of autocast, or None.
    """

    def __init__(
        self,
        parts: dict[str, nn.Module],
        *,
        frozen_encoder: bool,
        features: nn.Module | None,
        weights: dict[str, float],
        std: np.ndarray,
        encode_once: bool,
        precision: torch.dtype | None = None,
    ):
        super().__init__()
        self.parts, self.features, self.frozen_encoder = nn.ModuleDict(parts), features, frozen_encoder
        self.weights, self.encode_once, self.precision = weights, encode_once, precision
        self.register_buffer("inverse", 1 / torch.as_tensor(std))
        if frozen_encoder:
            self.parts["encoder"].requires_grad_(False)
        learned = [weight for weight in self.parts.parameters() if weight.requires_grad]
        # One kernel updates all weights, the fastest way in PyTorch.
        self.optimizer = torch.optim.Adam(learned, lr=1e-3, eps=1e-7, fused=True)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen_encoder:
            self.parts["encoder"].eval()
        return self

    def novel_view(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The target view, (image, mask), from the points of the source and the appearance of the reference."""
        encode = self.parts["encoder"]
        points, appearance = encode(batch["source"])
        if self.encode_once:
            appearance = appearance.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        else:
            appearance = encode(batch["reference"])[1]
        rotated = points.float() @ batch["rotation"].transpose(1, 2)
        return self.parts["decoder"](rotated, appearance, batch["background"])

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the regime's losses."""
        total = 0.0
        if "decoder" in self.parts:
            image, mask = self.novel_view(batch)
            target = _unit(batch["target"])
            pixel = (target - image).abs().mean(1) * batch["image_weight"]
            covered = functional.binary_cross_entropy(mask[:, 0], batch["mask"], batch["mask_weight"])
            total = self.weights["image"] * pixel.mean() + self.weights["mask"] * covered
            if self.features is not None:
                with torch.no_grad():
                    wanted = self.features(target)
                pairs = zip(wanted, self.features(image), strict=True)
                total = total + self.weights["features"] * sum((a - b).abs().mean() for a, b in pairs) / len(wanted)
        if "pose_head" in self.parts:
            pose, places = self.parts["pose_head"](self.points(batch))
            unit = 6.0 / batch["labelled"].shape[-1]
            for name, found, scale in (("pose", pose, self.inverse), ("joints_2d", places, unit)):
                square = ((batch[name] - found) * scale).square().mean(-1) * batch["pose_weight"]
                total = total + self.weights[name] * square.sum() / batch["pose_weight"].sum()
        return total

    def points(self, batch: dict[str, Tensor]) -> Tensor:
        """Points [B, N, 3] of the labelled crops."""
        crops = batch["labelled"] if "decoder" in self.parts else batch["source"]
        with torch.set_grad_enabled(not self.frozen_encoder):
            return self.parts["encoder"](crops)[0]

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """One step; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        device = batch["source"].device.type
        with torch.autocast(device, self.precision or torch.bfloat16, enabled=self.precision is not None):
            loss = self.loss(batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


@torch.no_grad()
def forward_flops(module: nn.Module, *inputs: Tensor) -> int:
    """Multiplications and additions of the layers that multiply by weights, for one sample."""
    total = 0

    def add(layer, _, output):
        nonlocal total
        repeated = {nn.Conv2d: output[0, 0].numel(), nn.Linear: 1, Weights: 3}[type(layer)]
        total += 2 * next(layer.parameters()).numel() * repeated

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear | Weights)]
    handles = [layer.register_forward_hook(add) for layer in layers]
    module(*inputs)
    for handle in handles:
        handle.remove()
    return total


def _tensors(layer, module):
    """(tensor of the module, value) of a Keras layer, by the names that Keras gives its variables."""
    values = {variable.name: np.array(variable) for variable in layer.weights}
    if "kernel" in values:
        kernel = values["kernel"]
        yield module.weight, kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        if "bias" in values:
            yield module.bias, values["bias"]
    elif "gamma" in values:
        yield from ((module.weight, values["gamma"]), (module.bias, values["beta"]))
        yield from ((module.running_mean, values["moving_mean"]), (module.running_var, values["moving_variance"]))
    else:
        yield from ((getattr(module, name), value) for name, value in values.items())


def copy_weights(model: "keras.Model", module: nn.Module) -> None:
    """Fills `module` with the weights of the Keras `model`, from each layer to the module of the same name.

    Raises ValueError if the module lacks a layer, or if the numbers of weights differ.
    """
    modules, copied = dict(module.named_modules()), 0
    modules |= {name.removeprefix("trunk."): each for name, each in modules.items()}
    for layer in model.layers:
        if not layer.weights:
            continue
        if layer.name not in modules:
            raise ValueError(f"{model.name}: the module has no {layer.name}")
        for tensor, value in _tensors(layer, modules[layer.name]):
            if layer.name == "points_dense" and value.ndim == 2:
                # Keras flattens rows, columns, channels; PyTorch channels first.
                channels, height, width = module.map_shape
                value = value.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(len(value), -1)
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(value)))
            copied += tensor.numel()
    if copied != model.count_params():
        raise ValueError(f"{model.name}: {model.count_params()} weights, of which the module took {copied}")


def channels_first(batch: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """A NumPy batch by name as tensors; pictures [B, H, W, C] become [B, C, H, W], in memory too."""
    tensors = {}
    for name, value in batch.items():
        tensor = torch.from_numpy(np.ascontiguousarray(value))
        tensors[name] = tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor
    return tensors
