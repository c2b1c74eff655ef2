"""A run as a picture: whom each manager sees, seats against the cap, and how long the dead went unnoticed."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from simulations.report import Report
from simulations.story import SAMPLE_EVERY

FORMATS = sorted(FigureCanvasBase.get_supported_filetypes())


def draw(report: Report, path: Path) -> None:
    """Write the picture to `path`; its suffix says in which format. Raises `OSError`, `ValueError`."""
    panels = 3 + bool(report.detections)
    figure, axes = plt.subplots(panels, 1, figsize=(10, 2.6 * panels), constrained_layout=True)
    try:
        _views(report, axes[0])
        _seats(report, axes[1])
        _nodes(report, axes[2])
        if report.detections:
            _detections(report, axes[3])
        for axis in axes[:3]:
            axis.set_xlim(0, max((sample.at for sample in report.samples), default=1.0))
            for row in report.rows:
                if row.phase in _MARKED:
                    axis.axvline(row.at, color="0.6", linewidth=0.8, linestyle=":")
        axes[2].set_xlabel("virtual seconds")
        figure.suptitle(f"{report.name}, seed {report.seed}")
        figure.savefig(path, dpi=120)
    finally:
        plt.close(figure)


_MARKED = frozenset({"split", "healed", "one way", "busy", "over", "restart", "upgraded", "set", "came"})


def _names(report: Report) -> list[str]:
    return sorted({sample.manager for sample in report.samples})


def _widths(report: Report) -> list[tuple[str, float]]:
    """Each manager's line is narrower than the one below it, so that those which are equal are all seen."""
    names = _names(report)
    return [(name, 1.2 + 5.0 * (1 - (at + 1) / len(names))) for at, name in enumerate(names)]


def _views(report: Report, axis: Axes) -> None:
    """A row for each manager, coloured by how many managers it sees alive; empty where it does not run."""
    names = _names(report)
    most = max((sample.managers_alive for sample in report.samples), default=1)
    most = max(2, most)
    colours = colormaps["viridis"]
    for at, name in enumerate(names):
        own = [sample for sample in report.samples if sample.manager == name]
        spans = [(sample.at, SAMPLE_EVERY) for sample in own]
        seen = [colours((sample.managers_alive - 1) / (most - 1)) for sample in own]
        axis.broken_barh(spans, (at - 0.3, 0.6), facecolors=seen)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_title("managers that each sees alive", fontsize=9, loc="left")
    scale = ScalarMappable(Normalize(1, most), colours)
    axis.figure.colorbar(scale, ax=axis, ticks=range(1, most + 1), fraction=0.03, pad=0.01)


def _seats(report: Report, axis: Axes) -> None:
    """Seats that each manager counts, and the cap in force there."""
    for name, width in _widths(report):
        own = [sample for sample in report.samples if sample.manager == name]
        times, used = [sample.at for sample in own], [sample.used for sample in own]
        [line] = axis.step(times, used, where="post", label=name, linewidth=width)
        capped = [(sample.at, sample.cap) for sample in own if sample.cap is not None]
        if capped:
            axis.step(
                *zip(*capped, strict=True), where="post", color=line.get_color(), linestyle="--", alpha=0.5
            )
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title("seats used (dashed: the cap)", fontsize=9, loc="left")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)


def _nodes(report: Report, axis: Axes) -> None:
    """Active nodes as each manager shows them; dotted, those that it holds for unreachable."""
    for name, width in _widths(report):
        own = [sample for sample in report.samples if sample.manager == name]
        times, active = [sample.at for sample in own], [sample.active for sample in own]
        [line] = axis.step(times, active, where="post", label=name, linewidth=width)
        lost = [sample.unreachable for sample in own]
        axis.step(times, lost, where="post", color=line.get_color(), linestyle=":", alpha=0.8)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title("active nodes (dotted: unreachable)", fontsize=9, loc="left")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)


def _detections(report: Report, axis: Axes) -> None:
    axis.hist(report.detections, bins=min(40, 5 + len(report.detections) // 3))
    axis.set_xlim(left=0)
    axis.set_xlabel("seconds from a manager's end until another held it for dead")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title(f"{len(report.detections)} detections", fontsize=9, loc="left")
