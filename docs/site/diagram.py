"""A graph as an SVG picture of the page, in the colours of its text: boxes in rows, arrows from row to row."""

from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise

Graph = dict[str, set[str]]

BOX_WIDTH, BOX_HEIGHT = 112, 28
COLUMN, ROW = 140, 54
SWEEPS = 8
"""Passes over the rows that put each entry below those that point to it."""
ARROW = 5


@dataclass
class Layout:
    """The rows of a graph, and its arrows as the entries through which they pass, one in each row.

    An entry is a name, or the part of an arrow that crosses a row: (source, target, row).
    """

    rows: list[list[object]] = field(default_factory=list)
    arrows: list[list[object]] = field(default_factory=list)

    def place(self, entry: object, row: int) -> tuple[float, float]:
        """The middle of an entry, in pixels; rows are centred."""
        entries, widest = self.rows[row], max(map(len, self.rows))
        return COLUMN * (entries.index(entry) + (widest - len(entries) + 1) / 2), ROW * (row + 0.5)


def layout(graph: Graph) -> Layout:
    """Rows in which every arrow points down."""
    depth = dict.fromkeys(graph, 0)
    for name in list(TopologicalSorter(graph).static_order())[::-1]:
        for other in graph[name]:
            depth[other] = max(depth[other], depth[name] + 1)
    found = Layout([[] for _ in range(max(depth.values()) + 1)])
    for name in sorted(graph):
        found.rows[depth[name]].append(name)
    for name in sorted(graph):
        for other in sorted(graph[name]):
            between: list[object] = [(name, other, row) for row in range(depth[name] + 1, depth[other])]
            for row, entry in enumerate(between, depth[name] + 1):
                found.rows[row].append(entry)
            found.arrows.append([name, *between, other])
    _untangle(found, depth)
    return found


def _untangle(found: Layout, depth: dict[str, int]) -> None:
    """Order each row by the mean place of what its entries are linked to in the row above, then below, in turn."""
    linked: dict[object, dict[int, list[object]]] = {}
    for arrow in found.arrows:
        for row, (upper, lower) in enumerate(pairwise(arrow), depth[str(arrow[0])]):
            linked.setdefault(lower, {}).setdefault(row, []).append(upper)
            linked.setdefault(upper, {}).setdefault(row + 1, []).append(lower)
    down = range(1, len(found.rows))
    for sweep in range(SWEEPS):
        for row in down if sweep % 2 == 0 else [last - 1 for last in reversed(down)]:
            other = row - 1 if sweep % 2 == 0 else row + 1
            mean = {}
            for entry in found.rows[row]:
                places = [found.place(near, other)[0] for near in linked.get(entry, {}).get(other, [])]
                mean[entry] = sum(places) / len(places) if places else found.place(entry, row)[0]
            found.rows[row].sort(key=mean.__getitem__)


def svg(graph: Graph, title: str) -> str:
    """The picture, as a line of HTML."""
    drawn = layout(graph)
    row_of = {entry: row for row, entries in enumerate(drawn.rows) for entry in entries}
    width, height = COLUMN * max(map(len, drawn.rows)), ROW * len(drawn.rows)
    parts = [_arrow([drawn.place(entry, row_of[entry]) for entry in arrow]) for arrow in drawn.arrows]
    parts += [_box(name, *drawn.place(name, row_of[name])) for name in sorted(graph)]
    return (
        f'<svg class="diagram" role="img" viewBox="0 0 {width} {height}" width="{width}" xmlns="http://www.w3.org/2000/svg" '
        f'fill="none" stroke="currentColor"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


def _box(name: str, x: float, y: float) -> str:
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4"/>'
        f'<text x="{x:g}" y="{y:g}" dy="0.35em" text-anchor="middle" font-size="14" fill="currentColor" stroke="none">'
        f"{escape(name)}</text>"
    )


def _arrow(points: list[tuple[float, float]]) -> str:
    """A curve from the lower edge of the first box to the upper edge of the last, upright at each point."""
    (x, y), *middle, (end_x, end_y) = points
    path, y = f"M{x:g} {y + BOX_HEIGHT / 2:g}", y + BOX_HEIGHT / 2
    end_y -= BOX_HEIGHT / 2
    for to_x, to_y in [*middle, (end_x, end_y)]:
        half = (y + to_y) / 2
        path += f"C{x:g} {half:g} {to_x:g} {half:g} {to_x:g} {to_y:g}"
        x, y = to_x, to_y
    head = f"M{end_x - ARROW:g} {end_y - ARROW:g}L{end_x:g} {end_y:g}L{end_x + ARROW:g} {end_y - ARROW:g}"
    return f'<path d="{path}{head}"/>'
