"""A labelling whose noises are denoised and classified by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import torch
from distributed import Client

from denoscope.basins.classifiers import ImageClassifier
from denoscope.basins.labelling import Answers, Labelling
from denoscope.basins.steady_labelling import SteadyLabelling
from denoscope.cluster.crew import agreed, check_workers, crew
from denoscope.cluster.shared_work import SharedWork
from denoscope.cluster.worker import Beat
from denoscope.foundation.spelling import counted
from denoscope.foundation.threads import threads_set_to
from denoscope.models.conditioning import Condition
from denoscope.models.loading import call_of, load_again
from denoscope.models.schedulers import Scheduler
from denoscope.models.sources import LoadCall
from denoscope.recording.provenance import OF_THE_MACHINE
from denoscope.sampling.settings import Loop

UNITS = 8
"""Units for each worker in one request. All are waited for, so that few would leave workers idle at the end."""


@dataclass(frozen=True, eq=False)
class ClusterLabelling(SteadyLabelling):
    """A labelling by workers, in units of `rows` noises; they compute with as many threads as this process would."""

    _: KW_ONLY
    work: SharedWork
    rows: int
    described: Mapping[str, Any]
    """What determines labels, with the fingerprint of the workers."""

    @contextmanager
    def ready(self) -> Iterator[Labelling]:
        """The same labelling: the workers prepare their networks themselves."""
        yield self

    def __call__(self, x_T: torch.Tensor) -> Answers:
        found = self._asked(x_T, images=False)
        return {
            name: np.concatenate([empty, *(np.asarray(part[name], empty.dtype) for part in found)])
            for name, empty in self.nothing.items()
        }

    def images(self, x_T: torch.Tensor) -> torch.Tensor:
        """The images x_0 [n, C, H, W] of noises, on the CPU."""
        content = b"".join(part["images"] for part in self._asked(x_T, images=True))
        return torch.frombuffer(bytearray(content), dtype=self.denoiser.dtype).reshape(x_T.shape)

    def rows_together(self, batch_size: int) -> int:
        workers = max(1, len(self.work.crew.client.nthreads()))
        return super().rows_together(batch_size) * workers * UNITS

    def origin(self, plane: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.described, "plane": dict(plane)}

    def _asked(self, x_T: torch.Tensor, *, images: bool) -> list[dict[str, Any]]:
        """What the workers return for parts of noises [n, C, H, W], in order."""
        threads, parts = torch.get_num_threads(), x_T.split(self.rows) if len(x_T) else ()
        contents = [(part.clone(), self.loop, threads, images) for part in parts]
        return self.work.results(counted(self.rows, "noise"), contents, self.loop.steps)


@contextmanager
def shared_by(
    client: Client, labelling: Labelling, batch_size: int, *, allow_different_devices: bool, kept: str
) -> Iterator[Labelling]:
    """A labelling that the workers of a client share while the block runs.

    Args:
        batch_size: of a unit, rounded up to whole calls of the network.
        kept: what is kept if workers fail, and how the work goes on.

    Raises: UserError if the model has no name to load it by, or a worker would compute something else.
    """
    steady, recipe = SteadyLabelling.of(labelling), LabellingRecipe.of(labelling)
    check_workers(client)
    with crew(client, recipe) as workers:
        distinct, differing = agreed(
            workers, _description(steady), OF_THE_MACHINE, allow_different_devices=allow_different_devices
        )
        described = steady.origin({})
        described["fingerprint"] = {
            **described["fingerprint"],
            **{name: distinct[0][name] for name in OF_THE_MACHINE},
            **({"different_devices": differing} if differing else {}),
        }
        yield ClusterLabelling.of(
            labelling,
            work=SharedWork(workers, distinct, kept),
            rows=labelling.rows_together(batch_size),
            described=described,
        )


def _description(labelling: Labelling) -> dict[str, Any]:
    """Everything that determines the labels of noises, in one dictionary."""
    origin = labelling.origin({})
    return origin.pop("fingerprint") | origin


@dataclass(frozen=True, eq=False)
class LabellingRecipe:
    """What a worker prepares a labelling from: how the model is loaded, and the classifier with its weights."""

    model: LoadCall
    scheduler: Scheduler
    classifier: ImageClassifier
    loop: Loop
    condition: Condition
    threads: int

    @classmethod
    def of(cls, labelling: Labelling) -> LabellingRecipe:
        """The recipe of a labelling in this process, with its number of threads.

        Raises: UserError if the model has no name to load it by.
        """
        model = call_of(labelling.denoiser)
        shared = {name: getattr(labelling, name) for name in ("classifier", "loop", "condition")}
        return cls(model, labelling.denoiser.scheduler, **shared, threads=torch.get_num_threads())

    def prepare(self) -> PreparedLabelling:
        """The loaded model with its classifier.

        Raises: UserError if this worker cannot load it.
        """
        with threads_set_to(self.threads):
            denoiser = load_again(self.model, self.scheduler)
            labelling = Labelling(denoiser, self.classifier, self.loop, self.condition)
            return PreparedLabelling(labelling, _description(labelling))


class PreparedLabelling:
    """A labelling that this worker can take part in; its network stays ready for calls as long as it is held."""

    def __init__(self, labelling: Labelling, description: Mapping[str, Any]):
        self.description, self._open = description, ExitStack()
        self._labelling = self._open.enter_context(labelling.ready())

    def do(self, content: tuple[torch.Tensor, Loop, int, bool], beat: Beat) -> dict[str, Any]:
        """Denoise noises in a loop, with a number of threads; return their answers as lists, or the bytes of their images."""
        x_T, loop, threads, images = content
        labelling = replace(self._labelling, loop=loop, watch=beat)
        with threads_set_to(threads):
            if images:
                x_0 = labelling.images(x_T).contiguous()
                return {"images": x_0.view(torch.uint8).numpy().tobytes()}
            return {name: values.tolist() for name, values in labelling(x_T).items()}
