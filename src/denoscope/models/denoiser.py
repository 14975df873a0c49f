"""Network and scheduler as one thing, loaded from whatever a diffusers user has."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denoscope.config import ModelConfig, SystemConfig
from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.hooks.addresses import choose
from denoscope.hooks.module_survey import Layer, first_and_last_convolution, survey
from denoscope.hooks.taps import layers_at
from denoscope.models import bundled, families, matmul_precision, model_folder, schedulers
from denoscope.models.conditioning import GUIDED, Condition, need_condition, of_labels, shapes
from denoscope.models.families import ANY_MODULE, FAMILIES, Family, config_of, family_of, known_family
from denoscope.models.schedulers import Scheduler

Shape = tuple[int, int, int]


@dataclass(eq=False)
class Denoiser:
    """A network that predicts what `scheduler` asks for, and the shape of the states it takes.

    States x are [rows, C, H, W]. How the network is called is its `family`'s to say; a module of no family
    is called as network(x, timestep) and returns a tensor or an object with `.sample`.
    """

    network: nn.Module
    scheduler: Scheduler
    shape: Shape
    name: str
    first_last_layers: tuple[str, str] | None = None
    plain_dtype: torch.dtype = torch.float32
    """The precision of a network that has no parameters to tell it."""
    _surveyed: list[Layer] = field(default_factory=list, repr=False)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters(), torch.empty(0)).device

    @property
    def dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.network.parameters() if p.is_floating_point()), self.plain_dtype)

    @cached_property
    def family(self) -> Family:
        """How networks of this kind are called."""
        return family_of(self.network)

    def branches(self, condition: Condition) -> tuple[str, ...]:
        """The halves of a call under a condition in the order of their rows; none where nothing guides it."""
        return (tuple(condition.branches) or self.family.branches or GUIDED) if condition.guided else ()

    def need_states(self, given: Any, name: str) -> None:
        """Refuse what is no floating-point tensor [n, C, H, W] of states, with what it is called."""
        needed = f"{self.name} takes floating point [n, {', '.join(map(str, self.shape))}]"
        if not isinstance(given, torch.Tensor):
            raise UserError(f"{name} is {describe(given)}; {needed}")
        if given.ndim != 4 or tuple(given.shape[1:]) != tuple(self.shape) or not len(given):
            raise UserError(f"{name} has shape {list(given.shape)}; {needed}")
        if not given.is_floating_point():
            raise UserError(f"{name} is {given.dtype}; {needed}: give {name}.float()")

    def check(self, condition: Condition, count: int) -> None:
        """Refuse a condition that does not fit the network or `count` samples."""
        need_condition(condition)
        accepted = inspect.signature(self.network.forward).parameters
        x = torch.zeros(1, *self.shape, dtype=self.dtype)
        needed = self.family.example_inputs(config_of(self.network), x)
        condition.check(count, accepted, needed)
        null = config_of(self.network).get("num_embeds_ada_norm")
        condition.check_classes(config_of(self.network).get("num_class_embeds") if null is None else null + 1)

    @torch.no_grad()
    def try_out(self, condition: Condition) -> None:
        """Call the network once under the condition of the first sample: what a shape alone does not tell.

        Raises: UserError with the shapes that were given and examples of those that are needed.
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
        config = config_of(self.network)
        null = config.get("num_embeds_ada_norm")  # one class more than those of the data
        return of_labels(labels, null or config.get("num_class_embeds"), null=null, scale=scale)

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
        """What the scheduler takes of the output of `network`, this denoiser's or one that wraps it."""
        return self._prediction(self.family.call(network, x, timestep, inputs))

    def predict(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any] | None = None
    ) -> torch.Tensor:
        """What the scheduler takes for states x [rows, C, H, W] at one timestep.

        `inputs` are the network's further arguments, as class_labels [rows], by name.
        """
        return self.call(self.network, x, timestep, inputs or {})

    def _prediction(self, output: torch.Tensor) -> torch.Tensor:
        """The part of a network's output [rows, C or 2C, H, W] that the scheduler takes.

        The second C channels, which some networks have learned variances in, go to those schedulers alone
        that use them.
        """
        channels, found = self.shape[0], output.shape[1]
        if found not in (channels, 2 * channels):
            raise UserError(
                f"{self.name} takes {channels} channels and puts out {found}; allowed: as many or twice"
            )
        learned = str(getattr(self.scheduler.config, "variance_type", "")).startswith("learned")
        return output if found == channels or learned else output[:, :channels]

    def layers(self) -> list[Layer]:
        """Every module in call order with shape, dtype and calls a step, from one dry run."""
        if not self._surveyed:
            self._surveyed = survey(self.network, self._dry_run({}))
        return self._surveyed

    def chosen_layers(
        self, queries: Sequence[str] | None, inputs: Mapping[str, Any] | None = None
    ) -> list[Layer]:
        """What the queries name, or the first and last convolution where there are none.

        `inputs` are what the network will be told, on whose size that of some states depends.
        """
        surveyed = survey(self.network, self._dry_run(inputs)) if inputs else self.layers()
        wanted = choose(queries or self.first_last_layers or first_and_last_convolution(surveyed), surveyed)
        chosen = layers_at(self.network, wanted, surveyed, self._dry_run(inputs or {}))
        for layer in chosen:
            if layer.shape is None:
                raise UserError(
                    f"layer {layer.address!r} has no tensor with a row for each sample, or one of another shape "
                    f"in each call; leave it out (!{layer.address}) or name another layer"
                )
        return chosen

    def one_layer(self, query: str, inputs: Mapping[str, Any] | None = None) -> Layer:
        """The one layer that a query names; several are refused."""
        if not isinstance(query, str):
            raise UserError(
                f"layer is {describe(query)}; needed is the query of one layer, such as 'mid_block'"
            )
        found = self.chosen_layers([query], inputs)
        if len(found) != 1:
            raise UserError(f"{query!r} names {len(found)} layers, {found[0].address} among them; name one")
        return found[0]

    def _dry_run(self, inputs: Mapping[str, Any]) -> Callable[[int], None]:
        """A function that calls the network once on so many rows of zeros."""
        return families.dry_run(self.network, shape=self.shape, dtype=self.dtype, inputs=inputs)

    def new_scheduler(self, steps: int, *, dtype: torch.dtype | None = None) -> Scheduler:
        """A scheduler of its own for one run of `steps` steps: schedulers keep state between steps.

        Its tables are computed in double precision where `dtype` is float64.
        """
        double = (dtype or self.dtype) == torch.float64
        return schedulers.ready(self.scheduler, steps, device=self.device, double=double)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the names and bytes of all weights and buffers."""
        return weights_sha256(self.network)

    def probe_hash(self, rows: int, inputs: Mapping[str, Any], *, tf32: bool = False) -> str:
        """SHA-256 of what the network makes of `rows` fixed noises at timestep 0.

        It tells apart what no name does: the code of the network, the processor's kernels, and every setting of
        PyTorch or its libraries that changes a bit.

        Args:
            inputs: what the network is told besides, the first row for all; zeros where they say nothing.
        """
        noise = torch.randn(rows, *self.shape, generator=torch.Generator().manual_seed(0))
        x = noise.to(device=self.device, dtype=self.dtype)
        with torch.inference_mode(), matmul_precision.exact(self.device, tf32=tf32):
            output = families.example_call(self.network, x, inputs)
        return _sha256({"output": output})


def load(
    source: Any,
    *,
    scheduler: str | Any | None = None,
    shape: Shape | None = None,
    dtype: torch.dtype | str | None = None,
    device: str = SystemConfig.device,
    clip_sample: bool | None = None,
    config: ModelConfig | None = None,
) -> Denoiser:
    """A denoiser from a bundled name, a folder, a hub id, a diffusers pipeline, or any torch module.

    >>> load("mnist").shape
    (1, 28, 28)
    >>> load(module, scheduler="ddim", shape=(3, 32, 32))

    Args:
        scheduler: "ddim", "ddpm", the name of any diffusers scheduler class, or a scheduler object; the
            source's own unless given. A name is built from the configuration of the source's own.
        shape: (C, H, W) of a state; needed for a bare module, else the model's own.
        dtype: of the network's weights and of the states.
        device: "auto", "cpu", "cuda" or "cuda:N".
        clip_sample: whether the scheduler clips its estimate of x_0 to [-1, 1]; as the source has it unless given.
            Where it clips the map x_T → x_0 is flat, and has no derivative at the edge of that.

    Raises:
        UserError: if the source cannot be found, with the places that were looked at.
    """
    matmul_precision.before_cuda_starts()
    network, own_scheduler, name = _take_apart(source)
    family = _steppable(known_family(type(network)), name)
    # nn.Module.to itself: diffusers' own warns of modules to be kept in float32 even where there are none.
    precision = _dtype(dtype)
    nn.Module.to(network, device=resolve_device(device), dtype=precision)
    network.eval().requires_grad_(False)
    known = (config or ModelConfig()).first_last_layers
    return Denoiser(
        network=network,
        scheduler=schedulers.with_clipping(schedulers.resolve(scheduler, own_scheduler, name), clip_sample),
        shape=_resolve_shape(shape, family, config_of(network), name),
        name=name,
        first_last_layers=known.get(name),
        plain_dtype=precision or torch.float32,
    )


def need_denoiser(given: Any) -> None:
    """Refuse what is no denoiser, such as the name of a model."""
    if not isinstance(given, Denoiser):
        source = describe(given) if isinstance(given, str) else "'mnist'"
        raise UserError(f"denoiser is {describe(given)}; needed is one that is loaded: ds.load({source})")


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights and buffers of a network."""
    return _sha256(network.state_dict())


def _sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def shape_of(source: str) -> Shape:
    """(C, H, W) of a model's states, from its configuration where the weights can stay unread."""
    folder = _local_folder(source)
    if folder is None:
        return load(source, device="cpu").shape
    config = model_folder.read_json(model_folder.network_folder(folder, source) / "config.json")
    family = _steppable(FAMILIES.get(str(config.get("_class_name")), ANY_MODULE), source)
    return _resolve_shape(None, family, config, source)


def resolve_device(device: str) -> torch.device:
    """The device that a `--device` value stands for."""
    SystemConfig.from_arguments(device=device)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    resolved = torch.device(device)
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{spelled('device')} is {device!r}, but {torch.cuda.device_count()} CUDA devices are visible; "
            "allowed here: auto, cpu"
        )
    return resolved


def _take_apart(source: Any) -> tuple[nn.Module, Any | None, str]:
    """(network, scheduler or None, name) of a source of any kind."""
    if isinstance(source, nn.Module):
        return source, None, type(source).__name__
    if hasattr(source, "scheduler"):
        return network_of(source), source.scheduler, type(source).__name__
    name = str(source)
    return *_load_folder(_local_folder(name) or _download(name), name), name


def _local_folder(name: str) -> Path | None:
    """The folder of a bundled name or of a path."""
    return bundled.folder(name) or (Path(name) if name and Path(name).is_dir() else None)


def network_of(pipeline: Any) -> nn.Module:
    """The denoising network of a diffusers pipeline."""
    parts = [getattr(pipeline, part, None) for part in model_folder.PARTS]
    network = next((part for part in parts if isinstance(part, nn.Module)), None)
    if network is None:
        raise UserError(
            f"{type(pipeline).__name__} has no {' or '.join(model_folder.PARTS)}; give its network alone, with a "
            "scheduler"
        )
    return network


def _load_folder(folder: Path, name: str) -> tuple[nn.Module, Any | None]:
    """Network and scheduler of a folder in diffusers' layout, flat or with its parts in folders."""
    network_folder = model_folder.network_folder(folder, name)
    network_class = model_folder.network_class(network_folder, name)
    _steppable(known_family(network_class), name)
    try:
        with _silent_diffusers():
            network, report = network_class.from_pretrained(
                network_folder, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{name}: its weights cannot be loaded: {first_line(error)}") from error
    if missing := report["missing_keys"]:
        raise UserError(f"{name}: its weights lack {len(missing)} tensors, among them {sorted(missing)[0]!r}")
    scheduler_file = next(
        (
            path
            for path in (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json")
            if path.is_file()
        ),
        None,
    )
    if scheduler_file is None:
        return network, None
    model_folder.refuse_own_code(scheduler_file, name)
    config = model_folder.read_json(scheduler_file)
    return network, schedulers.scheduler_from(str(config.get("_class_name")), config)


def _download(name: str) -> Path:
    """The local copy of a hub repository's pipeline files; weights as safetensors where it has them."""
    import diffusers
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        with _silent_diffusers():
            return Path(diffusers.DiffusionPipeline.download(name))
    except Exception as error:  # the hub's client raises over a dozen unrelated kinds
        causes = list(_chain(error))
        if "trust_remote_code" in str(
            error
        ):  # what diffusers tells to pass it, in an error of no kind of its own
            raise UserError(f"{name} {model_folder.asking_for_code('a custom pipeline or part')}") from error
        if any(isinstance(cause, GatedRepoError) for cause in causes):
            reason = "the hub gives it only to those who accepted its terms: log in with `hf auth login`"
        elif any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
            reason = "the hub has no such repository"
        elif any(isinstance(cause, HFValidationError) for cause in causes):
            reason = "no hub id looks like this"
        else:
            reason = f"neither cached nor to be had from the hub ({first_line(causes[-1])})"
        raise UserError(
            f"unknown model {name!r}: not bundled ({', '.join(bundled.names())}), no such folder, {reason}; "
            "--model mnist needs no network"
        ) from error


@contextlib.contextmanager
def _silent_diffusers() -> Iterator[None]:
    """Without diffusers' own lines: what goes wrong is said once, by us."""
    from diffusers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, the root last."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _steppable(family: Family, name: str) -> Family:
    """The family, refused where denoscope's own loop cannot make its states."""
    if family.packed:
        raise UserError(
            f"{name} is a {family.name}, whose states its pipeline packs: denoscope's own loop steps states "
            "[C, H, W] alone; record the pipeline's calls: with ds.watch(pipe, …): pipe(…)"
        )
    return family


def _resolve_shape(given: Shape | None, family: Family, config: Mapping[str, Any], name: str) -> Shape:
    if given is not None and not (
        len(given) == 3 and all(isinstance(length, int) and length >= 1 for length in given)
    ):
        raise UserError(f"shape is {given!r}; allowed: three whole numbers (channels, height, width)")
    told = family.state_shape(config)
    if told is None:
        if given is None:
            raise UserError(f"{name} does not say the shape of its states; give it: shape=(C, H, W)")
        return given
    channels, height, width = told
    own = (channels, height, width)
    # The channels are fixed by the weights; a convolutional network takes other sizes when told to.
    if given is not None and given[0] != own[0]:
        raise UserError(f"shape is {given}, but {name} takes {own[0]} channels; its own shape is {own}")
    return given or own


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype == "auto":
        return None
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not (isinstance(resolved, torch.dtype) and resolved.is_floating_point):
        raise UserError(f"dtype is {dtype!r}; allowed: float16, bfloat16, float32, float64")
    return resolved
