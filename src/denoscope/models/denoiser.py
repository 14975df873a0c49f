"""Network and scheduler as one object, which predicts what the scheduler needs for a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from denoscope.foundation import html_repr
from denoscope.foundation.arguments import DENOISER
from denoscope.foundation.dtypes import COMPUTED, name_of
from denoscope.foundation.errors import NetworkError, UserError, first_line
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_integer
from denoscope.hooks.address_survey import layers_at
from denoscope.hooks.module_survey import Layer, aliases_of, first_and_last_convolution, survey
from denoscope.hooks.queries import as_queries, choose
from denoscope.models import bundled, families, schedulers
from denoscope.models.conditioning import GUIDED, Condition, check_condition, of_labels, shapes
from denoscope.models.families import Family, config_of, family_of
from denoscope.models.running import Running
from denoscope.models.schedule import check_schedule, scheduler_for_run
from denoscope.models.schedulers import Scheduler
from denoscope.models.sources import LoadCall
from denoscope.models.weights_hash import weights_sha256

Shape = tuple[int, int, int]


@dataclass(eq=False, repr=False)
class Denoiser:
    """A network, the scheduler whose steps it serves, and the shape of the states that it takes.

    States x are [rows, C, H, W]. A network of diffusers is called as its `family` calls it; any other module is called
    as network(x, timestep) and returns a tensor or an object with `.sample`.

    The network is in eval mode, frozen, on `device` and in `dtype` while it runs (see `running`), and as its owner left
    it otherwise.
    """

    network: nn.Module
    scheduler: Scheduler
    shape: Shape
    name: str
    first_last_layers: tuple[str, str] | None = None
    run_device: torch.device | None = None
    """Where the network runs; where its weights are unless given."""
    run_dtype: torch.dtype | None = None
    """The precision in which the network runs; its own unless given."""
    owned: bool = False
    """Whether nobody else holds the network, so that its weights can be assumed not to change."""
    loaded_by: LoadCall | None = None
    """The call that loads the same model in another process; None for a module or a pipeline of the caller."""
    _surveyed: list[Layer] = field(default_factory=list)
    _running: Running | None = field(default=None, init=False)
    _weights_hash: str | None = field(default=None, init=False)
    _succeeded: bool = field(default=False, init=False)
    """Whether a call of the network has succeeded."""
    _tried: set[tuple[object, ...]] = field(default_factory=set, init=False)

    @property
    def device(self) -> torch.device:
        return self.run_device or families.device_of(self.network)

    @property
    def dtype(self) -> torch.dtype:
        if self._running is not None and self._running.entered:
            return self._running.dtype
        return self.run_dtype or families.dtype_of(self.network)

    @cached_property
    def family(self) -> Family:
        """How networks of this kind are called."""
        return family_of(self.network)

    def running(self) -> Running:
        """A context in which the network is in eval mode, frozen, on `device` and in `dtype`.

        >>> with denoiser.running():
        ...     output = denoiser.predict(x, timestep)

        Every run of denoscope enters it. Inside of it this method returns the same context; see `Running`.
        """
        if self._running is None or not self._running.entered:
            self._running = Running(self.network, device=self.run_device, dtype=self.run_dtype)
        return self._running

    def branches(self, condition: Condition) -> tuple[str, ...]:
        """The names of the halves of a guided call in the order of their rows; empty without guidance."""
        return (tuple(condition.branches) or self.family.branches or GUIDED) if condition.guided else ()

    def check_states(self, value: Any, name: str) -> None:
        """Refuse a value that is not a floating-point tensor [n, C, H, W]; `name` is that of the argument."""
        allowed = f"{self.name} takes a floating-point tensor [n, {', '.join(map(str, self.shape))}]"
        if isinstance(value, Denoiser):
            raise UserError(f"{spelled(name)} is a Denoiser; {allowed}, which follows the denoiser")
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{spelled(name)} is {describe(value)}; {allowed}")
        if value.ndim != 4 or tuple(value.shape[1:]) != tuple(self.shape) or not len(value):
            raise UserError(f"{spelled(name)} has shape {list(value.shape)}; {allowed}")
        if not value.is_floating_point():
            raise UserError(f"{spelled(name)} has dtype {value.dtype}; {allowed}: pass {name}.float()")

    def check_condition(self, condition: Condition, count: int) -> None:
        """Refuse a condition that does not fit the network or `count` samples."""
        check_condition(condition)
        accepted = inspect.signature(self.network.forward).parameters
        x = torch.zeros(1, *self.shape, dtype=self.dtype)
        needed = self.family.example_inputs(config_of(self.network), x)
        condition.check(count, accepted, needed)
        classes, null = self.classes
        condition.check_classes(classes if classes is None or null is None else max(classes, null + 1))

    @torch.no_grad()
    def try_condition(self, condition: Condition) -> None:
        """Call the network once under the condition of the first sample, to find what shapes alone do not show.

        Raises: UserError with the shapes of the condition and examples of the ones that the network takes.
        """
        branches, timestep = self.branches(condition), torch.zeros((), dtype=torch.long, device=self.device)
        x = torch.zeros(max(1, len(branches)), *self.shape, dtype=self.dtype, device=self.device)
        try:
            self.predict(x, timestep, condition.of([0]).rows(1, branches, x))
        except UserError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            needed = self.family.example_inputs(config_of(self.network), x[:1])
            raise UserError(
                f"the network cannot be called under this condition, {shapes(condition.inputs)}"
                + (f", unconditional {shapes(condition.unconditional)}" if condition.unconditional else "")
                + f": {first_line(error)}; it takes, for example, {shapes(needed)}"
            ) from error

    def condition_of_labels(self, labels: Sequence[int], *, scale: float = 1.0) -> Condition:
        """The condition of class labels, one for all samples or one for each; see `conditioning.of_labels`."""
        classes, null = self.classes
        return of_labels(labels, classes, null=null, scale=scale)

    @property
    def classes(self) -> tuple[int | None, int | None]:
        """The number of class labels, and the null class, from which guidance leads away; None if the network has none.

        The null class of a DiT is the one after its labels; that of another network is `_null_class` in its config.json,
        an entry that diffusers keeps and does not use.

        Raises: UserError if `_null_class` is not a class of the network.
        """
        config = config_of(self.network)
        if (of_dit := config.get("num_embeds_ada_norm")) is not None:
            return of_dit, of_dit
        classes, null = config.get("num_class_embeds"), config.get("_null_class")
        if classes is None or null is None:
            return classes, None
        note = f"a class of the network; correct the configuration of {self.name}"
        return classes, parse_integer(null, "_null_class", maximum=classes - 1, note=note)

    @property
    def is_stochastic(self) -> bool:
        """Whether the scheduler adds noise in its steps."""
        return schedulers.adds_noise(self.scheduler)

    @property
    def bundled(self) -> bool:
        """Whether the model comes with the package."""
        return bundled.folder(self.name) is not None

    def call(
        self, network: nn.Module, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> torch.Tensor:
        """The part of the output of `network` that the scheduler takes; `network` is the denoiser's own or wraps it.

        The caller enters `running`.
        """
        return self._prediction(self.family.call(network, x, timestep, inputs), x)

    def predict(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any] | None = None
    ) -> torch.Tensor:
        """The prediction that the scheduler takes, for states x [rows, C, H, W] at one timestep.

        Args:
            inputs: further arguments of the network by name, such as class_labels [rows].
        """
        with self.running():
            return self.call(self.network, x, timestep, inputs or {})

    def example_call(self, x: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
        """The network's whole output for states x [rows, C, H, W] at timestep 0; see `families.example_call`."""
        with self.running(), self.first_call(x, torch.zeros((), dtype=torch.long), inputs):
            output = families.example_call(self.network, x, inputs)
            self._check_output(output, x)
            return output

    @contextmanager
    def first_call(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> Iterator[None]:
        """Let the block call the network. If this fails and no call has succeeded yet, the error says how it was called.

        Raises: NetworkError with the arguments of the call and the first line of the network's error.
        """
        if self._succeeded:
            yield
            return
        try:
            yield
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the user's code raises
            time, kind = self.family.clock(timestep, x), type(self.network).__name__
            arguments = shapes({"x": x, "t": time, **inputs}).replace("t []", "t 0-d")
            raise NetworkError(
                f"{kind} fails when it is called as network({arguments}), with x in {name_of(x.dtype)} and t in "
                f"{name_of(time.dtype)}: {type(error).__name__}: {first_line(error)}"
            ) from error
        self._succeeded = True

    def _prediction(self, output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The part of a network's output [rows, C or 2C, H, W] that the scheduler takes.

        Networks with learned variances put them in the last C channels, which only some schedulers use.
        """
        self._check_output(output, x)
        if output.shape == x.shape:
            return output
        return output if schedulers.learns_variance(self.scheduler) else output[:, : x.shape[1]]

    def _check_output(self, output: torch.Tensor, x: torch.Tensor) -> None:
        """Refuse an output for states x that the scheduler does not take, or that it would broadcast."""
        with_variances = (len(x), 2 * x.shape[1], *x.shape[2:])
        fits = output.shape == (with_variances if self._needs_variances else x.shape)
        fits = fits or output.shape == with_variances
        if fits and output.dtype in COMPUTED and (output.device, output.layout) == (x.device, x.layout):
            return
        kind = "" if output.layout == x.layout else f"{name_of(output.layout)} "
        taken = f"{list(with_variances)} with learned variances"
        if self._needs_variances:
            taken += f", which {type(self.scheduler).__name__} is configured to take"
        else:
            taken = f"{list(x.shape)}, or {taken}"
        raise NetworkError(
            f"{type(self.network).__name__} returned a {kind}tensor {list(output.shape)} in {name_of(output.dtype)} on "
            f"{output.device} for states {list(x.shape)} on {x.device}; allowed: a dense tensor {taken}, on that device, in "
            f"one of {', '.join(map(name_of, COMPUTED))}"
        )

    @cached_property
    def _needs_variances(self) -> bool:
        return schedulers.needs_variances(self.scheduler)

    def layers(self) -> list[Layer]:
        """Every module in call order with its shape, dtype and calls per step, from one dry run."""
        if not self._surveyed:
            self._surveyed = survey(self.network, self._dry_run({}))
        return self._surveyed

    def chosen_layers(
        self, queries: str | Sequence[str] | None, inputs: Mapping[str, Any] | None = None
    ) -> list[Layer]:
        """The layers that the queries name; the first and the last convolution if there are none.

        Args:
            inputs: further inputs of the network in the run, whose sizes decide the sizes of some states.
        """
        surveyed = survey(self.network, self._dry_run(inputs)) if inputs else self.layers()
        chosen_queries = as_queries(queries or ()) or self.first_last_layers
        addresses = choose(
            chosen_queries or first_and_last_convolution(surveyed), surveyed, aliases_of(self.network)
        )
        chosen = layers_at(self.network, addresses, surveyed, self._dry_run(inputs or {}))
        for layer in chosen:
            layer.check_recordable()
        return chosen

    def one_layer(self, query: str, inputs: Mapping[str, Any] | None = None) -> Layer:
        """The layer that a query names.

        Raises: UserError if the query names several.
        """
        if not isinstance(query, str):
            raise UserError(f"{describe(query)} is no query of a layer; allowed: one, such as 'mid_block'")
        layers = self.chosen_layers([query], inputs)
        if len(layers) != 1:
            raise UserError(f"{query!r} names {len(layers)} layers, such as {layers[0].address}; name one")
        return layers[0]

    def _dry_run(self, inputs: Mapping[str, Any]) -> Callable[[int], None]:
        """A function that calls the network once on a given number of rows of zeros."""

        def run(rows: int) -> None:
            self.example_call(torch.zeros(rows, *self.shape, dtype=self.dtype, device=self.device), inputs)

        return run

    def new_scheduler(
        self,
        steps: int,
        *,
        dtype: torch.dtype | None = None,
        timesteps: Sequence[float] = (),
        sigmas: Sequence[float] = (),
    ) -> Scheduler:
        """A copy of the scheduler, set for one run: schedulers keep state between steps.

        Args:
            dtype: the precision of the states; the scheduler's tables are computed in double for float64.
            timesteps, sigmas: see `scheduler_for_run`.
        """
        double = (dtype or self.dtype) == torch.float64
        scheduler = scheduler_for_run(
            self.scheduler, steps, device=self.device, double=double, timesteps=timesteps, sigmas=sigmas
        )
        tried = (id(self.scheduler), steps, tuple(timesteps), tuple(sigmas), double)
        if tried not in self._tried:
            check_schedule(scheduler, steps, torch.float64 if double else torch.float32)
            self._tried.add(tried)
        return scheduler

    @property
    def weights_hash(self) -> str:
        """SHA-256 over all weights and buffers in the precision in which they run.

        For a module that the caller holds it is computed on each access, since the weights may have changed.
        """
        if self._weights_hash is None or not self.owned:
            with self.running():
                self._weights_hash = weights_sha256(self.network)
        return self._weights_hash

    def __repr__(self) -> str:
        size, network = "×".join(map(str, self.shape)), type(self.network).__name__
        return (
            f"<Denoiser {self.name}: {network} with {self._parameters:,} parameters, states {size} "
            f"{name_of(self.dtype)} on {self.device}, {type(self.scheduler).__name__}>"
        )

    def _repr_html_(self) -> str:
        rows = {
            "network": type(self.network).__name__,
            "parameters": f"{self._parameters:,}",
            "shape": "×".join(map(str, self.shape)),
            "dtype": name_of(self.dtype),
            "device": self.device,
            "scheduler": type(self.scheduler).__name__,
            "training timesteps": self.scheduler.config.get("num_train_timesteps", "not stated"),
        }
        return html_repr.table(f"Denoiser {self.name}", rows)

    @property
    def _parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())


def check_denoiser(value: Any) -> None:
    """Refuse a value that is not a denoiser, such as the name of a model or a state in its place."""
    if not isinstance(value, Denoiser):
        raise UserError(f"denoiser is {describe(value)}; allowed: {DENOISER}")


def check_differentiable(denoiser: Denoiser) -> None:
    """Refuse a denoiser that computes with weights made in inference mode: autograd cannot save them."""
    with denoiser.running():  # in another precision it computes with copies, which have derivatives
        made_inside = any(parameter.is_inference() for parameter in denoiser.network.parameters())
    if made_inside:
        raise UserError(
            f"the weights of {denoiser.name} were made in inference mode, which allows no derivatives; make the network "
            "outside of torch.inference_mode()"
        )
