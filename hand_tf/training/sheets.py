"""Pictures of a training run: novel views of triplets, and poses on labelled crops. Images are RGB uint8."""

import keras
import numpy as np

from hand_tf.core import drawing

CELL = 96  # px, about: smaller crops are enlarged


def novel_view_sheet(parts: dict[str, keras.Model], batch: tuple[dict, dict], num_rows: int = 6) -> np.ndarray:
    """A sheet of novel views, one triplet per row.

    Columns: source, reference, target, predicted, mask, points, and the points rotated into the target view. Without a
    reference of its own, a triplet's is the source of its partner; see `triplets`.

    Args:
        parts: `encoder` and `decoder`.
        batch: (x, y) of an unlabelled batch: x has source, rotation, background, perhaps reference; y has image.
    """
    x, y = batch
    if "reference" not in x:
        source = np.asarray(x["source"])
        x = x | {"reference": source.reshape(-1, 2, *source.shape[1:])[:, ::-1].reshape(source.shape)}
    images = {name: np.asarray(value)[:num_rows] for name, value in (*x.items(), ("target", y["image"]))}
    predicted = predict_views(parts, images)
    points, rotated = predicted.pop("points"), predicted.pop("rotated")
    images |= predicted
    size = images["source"].shape[1]
    extent = 2.5 * float(np.percentile(np.abs(points), 95)) + 1e-6  # nearly all points lie on the picture
    for name, each in (("points", points), ("rotated", rotated)):
        images[name] = np.stack([drawing.draw_points(sample, size, extent) for sample in each])
    columns = ("source", "reference", "target", "predicted", "mask", "points", "rotated")
    columns = [name for name in columns if name in images]
    return drawing.grid([[_cell(images[name][i], name) for name in columns] for i in range(len(points))])


def predict_views(parts: dict[str, keras.Model], triplets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The novel views of triplets: `predicted` and, if the decoder has it, `mask`, RGB uint8 [n, H, W, 3]; the `points`
    of the sources and the `rotated` ones, [n, N, 3].

    Args:
        parts: `encoder` and `decoder`.
        triplets: `source`, `reference` and `background` uint8 [n, H, W, 3], and `rotation` [n, 3, 3].
    """
    encoded = {name: parts["encoder"](triplets[name], training=False) for name in ("source", "reference")}
    points = keras.ops.convert_to_numpy(encoded["source"]["points"])
    rotated = points @ triplets["rotation"].transpose(0, 2, 1)
    inputs = {"points": rotated, "background": triplets["background"]}
    inputs = {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
    decoded = parts["decoder"](inputs | {"appearance": encoded["reference"]["appearance"]}, training=False)
    found = {"predicted": _as_bytes(decoded["image"]), "points": points, "rotated": rotated}
    return found | ({"mask": np.repeat(_as_bytes(decoded["mask"]), 3, -1)} if "mask" in decoded else {})


def pose_sheet(estimator: keras.Model, batch: tuple[dict, dict], count: int = 12) -> np.ndarray:
    """Crops with their true and predicted poses, both by weak perspective, three samples per row.

    Args:
        estimator: a model source -> pose.
        batch: (x, y) of a labelled batch: x has source, y has pose.
    """
    x, y = batch
    source, true = np.asarray(x["source"])[:count], np.asarray(y["pose"])[:count]
    predicted = keras.ops.convert_to_numpy(estimator({"source": source}, training=False)["pose"])
    blank = np.full((CELL, CELL, 3), 24, np.uint8)
    cells = []
    for image, *poses in zip(source, true, predicted, strict=True):
        extent = 1.3 * float(np.ptp(poses[0][:, :2], axis=0).max()) + 1e-6  # one scale for both
        skeletons = [drawing.draw_joints(blank, drawing.weak_perspective(pose, CELL, extent)) for pose in poses]
        cells += map(_cell, (image, *skeletons), ("source", "true", "predicted"))
    return drawing.grid([cells[i : i + 9] for i in range(0, len(cells), 9)])


def _cell(image, text):
    return drawing.caption(drawing.enlarge(image, max(1, CELL // len(image))), text)


def _as_bytes(values):
    """A tensor in 0..1 as uint8."""
    return np.uint8(np.round(255 * np.clip(keras.ops.convert_to_numpy(values), 0, 1)))
