"""A labelling whose noises are denoised and classified by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from distributed import Client

from denoscope.basins.classifiers import ImageClassifier
from denoscope.basins.labelling import Answers, Labelling
from denoscope.basins.steady_labelling import SteadyLabelling
from denoscope.cluster.connection import units_together
from denoscope.cluster.shared_work import SharedWork, shared_run
from denoscope.cluster.worker import Beat
from denoscope.foundation.spelling import counted
from denoscope.foundation.threads import threads_set_to
from denoscope.models.conditioning import Condition
from denoscope.models.loading import SharedModel
from denoscope.sampling.settings import Loop

Wanted = Literal["labels", "images"]


@dataclass(frozen=True, eq=False)
class ClusterLabelling(SteadyLabelling):
    """A labelling by workers, in units of `rows` noises; they compute with as many threads as this process would."""

    _: KW_ONLY
    work: SharedWork
    rows: int

    @contextmanager
    def ready(self) -> Iterator[Labelling]:
        """The same labelling: the workers prepare their networks themselves."""
        yield self

    def __call__(self, x_T: torch.Tensor) -> Answers:
        found = self._asked(x_T, "labels")
        return {
            name: np.concatenate([empty, *(np.asarray(part[name], empty.dtype) for part in found)])
            for name, empty in self.nothing.items()
        }

    def images(self, x_T: torch.Tensor) -> torch.Tensor:
        """The images x_0 [n, C, H, W] of noises, on the CPU."""
        content = b"".join(part["images"] for part in self._asked(x_T, "images"))
        return torch.frombuffer(bytearray(content), dtype=self.denoiser.dtype).reshape(x_T.shape)

    def rows_together(self, batch_size: int) -> int:
        return super().rows_together(batch_size) * units_together(self.work.crew.client)

    def _asked(self, x_T: torch.Tensor, wanted: Wanted) -> list[dict[str, Any]]:
        """What the workers return for parts of noises [n, C, H, W], in order."""
        parts = x_T.split(self.rows) if len(x_T) else ()
        threads = torch.get_num_threads()
        # A part is a view of all noises, which would be pickled with it.
        contents = [
            (counted(len(part), "noise"), (part.clone(), self.loop, threads, wanted)) for part in parts
        ]
        return self.work.results(contents, self.loop.steps)


@contextmanager
def shared_by(
    client: Client, labelling: Labelling, batch_size: int, *, allow_different_devices: bool, kept: str
) -> Iterator[Labelling]:
    """A labelling that the workers of a client share while the block runs; see `shared_labelling`.

    Raises: UserError if the model has no name to load it by, or a worker would compute something else.
    """
    recipe, described = LabellingRecipe.of(labelling), labelling.origin({})
    with shared_run(
        client, recipe, _joined(described), allow_different_devices=allow_different_devices, kept=kept
    ) as run:
        yield ClusterLabelling.of(
            labelling,
            described={**described, "fingerprint": described["fingerprint"] | run.elsewhere},
            work=run.work,
            rows=labelling.rows_together(batch_size),
        )


def _joined(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that determines labels, in one dictionary."""
    return {**origin["fingerprint"], **{name: origin[name] for name in origin if name != "fingerprint"}}


@dataclass(frozen=True, eq=False)
class LabellingRecipe:
    """What a worker prepares a labelling from: how the model is loaded, and the classifier with its weights."""

    model: SharedModel
    classifier: ImageClassifier
    loop: Loop
    condition: Condition

    @classmethod
    def of(cls, labelling: Labelling) -> LabellingRecipe:
        """The recipe of a labelling in this process, with its number of threads.

        Raises: UserError if the model has no name to load it by.
        """
        model = SharedModel.of(labelling.denoiser, torch.get_num_threads())
        return cls(model, labelling.classifier, labelling.loop, labelling.condition)

    def prepare(self) -> PreparedLabelling:
        """The loaded model with its classifier.

        Raises: UserError if this worker cannot load it.
        """
        with self.model.loaded() as denoiser:
            labelling = Labelling(denoiser, self.classifier, self.loop, self.condition)
            return PreparedLabelling(labelling, _joined(labelling.origin({})))


@dataclass(frozen=True, eq=False)
class PreparedLabelling:
    """A labelling that this worker can take part in."""

    labelling: Labelling
    description: Mapping[str, Any]

    def do(self, content: tuple[torch.Tensor, Loop, int, Wanted], beat: Beat) -> dict[str, Any]:
        """Denoise noises in a loop, with a number of threads; return their answers as lists, or the bytes of their images."""
        x_T, loop, threads, wanted = content
        labelling = replace(self.labelling, loop=loop, watch=beat)
        with threads_set_to(threads):
            if wanted == "images":
                x_0 = labelling.images(x_T).contiguous()
                return {"images": x_0.view(torch.uint8).numpy().tobytes()}
            return {name: values.tolist() for name, values in labelling(x_T).items()}
