"""The tiles of a scene: coarse ones from a single call, fine ones from `basins.tiles`, finished ones from memory."""

from __future__ import annotations

import dataclasses
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from denoscope import basins
from denoscope.basins.classifiers import ImageClassifier
from denoscope.basins.labelling import Labelling
from denoscope.basins.map_lanes import map_lanes
from denoscope.basins.steady_labelling import SteadyLabelling
from denoscope.basins.tiles import Tiles
from denoscope.explorer.explored_plane import GUARD, ExploredPlane
from denoscope.explorer.growth_tile import POINTS, growth_tile
from denoscope.explorer.models import Loading
from denoscope.explorer.plane_origin import PlaneOrigin
from denoscope.explorer.scene import Scene
from denoscope.explorer.scene_image import SceneImage
from denoscope.explorer.tile_address import CELLS, TileAddress
from denoscope.explorer.tile_picture import TilePicture
from denoscope.foundation.errors import UserError
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.planes import LARGEST_LEVEL
from denoscope.sampling.image_start import ImageStart
from denoscope.sampling.loop import denoise
from denoscope.sampling.step import Step

COARSE = 8
"""Cells of a coarse tile along each side, all of them computed."""
LABELS, GROWTH = "labels", "growth"
"""Kinds of tiles."""
KEPT = 4096
"""Finished tiles that stay in memory, 16 kB each."""
Pictures = Iterator[tuple[TileAddress, TilePicture | Exception | None]]
"""Tiles as they come, with their addresses: a picture, the exception of a tile that failed, or None for a piece of work."""


@dataclass(eq=False)
class Atlas:
    """Everything that one scene shows. All of its work is done by one thread.

    Args:
        load: gives the denoiser of the scene in a precision.
        cache: a file of points whose labels or growths are known; see `basins.map`.
    """

    scene: Scene
    load: Loading
    cache: Path | None
    _finished: OrderedDict[tuple[str, TileAddress], TilePicture] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        # A cache of the atlas, which goes with it.
        self._tiles_in = functools.lru_cache(maxsize=16)(self._made_tiles)

    @functools.cached_property
    def origin(self) -> PlaneOrigin | None:
        """The noises that span the plane; None if it comes from seeds."""
        return PlaneOrigin.of(self.scene, self.load(self.scene, self._finest).shape)

    @functools.cached_property
    def image(self) -> SceneImage | None:
        """The image to which the noises are added; None if they are x_T."""
        return SceneImage.of(self.scene, self.load(self.scene, self._finest))

    @property
    def start(self) -> ImageStart | None:
        """Where denoising begins; None if it begins with x_T."""
        return self.image.start if self.image else None

    @functools.cached_property
    def plane(self) -> ExploredPlane:
        """The plane through which the user moves.

        Raises: UserError if its length does not fit the model, or the precision resolves no level of it.
        """
        shape, coarser = self.load(self.scene, self._finest).shape, self.image.coarser if self.image else 1.0
        plane = ExploredPlane.of(self.scene, shape, self.origin, coarser)
        if plane.deepest(self._finest) < 0:
            raise UserError(
                f"length is {plane.length}; allowed: at least {plane.least(self._finest):.1e}, at which "
                f"{str(self._finest).removeprefix('torch.')} tells the cells of a tile apart"
            )
        return plane

    @functools.cached_property
    def condition(self) -> Condition:
        """The condition under which all noises are denoised.

        Raises: UserError if the network has no such class, or names no null class for guidance.
        """
        if not self.scene.labels:
            return NOTHING
        return self.denoiser(0).condition_of_labels(self.scene.labels, scale=self.scene.guidance_scale)

    @property
    def _finest(self) -> torch.dtype:
        """The precision of the deepest level."""
        return torch.float32 if self.scene.dtype == "float32" else torch.float64

    @functools.cached_property
    def deepest(self) -> int:
        """The last level whose cells the precision resolves."""
        return self.plane.deepest(self._finest)

    @functools.cached_property
    def float32_to(self) -> int:
        """The last level that is computed in float32; −1 if none is."""
        if self.scene.dtype != "auto":
            return LARGEST_LEVEL if self.scene.dtype == "float32" else -1
        return self.plane.deepest(torch.float32, guard=GUARD)

    def dtype(self, level: int) -> torch.dtype:
        """The precision in which the cells of a level are computed."""
        return torch.float32 if level <= self.float32_to else torch.float64

    def denoiser(self, level: int) -> Denoiser:
        """The denoiser that computes the cells of a level."""
        return self.load(self.scene, self.dtype(level))

    @property
    def lanes(self) -> int:
        """The rows of every network call."""
        return self.scene.lanes or map_lanes(self.denoiser(0))

    def denoise(self, x_T: torch.Tensor, level: int, layers: Sequence[str]) -> Iterator[Step]:
        """The steps of noises [n, C, H, W], computed as the cells of a level are, with the states of layers."""
        return denoise(
            self.denoiser(level),
            x_T,
            steps=self.scene.steps,
            layers=list(layers),
            noise_seed=self.scene.noise_seed,
            condition=self.condition,
            lanes=self.lanes,
            image=self.start and self.start.image,
            level=float(self.scene.image_level) if self.start else None,
        )

    def finished(self, address: TileAddress, kind: str = LABELS) -> TilePicture | None:
        """A tile of labels or growths that was computed before."""
        if (kind, address) in self._finished:
            self._finished.move_to_end((kind, address))
        return self._finished.get((kind, address))

    def _keep(self, address: TileAddress, kind: str, picture: TilePicture) -> TilePicture:
        self._finished[kind, address] = picture
        while len(self._finished) > KEPT:
            self._finished.popitem(last=False)
        return picture

    def coarse(self, addresses: Sequence[TileAddress]) -> Pictures:
        """Tiles of few cells, each from one batch or the cache, or finished if they are."""
        yield from _each(addresses, self._coarse)

    def _coarse(self, address: TileAddress) -> Iterator[TilePicture]:
        if found := self.finished(address):
            yield found
            return
        tiles, inside = self._tiles(address), address.in_anchor
        cells = tiles.lattice(inside.level, inside.x, inside.y, every=CELLS // COARSE)
        yield TilePicture.of(cells, finished=False).enlarged()

    def fine(self, addresses: Sequence[TileAddress]) -> Pictures:
        """Tiles as they become finer; the last picture of each is finished. They share the calls of the network."""
        together: dict[tuple[TileAddress, torch.dtype], list[TileAddress]] = {}
        for address in addresses:
            if found := self.finished(address):
                yield address, found
            else:
                together.setdefault(self._within(address), []).append(address)
        for within, group in together.items():
            yield from self._fine(self._tiles_in(*within), group)

    def _fine(self, tiles: Tiles, addresses: Sequence[TileAddress]) -> Pictures:
        """Tiles of one anchor and precision as they become finer."""
        at = {dataclasses.astuple(address.in_anchor): address for address in addresses}
        for part, cells, finished, error in tiles.refinements_of(at):
            if cells is None:
                yield at[part], error
                continue
            picture = TilePicture.of(cells, finished=finished)
            yield at[part], self._keep(at[part], LABELS, picture) if finished else picture

    def growth(self, addresses: Sequence[TileAddress]) -> Pictures:
        """How much the map stretches the plane across tiles, after None for each batch of noises."""
        yield from _each(addresses, self._growth)

    def _growth(self, address: TileAddress) -> Iterator[TilePicture | None]:
        if found := self.finished(address, GROWTH):
            yield found
            return
        part = self.plane.tile(address, self.dtype(address.level), POINTS)
        for picture in growth_tile(part, self.labelling(address.level), self.cache):
            yield picture and self._keep(address, GROWTH, picture)

    def classifier(self, level: int) -> ImageClassifier:
        """The classifier that labels the cells of a level."""
        return self.labelling(level).classifier

    def labelling(self, level: int) -> Labelling:
        """The labelling of the cells of a level."""
        return self._tiles_in(TileAddress(0, 0, 0), self.dtype(level)).labelling

    def _tiles(self, address: TileAddress) -> Tiles:
        return self._tiles_in(*self._within(address))

    def _within(self, address: TileAddress) -> tuple[TileAddress, torch.dtype]:
        """The anchor and the precision in which a tile is computed."""
        return address.anchor, self.dtype(address.level)

    def _made_tiles(self, anchor: TileAddress, dtype: torch.dtype) -> Tiles:
        """The tiles within an anchor."""
        plane = self.plane.anchored(anchor).in_precision(dtype)
        if anchor.level:
            return dataclasses.replace(self._tiles_in(TileAddress(0, 0, 0), dtype), plane=plane)
        tiles = basins.tiles(
            self.load(self.scene, dtype),
            plane,
            cells=CELLS,
            steps=self.scene.steps,
            reject=self.scene.reject,
            lanes=self.lanes,
            noise_seed=self.scene.noise_seed,
            condition=self.condition,
            cache=self.cache,
        )
        loop = dataclasses.replace(tiles.labelling.loop, start=self.start)
        labelling = dataclasses.replace(tiles.labelling, loop=loop)
        steady = SteadyLabelling.of(labelling, described=labelling.origin({}))
        return dataclasses.replace(tiles, labelling=steady)


def pictures_of(found: Pictures) -> Iterator[tuple[TileAddress, TilePicture | None]]:
    """The same tiles; the exception of one that failed is raised."""
    for address, picture in found:
        if isinstance(picture, Exception):
            raise picture
        yield address, picture


def _each(
    addresses: Sequence[TileAddress], pictures: Callable[[TileAddress], Iterator[TilePicture | None]]
) -> Pictures:
    """The pictures of one tile after the other, or the exception of one that fails."""
    for address in addresses:
        try:
            for picture in pictures(address):
                yield address, picture
        except Exception as error:
            yield address, error
