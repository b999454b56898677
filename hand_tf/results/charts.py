"""The charts of a report, in matplotlib; nothing here trains or measures.

They are drawn from a `study.Study` (results side by side) and from histories, lists of {column: value} an epoch. A
chart is SVG, and the same input gives the same bytes.
"""

import base64
import dataclasses
import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hand_tf.core import skeleton

# Okabe and Ito's colours, told apart by colour-blind eyes too; one for each configuration, in the order of the tables.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7A5195", "#B8860B")
MARKERS = "os^DvP*X"
STYLE = {
    "svg.hashsalt": "hand_tf",  # matplotlib names the parts of an SVG at random otherwise
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}
GREY = "#777777"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the report: file name, content, and the caption that says what is to be seen."""

    file: str
    data: bytes
    caption: str

    @property
    def is_chart(self):
        return self.file.endswith(".svg")

    @property
    def uri(self):
        """The picture as text, so that a page can hold it."""
        kind = "svg+xml" if self.is_chart else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.data).decode()}"


def _chart(file, caption, draw, size=(7.0, 4.0)):
    """The `Picture` that `draw(figure)` draws; `size` in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(size, layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return Picture(file, stream.getvalue(), caption)


def _look(columns, column):
    place = columns.index(column)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


# --- results --------------------------------------------------------------------------------------------------------


def error_over_labels(study):
    """N-MPJPE against the number of labels, one line a configuration (Paper: Fig. 3)."""

    def draw(figure):
        axes = figure.add_subplot()
        rows = study.rows[::-1]
        for column in study.columns:
            cells = [(row[0], study.cell(row, column)) for row in rows]
            x, means, spreads = zip(*((n, c.mean, c.spread or 0) for n, c in cells if c), strict=True)
            look = _look(study.columns, column)
            axes.errorbar(x, means, spreads, label=column, capsize=3, markersize=6, elinewidth=1, **look)
        counts, top = [labels for labels, _ in rows], axes.get_ylim()[1]
        means = [study.mean_pose(row) for row in rows]
        # A line far above would press all others together.
        far = min(means) > 1.3 * top
        label = "mean pose of the labels" + (f" ({min(means):.0f} mm or more, above the picture)" if far else "")
        axes.plot(counts, means, "--", color=GREY, label=label)
        if far:
            axes.set_ylim(top=top)
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{n:,}" for n in counts])
        axes.minorticks_off()
        axes.set_xlabel("labels (crops with a known pose), logarithmic")
        axes.set_ylabel("N-MPJPE (mm), lower is better")
        figure.legend(loc="outside lower center", ncols=2)

    bars = " Bars show one standard deviation over runs." if any(study.cell(*key).spread for key in study.cells) else ""
    caption = f"Error against the number of labels (the paper's Figure 3), crop rule {study.rule}.{bars}"
    return _chart("error_over_labels.svg", caption, draw, (7.0, 4.8))


def joint_errors(study, row):
    """Bars of the error of each joint at the scale of N-MPJPE, one group a joint."""

    def draw(figure):
        axes = figure.add_subplot()
        columns = [column for column in study.columns if study.cell(row, column)]
        width = 0.84 / len(columns)
        places = np.arange(skeleton.NUM_JOINTS)
        for i, column in enumerate(columns):
            parts = [result["results"][study.rule]["per_joint"] for result in study.cells[row, column]]
            errors = [np.nanmean([p[j]["n_mpjpe"] or np.nan for p in parts]) for j in skeleton.JOINT_NAMES[1:]]
            offset = (i - (len(columns) - 1) / 2) * width
            axes.bar(places[1:] + offset, errors, width, label=column, color=_look(study.columns, column)["color"])
        axes.set_xticks(places[1:], ["1", "2", "3", "4"] * len(skeleton.FINGERS))
        for finger, joints in skeleton.FINGERS.items():
            axes.text(np.mean(joints), -0.12, finger, ha="center", va="top", transform=axes.get_xaxis_transform())
            axes.axvline(joints[0] - 0.5, color="#cccccc", linewidth=0.8)
        axes.set_xlim(0.4, skeleton.NUM_JOINTS - 0.4)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("error (mm)")
        figure.legend(loc="outside lower center", ncols=2)

    caption = (
        f"Error of each joint with {row[0]:,} labels ({row[1]}), at the scale of N-MPJPE; 1 is the base of a finger"
        " and 4 its tip. The wrist is every pose's origin: its error is 0, so it is left out here, not in the means."
    )
    return _chart("joint_errors.svg", caption, draw, (9.0, 4.2))


def pck_curves(study, row):
    """Share of the joints within a distance, poses unscaled."""

    def draw(figure):
        axes = figure.add_subplot()
        for column in study.columns:
            if results := study.cells.get((row, column)):
                parts = [result["results"][study.rule] for result in results]
                label = f"{column} (AUC {np.mean([p['auc_0_50'] for p in parts]):.3f})"
                curve = np.mean([p["pck"] for p in parts], 0)
                axes.plot(curve, label=label, color=_look(study.columns, column)["color"])
        references = [
            r["results"][study.rule]["reference"] for c in study.columns for r in study.cells.get((row, c), [])
        ]
        label = f"mean pose of the labels (AUC {np.mean([r['auc_0_50'] for r in references]):.3f})"
        axes.plot(np.mean([r["pck"] for r in references], 0), "--", color=GREY, label=label)
        axes.set(xlim=(0, 50), ylim=(0, 1), xlabel="distance (mm)", ylabel="share of joints within it")
        figure.legend(loc="outside lower center", ncols=2)

    caption = f"Share of the joints within a distance (PCK, unscaled poses), {row[0]:,} labels ({row[1]})."
    return _chart("pck.svg", caption, draw, (7.0, 4.6))


# --- training -------------------------------------------------------------------------------------------------------


def _line(history, column):
    """Epochs and values of the lines of a history that have the column."""
    return zip(*((row["epoch"], row[column]) for row in history if column in row), strict=True)


def novel_view_training(runs):
    """Loss and pose probe of runs that learn without labels; `runs` maps names to histories."""

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for i, (name, history) in enumerate(runs.items()):
            colour = COLOURS[i % len(COLOURS)]
            left.plot(*_line(history, "loss"), color=colour, label=name)
            if any("probe" in row for row in history):
                right.plot(*_line(history, "probe"), color=colour)
                last = history[-1]
                for column, style in (("probe_mean_pose", "--"), ("probe_start", ":")):
                    if column in last:
                        right.axhline(last[column], color=GREY, linestyle=style, linewidth=1.2)
        right.plot([], [], "--", color=GREY, label="mean pose")
        right.plot([], [], ":", color=GREY, label="before training")
        left.set(title="loss", xlabel="epoch")
        right.set(title="pose probe, N-MPJPE (mm)", xlabel="epoch")
        right.legend()
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)

    caption = (
        "Learning without labels. The probe reads poses out of the points by ridge regression on training subjects; it"
        " trains nothing. Below both grey lines, the points say more about the pose than chance does."
    )
    return _chart("novel_view_training.svg", caption, draw, (8.0, 4.0))


def pose_training(groups):
    """Pose losses over epochs, one panel a configuration; `groups` maps it to a list of (labels, history)."""
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    counts = sorted({labels for runs in groups.values() for labels, _ in runs})
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.1, 1, len(counts)))

    def draw(figure):
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for panel in panels.flat[len(groups) :]:
            panel.remove()
        for panel, (name, runs) in zip(panels.flat, groups.items(), strict=False):
            for labels, history in runs:
                column = "pose_loss" if "pose_loss" in history[-1] else "loss"
                panel.plot(*_line(history, column), color=shades[counts.index(labels)], linewidth=1.2)
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.set_title(name.replace(" on ", "\non "), fontsize=10)
            panel.set_xlabel("epoch")
        for labels, shade in zip(counts, shades, strict=True):
            panels.flat[0].plot([], [], color=shade, label=f"{labels:,} labels")
        figure.legend(loc="outside lower center", ncols=5)

    caption = "The pose loss on the training labels. That it is low says nothing about new subjects; the tables do."
    return _chart("pose_training.svg", caption, draw, (9.0, 0.6 + 2.6 * rows))
