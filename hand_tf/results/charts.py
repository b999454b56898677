"""The charts of a report, drawn with matplotlib from a table of results and from histories.

A history is a list with one {column: value} per epoch. Charts are SVG; the same input gives the same bytes.
"""

import base64
import dataclasses
import io
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hand_tf.core import skeleton
from hand_tf.results.results_table import ResultsTable, Row

# Okabe and Ito's palette, safe for colour-blind readers, and two more; one per configuration, in the tables' order.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7A5195", "#B8860B")
MARKERS = "os^DvP*X"
STYLE = {
    "svg.hashsalt": "hand_tf",  # otherwise matplotlib gives the parts of an SVG random names
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
class ReportPicture:
    """A picture of the report: file name, content (SVG or PNG) and caption."""

    file: str
    content: bytes
    caption: str

    @property
    def is_chart(self) -> bool:
        return self.file.endswith(".svg")

    @property
    def uri(self) -> str:
        """The picture as a data URI, for a page that needs no other files."""
        kind = "svg+xml" if self.is_chart else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"


def _chart(file: str, caption: str, draw: Callable[[Figure], None], size: tuple[float, float]) -> ReportPicture:
    """The picture that `draw(figure)` draws; `size` in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(size, layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return ReportPicture(file, stream.getvalue(), caption)


def _look(columns, column):
    place = columns.index(column)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


# --- results --------------------------------------------------------------------------------------------------------


def error_over_labels_chart(table: ResultsTable) -> ReportPicture:
    """N-MPJPE against the number of labels, one line per configuration (Paper: Fig. 3)."""

    def draw(figure):
        axes = figure.add_subplot()
        rows = table.rows[::-1]
        for column in table.columns:
            cells = [(row[0], table.cell(row, column)) for row in rows]
            x, means, spreads = zip(*((n, c.mean, c.spread or 0) for n, c in cells if c), strict=True)
            look = _look(table.columns, column)
            axes.errorbar(x, means, spreads, label=column, capsize=3, markersize=6, elinewidth=1, **look)
        counts, top = [labels for labels, _ in rows], axes.get_ylim()[1]
        means = [table.mean_pose(row) for row in rows]
        # A line far above the others would squeeze them together.
        far = min(means) > 1.3 * top
        label = "mean pose of the labels" + (f" ({min(means):.0f} mm or more, above the chart)" if far else "")
        axes.plot(counts, means, "--", color=GREY, label=label)
        if far:
            axes.set_ylim(top=top)
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{n:,}" for n in counts])
        axes.minorticks_off()
        axes.set_xlabel("labels (crops with a known pose), logarithmic")
        axes.set_ylabel("N-MPJPE (mm), lower is better")
        figure.legend(loc="outside lower center", ncols=2)

    bars = " Bars show one standard deviation over runs." if any(table.cell(*key).spread for key in table.cells) else ""
    caption = f"Error against the number of labels (the paper's Figure 3), crop rule {table.rule}.{bars}"
    return _chart("error_over_labels.svg", caption, draw, (7.0, 4.8))


def joint_error_chart(table: ResultsTable, row: Row) -> ReportPicture:
    """The error of each joint at the scale of N-MPJPE: one group of bars per joint, one bar per configuration."""

    def draw(figure):
        axes = figure.add_subplot()
        columns = [column for column in table.columns if table.cell(row, column)]
        width = 0.84 / len(columns)
        places = np.arange(skeleton.NUM_JOINTS)
        for i, column in enumerate(columns):
            parts = [result["results"][table.rule]["per_joint"] for result in table.cells[row, column]]
            errors = [np.nanmean([p[j]["n_mpjpe"] or np.nan for p in parts]) for j in skeleton.JOINT_NAMES[1:]]
            offset = (i - (len(columns) - 1) / 2) * width
            axes.bar(places[1:] + offset, errors, width, label=column, color=_look(table.columns, column)["color"])
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
        " and 4 its tip. The wrist is not shown: it is the origin of every pose, so its error is 0. The means of the"
        " tables include it."
    )
    return _chart("joint_errors.svg", caption, draw, (9.0, 4.2))


def pck_chart(table: ResultsTable, row: Row) -> ReportPicture:
    """The share of joints within a distance, of poses that are not scaled."""

    def draw(figure):
        axes = figure.add_subplot()
        for column in table.columns:
            if results := table.cells.get((row, column)):
                parts = [result["results"][table.rule] for result in results]
                label = f"{column} (AUC {np.mean([p['auc_0_50'] for p in parts]):.3f})"
                curve = np.mean([p["pck"] for p in parts], 0)
                axes.plot(curve, label=label, color=_look(table.columns, column)["color"])
        references = [
            r["results"][table.rule]["reference"] for c in table.columns for r in table.cells.get((row, c), [])
        ]
        label = f"mean pose of the labels (AUC {np.mean([r['auc_0_50'] for r in references]):.3f})"
        axes.plot(np.mean([r["pck"] for r in references], 0), "--", color=GREY, label=label)
        axes.set(xlim=(0, 50), ylim=(0, 1), xlabel="distance (mm)", ylabel="share of joints within it")
        figure.legend(loc="outside lower center", ncols=2)

    caption = f"Share of joints within a distance (PCK, poses not scaled), {row[0]:,} labels ({row[1]})."
    return _chart("pck.svg", caption, draw, (7.0, 4.6))


# --- training -------------------------------------------------------------------------------------------------------


def _line(history, column):
    """Epochs and values of a column of a history, where it has a value."""
    return zip(*((row["epoch"], row[column]) for row in history if column in row), strict=True)


def novel_view_training_chart(runs: dict[str, list[dict]]) -> ReportPicture:
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
        "Learning without labels. The probe estimates poses from the points by ridge regression on training subjects;"
        " it does not train the network. Below both grey lines, the points hold information about the pose."
    )
    return _chart("novel_view_training.svg", caption, draw, (8.0, 4.0))


def pose_training_chart(groups: dict[str, list[tuple[int, list[dict]]]]) -> ReportPicture:
    """Pose losses over epochs, one panel per configuration; `groups` maps it to a list of (labels, history)."""
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

    caption = "The pose loss on the training labels. It says nothing about new subjects; the tables do."
    return _chart("pose_training.svg", caption, draw, (9.0, 0.6 + 2.6 * rows))
