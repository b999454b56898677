"""What TensorBoard and the history show while a run trains: scalars, the pose probe, and pictures.

WORKDIR/history.csv                       one line an epoch: losses, learning rate, probe, seconds
WORKDIR/pictures/novel_views_00012.png    source, reference, target, predicted, mask, points, turned points
WORKDIR/tensorboard/                      the same for TensorBoard
"""

import csv
import functools
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hand_tf.core import atomic, drawing
from hand_tf.training import probe


def _reference_extent(points):
    return 2.5 * float(np.percentile(np.abs(points), 95)) + 1e-6


def novel_view_sheet(parts, batch, rows=6):
    """A sheet of novel views, one triplet a row.

    Args:
        parts: `encoder` and `decoder`.
        batch: (x, y) of an unlabelled batch: x has source, reference, rotation, background; y has image.
    """
    x, y = batch
    images = {name: np.asarray(value)[:rows] for name, value in (*x.items(), ("target", y["image"]))}
    encode, decode = (functools.partial(parts[name], training=False) for name in ("encoder", "decoder"))
    points = keras.ops.convert_to_numpy(encode(images["source"])["points"])
    turned = points @ images["rotation"].transpose(0, 2, 1)
    inputs = {"points": turned, "background": images["background"]}
    inputs = {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
    decoded = decode(inputs | {"appearance": encode(images["reference"])["appearance"]})
    decoded = {name: keras.ops.convert_to_numpy(value) for name, value in decoded.items()}
    extent, size = _reference_extent(points), images["source"].shape[1]
    sheet = []
    for i in range(len(points)):
        cells = {name: images[name][i] for name in ("source", "reference", "target")}
        cells["predicted"] = np.uint8(np.round(255 * np.clip(decoded["image"][i], 0, 1)))
        if "mask" in decoded:
            cells["mask"] = np.repeat(np.uint8(255 * decoded["mask"][i]), 3, -1)
        cells["points"] = drawing.draw_points(points[i], size, extent)
        cells["turned"] = drawing.draw_points(turned[i], size, extent)
        factor = max(1, 96 // size)
        sheet.append([drawing.caption(drawing.enlarge(c, factor), name) for name, c in cells.items()])
    return drawing.grid(sheet)


def pose_sheet(model, batch, count=12):
    """Predicted poses beside true ones on labelled crops, both by weak perspective.

    Args:
        model: source -> pose.
        batch: (x, y) of a labelled batch.
    """
    x, y = batch
    source, true = np.asarray(x["source"])[:count], np.asarray(y["pose"])[:count]
    found = keras.ops.convert_to_numpy(model({"source": source}, training=False)["pose"])
    size = 96
    cells = []
    for image, pose, prediction in zip(source, true, found, strict=True):
        extent = 1.3 * float(np.ptp(pose[:, :2], axis=0).max()) + 1e-6
        blank = np.full((size, size, 3), 24, np.uint8)
        cells += [
            drawing.caption(drawing.enlarge(image, max(1, size // len(image))), "source"),
            drawing.caption(drawing.draw_joints(blank, drawing.weak_perspective(pose, size, extent)), "true"),
            drawing.caption(
                drawing.draw_joints(blank, drawing.weak_perspective(prediction, size, extent)), "predicted"
            ),
        ]
    return drawing.grid([cells[i : i + 9] for i in range(0, len(cells), 9)])


class Probe(keras.callbacks.Callback):
    """Adds `probe` (N-MPJPE, mm) and its `references` to the logs every `every` epochs; see `probe`."""

    def __init__(self, encoder, fit, test, every, references):
        super().__init__()
        self.encoder, self.fit, self.test, self.every, self.references = encoder, fit, test, every, references

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            logs |= {"probe": probe.measure(self.encoder, self.fit, self.test), **self.references}


class Pictures(keras.callbacks.Callback):
    """Writes the sheets of `draw`, functions by name, every `every` epochs as PNG and for TensorBoard."""

    def __init__(self, workdir, draw, every):
        super().__init__()
        self.folder, self.draw, self.every = pathlib.Path(workdir) / "pictures", draw, every
        self.writer = tf.summary.create_file_writer(str(pathlib.Path(workdir) / "tensorboard"))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, draw in self.draw.items():
            sheet = draw()
            drawing.save(self.folder / f"{name}_{epoch + 1:05d}.png", sheet)
            with self.writer.as_default(step=epoch + 1):
                tf.summary.image(name, sheet[None])
        self.writer.flush()


class Progress(keras.callbacks.Callback):
    """A bar over the steps of an epoch with the running loss; silent where nobody watches (no terminal)."""

    def on_epoch_begin(self, epoch, logs=None):
        total = self.params["steps"]
        self.bar = tqdm(total=total, desc=f"epoch {epoch + 1}/{self.params['epochs']}", leave=False, disable=None)

    def on_train_batch_end(self, batch, logs=None):
        if not self.bar.disable:
            self.bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
            self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()


class History(keras.callbacks.Callback):
    """Appends each epoch's logs to history.csv and TensorBoard; a resumed run drops lines it is about to repeat."""

    def __init__(self, workdir, first_epoch):
        super().__init__()
        self.path = pathlib.Path(workdir) / "history.csv"
        self.rows = [row for row in read_history(self.path) if row["epoch"] <= first_epoch]
        self.writer = tf.summary.create_file_writer(str(pathlib.Path(workdir) / "tensorboard"))

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        scalars = {name: float(value) for name, value in logs.items()}
        scalars["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        scalars["seconds"] = time.perf_counter() - self.started
        self.rows.append({"epoch": epoch + 1, **scalars})
        fields = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic.replacing(self.path) as file:
            writer = csv.DictWriter(file, fields, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        with self.writer.as_default(step=epoch + 1):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
        print(f"epoch {epoch + 1}/{self.params['epochs']}  " + "  ".join(f"{k} {v:.4g}" for k, v in scalars.items()))


def read_history(path):
    """The rows of a history.csv as dicts of floats (`epoch` too); empty without a file."""
    if not pathlib.Path(path).is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
