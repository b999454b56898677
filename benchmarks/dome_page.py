"""Writes docs/dome.md: pictures of the dome, its people beside the anthropometry, its speed, and what it teaches.

    python -m benchmarks.dome_page --output=docs

Pictures and statistics are made here. Speeds come from OUTPUT/dome_speed.jsonl (`benchmarks.dome_speed`), scores from
OUTPUT/dome_subjects.jsonl (`benchmarks.dome_subjects`).
"""

import functools
import pathlib
import sys

import cv2
import numpy as np
from absl import flags

from benchmarks import results
from hand_tf.core import command_line, crops, drawing
from tfrecords_tools.dome import capture, dump, records
from tfrecords_tools.dome.person import people
from tfrecords_tools.dome.studio import render, rig
from tfrecords_tools.records import backgrounds, crop_views

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", "docs", "Folder of the page and its pictures.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Of the capture.", flag_values=FLAGS)

SETTINGS = {"frames": 60, "fps": 2.0}
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]


def _sequences(**settings):
    return capture.plan(subjects=11, seed=FLAGS.seed, **(SETTINGS | settings))


@functools.lru_cache(maxsize=256)
def _view(sequence, node):
    return capture.make_view(sequence, node)


def _picture(sequence, node, frame):
    key = [sequence.seed, sequence.index, node, frame]
    return render.draw(_view(sequence, node), capture.instant(sequence, frame).mesh, key)


def _crop(sequence, node, frame, size, joints=False):
    """One crop as in records, with its joints if wanted."""
    shown = records.Instants(sequence)[frame - capture.FIRST_FRAME]
    crop = crop_views.crop_of(shown, _view(sequence, node).camera, 1.3, size)
    image = crops.render(_picture(sequence, node, frame), crops.sampling_maps(crop), size)
    return (
        drawing.draw_joints(image, crops.project(shown.joints, crop.rotation, crop.K, crop.centre)) if joints else image
    )


def subjects(sequences):
    """Every subject with the same open hand, from a camera in front of the palm and one behind it."""
    cells = []
    for sequence in sequences:
        for number in sequence.subjects:
            numbers = sequence.frame_numbers
            own = [frame for frame in numbers if sequence.place(frame)[0] == number]
            open_hands = sorted(own, key=lambda frame: -_spread(sequence, frame))[:6]
            shots = sorted((_facing(sequence, frame, node), frame, node) for frame in open_hands for node in range(8))
            (_, frame, node), (_, other, behind) = shots[-1], shots[0]
            pair = [_crop(sequence, node, frame, 160), _crop(sequence, behind, other, 160)]
            cells.append(drawing.caption(np.vstack(pair), f"S{number}"))
    return drawing.grid([cells[:6], cells[6:]])


def _spread(sequence, frame):
    number, step = sequence.place(frame)
    joints = capture.joints_of(sequence, number, "right")[step]
    return np.linalg.norm(joints[[4, 8, 12, 16, 20]] - joints[0], axis=1).sum()


def _facing(sequence, frame, node):
    """How much of the palm the camera sees: 1 the palm from straight ahead, -1 the back."""
    number, step = sequence.place(frame)
    joints = capture.joints_of(sequence, number, "right")[step]
    palm = np.cross(joints[5] - joints[0], joints[17] - joints[0])
    camera = capture.studio(sequence).cameras[node]
    return float(palm @ (camera.centre - joints[0]) / np.linalg.norm(palm) / np.linalg.norm(camera.centre - joints[0]))


def all_views(sequence, frame, width=160):
    """One instant from all 31 cameras of the panoptic31 rig, as pictures."""
    cells = []
    for node, camera in enumerate(capture.studio(sequence).cameras):
        image = cv2.resize(_picture(sequence, node, frame), (width, width), interpolation=cv2.INTER_AREA)
        cells.append(drawing.caption(image, camera.name))
    return drawing.grid([cells[i : i + 8] for i in range(0, len(cells), 8)])


def motion(sequence, node, frames, width=150):
    """A strip of motion from one camera."""
    images = [
        cv2.resize(_picture(sequence, node, frame), (width, width), interpolation=cv2.INTER_AREA) for frame in frames
    ]
    return drawing.grid([images[i : i + 8] for i in range(0, len(images), 8)])


def twenty(sequences, joints, size=160):
    """Twenty crops by lot."""
    rng, cells = np.random.default_rng([FLAGS.seed, 20]), []
    while len(cells) < 20:
        sequence = sequences[rng.integers(len(sequences))]
        frame, node = int(rng.choice(sequence.frame_numbers)), int(rng.integers(8))
        cells.append(_crop(sequence, node, frame, size, joints))
    return drawing.grid([cells[i : i + 5] for i in range(0, 20, 5)])


def calibrated(sequence):
    """The panoptic31 rig at full size: rows (what, ours)."""
    _, cameras = rig.make_cameras("panoptic31", FLAGS.seed, 0, (1920, 1080), rig.FULL_REACH)
    centres = np.stack([camera.centre for camera in cameras])
    focus = rig.meeting_point(cameras)
    offsets = centres - focus
    distance = np.linalg.norm(offsets, axis=1)
    elevation = np.rad2deg(np.arcsin(-offsets[:, 1] / distance))
    K = np.stack([camera.K for camera in cameras])
    k1 = np.array([camera.dist[0] for camera in cameras])
    return [
        ("cameras", f"{len(cameras)}"),
        ("distance to where the axes meet, mm", f"{distance.mean():.0f} ± {distance.std():.0f}"),
        ("elevation, degrees", f"{elevation.min():.0f} .. {elevation.max():.0f}"),
        ("fx, px", f"{K[:, 0, 0].min():.0f} .. {K[:, 0, 0].max():.0f}"),
        ("fy / fx", f"{(K[:, 1, 1] / K[:, 0, 0]).min():.4f} .. {(K[:, 1, 1] / K[:, 0, 0]).max():.4f}"),
        ("k1", f"{k1.min():.2f} .. {k1.max():.2f}"),
    ]


def occlusion(sequences, count=400):
    """Shares of views in which more than 10, 50 and 90 % of the hand is hidden."""
    rng, hidden = np.random.default_rng([FLAGS.seed, 21]), []
    for _ in range(count):
        sequence = sequences[rng.integers(len(sequences))]
        frame, node = int(rng.choice(sequence.frame_numbers)), int(rng.integers(8))
        view, instant = _view(sequence, node), capture.instant(sequence, frame)
        own = instant.mesh.triangles[(instant.mesh.triangles < instant.hand_vertices).all(1)]
        alone = instant._replace(mesh=instant.mesh._replace(triangles=own))
        free = dump.hand_mask(view._replace(depth=np.full_like(view.depth, 1e5)), alone)
        seen = dump.hand_mask(view, instant)
        hidden.append(1 - seen.sum(dtype=float) / max(free.sum(dtype=float), 1))
    return [np.mean(np.array(hidden) > share) for share in (0.1, 0.5, 0.9)]


def median_traces(sequence, nodes=(0, 3, 6), level=12):
    """The share of pixels in which `build`'s background differs from the empty scene by more than `level`."""
    shares = []
    for node in nodes:
        view = _view(sequence, node)
        frames = backgrounds.sample_frames(list(sequence.frame_numbers), view.camera)
        hidden, pictures = [], []
        for frame in frames:
            number, step = sequence.place(frame)
            joints = capture.joints_of(sequence, number, "right")[step]
            hidden.append(backgrounds.hand_rectangles(view.camera, [(joints, np.ones(21, bool))], ()))
            pictures.append(_picture(sequence, node, frame))
        found, _ = backgrounds.masked_median(pictures, hidden)
        shares.append(np.mean(np.abs(found.astype(int) - view.scene).max(2) > level))
    return float(np.mean(shares))


def _anthropometry():
    rows = people.statistics(FLAGS.seed, 400)
    table = [(n, f"{mean:.1f} ± {sd:.2f}", f"{m:.1f} ± {s:.2f}") for n, _, mean, sd, m, s in rows]
    return results.table(("mm", "400 subjects of ours", "published"), table)


def _speed(path):
    """The newest measurement of each rig, as tables."""
    newest = {entry["headline"]["rig"]: entry for entry in results.read(path)}
    parts = []
    for entry in newest.values():
        headline, machine = entry["headline"], entry["machine"]
        rate, (low, high) = headline["crops_per_second_per_core"], headline["range"]
        parts.append(
            f"`--rig={headline['rig']}`, pictures of {headline['image_size']} px, crops of {headline['crop_size']} px, "
            f"{headline['triangles']['hand']:,} triangles a hand, {headline['triangles']['all']:,} with the person: "
            f"**{rate:.0f} crops/s on one core** ({low:.0f} to {high:.0f} over rounds)."
        )
        rows = [(row["stage"], f"{row['ms']:.2f}", f"{row['ms_per_crop']:.2f}") for row in entry["rows"]]
        total = sum(row["ms_per_crop"] for row in entry["rows"])
        parts.append(results.table(("stage", "ms each", "ms a crop"), [*rows, ("all", "", f"{total:.2f}")]))
        if run := headline.get("command"):
            parts.append(
                f"The whole command on all {machine['cpus']} cores: {run['crops']:,} crops in "
                f"{run['seconds'] / 60:.1f} minutes ({run['crops'] / run['seconds']:.0f} crops/s), "
                f"{run['bytes'] / 1e9:.2f} GB."
            )
        parts.append(f"Measured on {entry['date']}, {machine['processor']}, commit {entry['commit']}.")
    return "\n\n".join(parts)


def _scores(path):
    newest = results.read(path)[-1]
    rows = [
        (row["subjects"], row["labels"], f"{row['mean_pose']:.1f}", f"{row['n_mpjpe']:.1f}") for row in newest["rows"]
    ]
    head = newest["headline"]
    table = results.table(("trained on", "labels", "mean pose", "estimator"), rows)
    return table, head


PAGE = """# The dome

A synthetic capture studio that writes what a real one would: cameras with lenses and sensors, people with hands that
move, a room. `python -m tfrecords_tools.dome --help` lists its flags; all of it is a pure function of them.

## Twenty crops by lot

What an estimator sees, as it sees it (160 px here), and the same with the joints of their labels.

![twenty crops](dome_crops.jpg)

![the same with joints](dome_joints.jpg)

## One instant from 31 cameras

`--rig=panoptic31`: Panoptic's arrangement of HD cameras, each with its own lens, exposure, white balance, noise, blur
and JPEG quality. `--rig=ring8` is a ring of eight; `--calibration=FILE` takes the cameras of any calibration file.

![31 views](dome_views.jpg)

{rig}

(at `--image_size=1920x1080 --reach={reach}`; the real dome's figures, from one of its calibration files: 2765 ± 21 mm,
-12 .. 49 degrees, fx 1393 .. 1862 px, fy / fx 0.9970 .. 0.9979, k1 -0.29 .. -0.17)

## Motion

Half a second between pictures, one camera. Fingers move between natural shapes and random ones, neighbours follow each
other, end joints are coupled; hands press at most 3 mm into themselves. The person walks slowly around the centre, all
headings.

![motion](dome_motion.jpg)

## People

S0 to S10, palm and back. S0, from whom the few-label scenarios draw, is the median person.

![subjects](dome_subjects.jpg)

Sizes are drawn from published anthropometry: bone lengths from radiographs of 66 adults (Buryanov and Kotiuk 2010,
*Proportions of hand segments*, Int. J. Morphol. 28(3)), hand length, palm and breadth of 2100 workers (ACOPLA95; its
spreads estimated from percentiles). Skin tones span the Monk scale (skintone.google). The table shows that the sampler
gives back what went in, not that the tables fit your subjects.

{anthropometry}

## What hides the hand, and what the background remembers

The rest of the person moves with the hand, and an idle arm wanders. In {hidden[0]:.0%} of views more than a tenth of
the hand is hidden, in {hidden[1]:.0%} more than half, in {hidden[2]:.0%} nearly all of it (400 views of `ring8`). As in
a real dome, the label does not say so. The median over time that `build` takes for the empty scene differs from it by
more than 12 grey levels in {traces:.1%} of the pixels: where people stood for long, they leave a trace.

## Speed

{speed}

`python -m benchmarks.dome_speed --output=docs/dome_speed.jsonl [--rig=panoptic31] [--total_crops=100000 --folder=TMP]`

## Does it teach what carries over to other people?

{scores}

N-MPJPE in mm over all 21 joints, root-relative, on {head[test]}, whom nobody was trained on; crop rule joints3d; the
same number of labels and steps in every row. {head[note]}

`{head[command]}`

## How to make this page again

`python -m benchmarks.dome_page --output=docs`, seed {seed}; the two JSON-lines files beside it hold every measurement.

## What still gives it away

Shading is per vertex: creases, veins and nails are blurred at 3 to 4 mm, and flesh does not bulge where it folds. Light
has one hard shadow and no bounce. Cloth has no folds, faces are masks, posters have dashes for text. Nobody holds
anything, and only one person is in the room.
"""


def main(_):
    """Writes the pictures and the page."""
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    sequences = _sequences(width=384, height=384)
    dome = _sequences(width=256, height=256, rig="panoptic31")[0]
    pictures = {
        "crops": twenty(sequences, joints=False),
        "joints": twenty(sequences, joints=True),
        "views": all_views(dome, dome.frame_numbers[9]),
        "motion": motion(sequences[1], 2, list(sequences[1].frame_numbers)[8:24]),
        "subjects": subjects(sequences),
    }
    for name, image in pictures.items():
        path = folder / f"dome_{name}.jpg"
        if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG):
            raise OSError(f"{path}: the picture cannot be written")
    table, head = _scores(folder / "dome_subjects.jsonl")
    text = PAGE.format(
        rig=results.table(("panoptic31", "ours"), calibrated(dome)),
        reach=rig.FULL_REACH,
        anthropometry=_anthropometry(),
        hidden=occlusion(sequences),
        traces=median_traces(sequences[0]),
        speed=_speed(folder / "dome_speed.jsonl"),
        scores=table,
        head=head,
        seed=FLAGS.seed,
    )
    (folder / "dome.md").write_text(text, encoding="utf-8")
    print(folder / "dome.md")


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
