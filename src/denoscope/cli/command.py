"""The `denoscope` command and the scripts beside it: one verb each, flags from the configuration classes."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import itertools
import os
import signal
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from denoscope.cli.output import NPZ, Measured
from denoscope.cli.verb import KEPT, MODEL, PLANE, OwnFlags, Verb, load, plane_of
from denoscope.cli.verbs import basins, loops, sensitivity, trajectories
from denoscope.config import InferenceConfig, ModelConfig, Settings, at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from denoscope.noise.noise_set import NoiseSet

HELP = ("-h", "--help")
SPIN_COUNT = "10000"
"""How long OpenMP threads spin before they sleep: with no spinning, a network call with few rows takes twice as long."""


@contextlib.contextmanager
def _readers_may_leave() -> Iterator[None]:
    """End quietly when whoever reads the output, such as `head`, has read enough."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python would try to write what is left once more, and complain, as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def _set_waiting_policy() -> None:
    """Set how OpenMP threads wait, which PyTorch reads as it is imported, unless the user did."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


@_readers_may_leave()
def main(arguments: Sequence[str] | None = None) -> None:
    """The `denoscope` command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in HELP:
        print(_overview(VERBS))
        return
    if words[0] == "--version":
        import importlib.metadata

        print(importlib.metadata.version("denoscope"))
        return
    for length in (2, 1):
        if (verb := " ".join(words[:length])) in VERBS:
            run(verb, words[length:], Settings(), f"denoscope {verb}")
            return
    kin = {name: verb for name, verb in VERBS.items() if name.split()[0] == words[0]}
    if kin and words[1:2] and words[1] in HELP:
        print(_overview(kin))
        return
    near = difflib.get_close_matches(" ".join(words[:2]), VERBS, n=3, cutoff=0.3)
    _fail(f"unknown command {words[0]!r}; did you mean {' or '.join(near or VERBS)}? See denoscope --help")


@_readers_may_leave()
def script(verb: str, path: str) -> None:
    """Run a verb as one of the scripts does: with the `config.py` beside it as the starting point."""
    try:
        settings = _settings_beside(Path(path))
    except UserError as error:
        _fail(f"config.py: {error}")
    run(verb, sys.argv[1:], settings, Path(path).name)


def run(verb: str, arguments: Sequence[str], settings: Settings, program: str) -> None:
    """Parse the flags over `settings` and do the verb; a user's mistake ends in one line and exit code 2."""
    _set_waiting_policy()
    chosen = VERBS[verb]
    parsed = _parse(chosen, arguments, settings, program)
    try:
        own = chosen.own and chosen.own(
            **{item.name: getattr(parsed, item.name) for item in dataclasses.fields(chosen.own)}
        )
        chosen.run(_merged(chosen, settings, parsed), own)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt as stop:
        print(f"\n{stop or 'stopped'}", file=sys.stderr)
        raise SystemExit(130) from None


def _parse(verb: Verb, arguments: Sequence[str], settings: Settings, program: str) -> Any:
    import tyro

    for flag, word in itertools.pairwise([program, *arguments]):
        if not word or (word.startswith("--") and word.endswith("=")):
            _fail(f"{word.rstrip('=') or flag} is given an empty text; give it a value or leave it out")
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(
                _flags(verb, settings),
                args=list(arguments),
                prog=program,
                description=verb.help,
                use_underscores=True,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if stop.code:
            # tyro frames what is wrong and its advice; the first part of the frame says it.
            said = told.getvalue().splitlines()[1:]
            what = [
                line.strip("│ ")
                for line in said[: next((k for k, line in enumerate(said) if "──" in line), None)]
            ]
            _fail(f"{' '.join(what)} (see {program} --help)")
        raise


def _flags(verb: Verb, settings: Settings) -> type:
    """A dataclass with one field a flag, its default taken from `settings`."""
    fields: list[tuple[str, Any, Any]] = []
    for item in dataclasses.fields(verb.own) if verb.own else ():
        fields.append(_flag(item.name, typing.cast(type, verb.own), item.name, item.default))
    for config, attribute, flag in verb.fields():
        instance = getattr(settings, config)
        fields.append(_flag(flag, type(instance), attribute, getattr(instance, attribute)))
    return dataclasses.make_dataclass("Flags", fields, kw_only=True)


def _flag(flag: str, owner: type, attribute: str, default: Any) -> tuple[str, Any, Any]:
    import tyro

    item = next(item for item in dataclasses.fields(owner) if item.name == attribute)
    hint: Any = Annotated[typing.get_type_hints(owner)[attribute], tyro.conf.arg(help=item.metadata["help"])]
    if item.metadata["positional"]:
        # A list may be left out.
        left_out = dataclasses.field(default=default) if isinstance(default, tuple) else dataclasses.field()
        return flag, Annotated[hint, tyro.conf.Positional], left_out
    return flag, hint, dataclasses.field(default=default)


def _merged(verb: Verb, settings: Settings, parsed: Any) -> Settings:
    """The settings with what the flags say; each class checks its own values again."""
    changes: dict[str, dict[str, Any]] = {}
    for config, attribute, flag in verb.fields():
        changes.setdefault(config, {})[attribute] = getattr(parsed, flag)
    return dataclasses.replace(
        settings,
        **{
            config: dataclasses.replace(getattr(settings, config), **values)
            for config, values in changes.items()
        },
    )


def _settings_beside(path: Path) -> Settings:
    import importlib.util

    spec = importlib.util.spec_from_file_location("config", path.resolve().with_name("config.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:  # whatever a user may have written there
        raise UserError(f"{type(error).__name__}: {error}") from error
    settings = getattr(module, "SETTINGS", None)
    for item in dataclasses.fields(Settings):
        wanted, found = type(getattr(Settings(), item.name)), getattr(settings, item.name, None)
        if not isinstance(found, wanted):
            raise UserError(f"SETTINGS.{item.name} is {found!r}; allowed: a {wanted.__name__}(…)")
    return typing.cast(Settings, settings)


def _fail(message: str) -> typing.NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


def _overview(verbs: Mapping[str, Verb]) -> str:
    width = max(map(len, verbs)) + 2
    lines = [f"  {name:<{width}}{verb.help}" for name, verb in verbs.items()]
    return "\n".join(
        [
            "usage: denoscope COMMAND [FLAGS]   (denoscope COMMAND --help lists the flags)",
            "",
            "Record hidden states and trajectories of diffusion models, and classify the results.",
            "",
            *lines,
        ]
    )


def _noise_shape(settings: Settings) -> tuple[int, int, int]:
    """The shape of the model's states, which the settings do not contradict."""
    from denoscope.models.denoiser import shape_of

    shape = shape_of(settings.model.model)
    _check_shape(settings, shape)
    return shape


def _check_shape(settings: Settings, shape: tuple[int, int, int]) -> None:
    """Refuse a size or a number of channels that contradicts the model's."""
    (channels, height, width), wanted = shape, settings.generation
    if wanted.channels not in (None, channels):
        raise UserError(
            f"GenerationConfig.channels is {wanted.channels}; allowed: {channels}, as {settings.model.model} takes"
        )
    if wanted.image_size is not None and (wanted.image_size, wanted.image_size) != (height, width):
        raise UserError(
            f"GenerationConfig.image_size is {wanted.image_size}; allowed: {height}"
            f"{'' if height == width else f' by {width}'}, as {settings.model.model} takes"
        )


def _write_noise(x: NoiseSet, settings: Settings) -> None:
    folder = settings.system.inputs
    x.write(folder)
    print(
        f"{len(x)} tensors [1, {', '.join(map(str, x.shape))}] in {folder}: {x.names[0]}.pt … {x.names[-1]}.pt"
    )


def _noise_random(settings: Settings, _own: None) -> None:
    from denoscope import noise

    shape = _noise_shape(settings)
    _write_noise(noise.random(settings.generation.num_samples, shape, seed=settings.system.seed), settings)


def _noise_perturbed(settings: Settings, _own: None) -> None:
    from denoscope import noise

    default = settings.default
    x = noise.perturbed(
        default.num_perturbations,
        _noise_shape(settings),
        epsilon=default.epsilon,
        base_seed=default.base_seed,
        perturb_seed=default.perturb_seed,
        directions=default.directions,
    )
    _write_noise(x, settings)


def _noise_plane(settings: Settings, _own: None) -> None:
    _write_noise(plane_of(settings, _noise_shape(settings)), settings)


@dataclass(frozen=True)
class LayersFlags(OwnFlags):
    """Whose layers are listed, and which."""

    model: str = option(
        "mnist", "A bundled model, a folder in diffusers' layout, or a hub id.", positional=True
    )
    query: tuple[str, ...] = option(
        ("**",),
        "Paths with * and **, re:PATTERN, type:CLASS, first, last, h-space; then :in, :out, :diff, :q, :k, :v, "
        ":probs, [0]; ! takes away.",
        positional=True,
    )


def _layers(_settings: Settings, own: LayersFlags) -> None:
    from denoscope.cli import layer_table

    print(layer_table.table(layer_table.find(own.model, own.query)))


@dataclass(frozen=True)
class RecordFlags(OwnFlags):
    """What is asked of a recording beside its making."""

    dry_run: bool = option(False, "Print the plan, with its size on disk, and stop.")


def _record(settings: Settings, own: RecordFlags) -> None:
    from denoscope import noise
    from denoscope.cli import progress
    from denoscope.recording.job import Job

    system = settings.system
    denoiser = load(settings)
    _check_shape(settings, denoiser.shape)
    x = noise.read(system.inputs, shape=denoiser.shape)
    job = Job.prepared(denoiser, x, system.output, settings.inference, system.seed)
    if own.dry_run:
        print(progress.describe(job.plan, job.out))
        job.check()
        return
    job.run(progress.Console())
    print(f"recorded in {job.out}")


@dataclass(frozen=True)
class PatchFlags(Measured):
    """Which recordings are patched, where, and where the map goes."""

    a: Path = option(Path("a.zarr"), "The recording whose runs are patched.", positional=True)
    b: Path = option(Path("b.zarr"), "The recording whose states are put there.", positional=True)
    layers: tuple[str, ...] = option((), "Layers by queries; all that B holds unless set.")
    steps: tuple[int, ...] = option((), "Steps; all unless set.")
    output: Path = option(Path("patch.npz"), "The file of the map; what is finished is kept there.", NPZ)


def _patch(settings: Settings, own: PatchFlags) -> None:
    from denoscope.recording import recording, verify
    from denoscope.recording.patching import patch_map, patching

    inference = settings.inference
    with own.at_work(inference, "patching", unit="cell", kept=own.output, reads=[own.a, own.b]) as checkpoint:
        a = recording.open(own.a)
        found = patching.patch(
            verify.denoiser_of(a, device=settings.system.device),
            a,
            own.b,
            layers=own.layers or None,
            steps=own.steps or None,
            batch_size=inference.batch_size,
            checkpoint=checkpoint,
        )
    print(patch_map.table(found))
    print(own.output)


@dataclass(frozen=True)
class ImageFlags(OwnFlags):
    """Which tensors become pictures."""

    tensor_path: Path | None = option(None, "One tensor file: a sequence or a final tensor.")
    folder_path: Path | None = option(None, "A folder of such files.")
    step: str = option(
        "-1", "State after denoising step K, 0 … num_steps−1; −1 is the last, x_0; noise is x_T."
    )
    all_steps: bool = option(False, "A strip and an animated GIF of the whole sequence.")


def _image(settings: Settings, own: ImageFlags) -> None:
    from denoscope.figures import images

    if (own.tensor_path is None) == (own.folder_path is None):
        raise UserError("name either --tensor-path FILE or --folder-path FOLDER")
    step = _step(own.step)
    if own.folder_path is not None and not own.folder_path.is_dir():
        raise UserError(f"{own.folder_path}: no such folder (--folder-path)")
    paths = sorted(own.folder_path.glob("*.pt")) if own.folder_path else [typing.cast(Path, own.tensor_path)]
    if not paths:
        raise UserError(f"{own.folder_path}: holds no .pt tensors (--folder-path)")
    for path in paths:
        written = images.render(path, step=step, output_base_dir=settings.pictures, all_steps=own.all_steps)
        print("\n".join(map(str, written)))


def _step(word: str) -> int | Literal["noise"]:
    if word == "noise":
        return "noise"
    try:
        return int(word)
    except ValueError:
        raise UserError(
            f"--step is {word!r}; allowed: 0 to num_steps − 1, -1 for the last, noise for x_T"
        ) from None


def _classify(settings: Settings, _own: None) -> None:
    from denoscope.models.classifier.labels import Classifier, summary
    from denoscope.recording.predictions import predict

    asked = settings.classifier
    predictions = predict(asked.tensors, Classifier.of(asked.classifier_weights, reject=asked.reject))
    written = predictions.write(settings.system.output)
    print(summary(predictions.labels))
    print("\n".join(map(str, written)))


def _compare(settings: Settings, _own: None) -> None:
    from denoscope.recording.compare import compare

    print(compare(settings.default.compare_folder))


@dataclass(frozen=True)
class PipelineFlags(OwnFlags):
    """What the pipeline draws beside the plane of classes."""

    generate_png: bool = option(False, "Also one picture for each cell, and all of them in their places.")


def _pipeline(settings: Settings, own: PipelineFlags) -> None:
    from denoscope.cli import plane_pipeline, progress

    plane = plane_of(settings, _noise_shape(settings))
    denoiser = load(settings)
    written = plane_pipeline.run(
        denoiser, plane, settings, generate_png=own.generate_png, progress=progress.Console()
    )
    print("\n".join(map(str, written)))


@dataclass(frozen=True)
class PrecisionFlags(OwnFlags):
    """Whose noise floor is measured."""

    path: Path | None = option(None, "A recording: measured with its model and options, and written into it.")


@dataclass(frozen=True)
class StoreFlags(OwnFlags):
    """Which recording is read again."""

    path: Path = option(Path("run.zarr"), "The recording.", positional=True)
    recompute: int = option(0, "Also compute this many random samples again and compare bits.", at_least(0))
    inputs: Path | None = option(None, "Folder it was recorded from, where the recording holds no x_T.")


def _verify_determinism(settings: Settings, _own: None) -> None:
    from denoscope.recording import verify

    options = settings.inference
    chosen = {name: getattr(options, name) for name in BITS.split()}
    checks = verify.determinism(load(settings), steps=options.num_steps, **chosen)
    print(f"{'way of running':<34}{'promised':<26}{'found':<14}")
    print("\n".join(map(str, checks)))
    if not all(check.holds for check in checks):
        raise SystemExit(1)


def _verify_precision(settings: Settings, own: PrecisionFlags) -> None:
    from denoscope.recording import recording, verify

    if own.path is None:
        options = settings.inference
        denoiser = load(settings)
        chosen = {name: getattr(options, name) for name in FLOOR.split()}
        floor = verify.precision(denoiser, steps=options.num_steps, **chosen)
    else:
        if (settings.model, settings.inference) != (ModelConfig(), InferenceConfig()):
            raise UserError(
                "--path measures with the recording's own model and options; leave the other flags out"
            )
        floor = verify.precision_of(recording.open(own.path), device=settings.system.device)
        recording.set_attribute(own.path, "noise_floor", floor.to_dict())
    print(floor)
    print(f"noise floor of {own.path or settings.model.model}: {floor.value:.3g}")


def _verify_store(_settings: Settings, own: StoreFlags) -> None:
    from denoscope.recording import verify

    report = verify.store(own.path, recompute=own.recompute, inputs=own.inputs)
    print(report)
    if not report.sound:
        raise SystemExit(1)


@dataclass(frozen=True)
class SelfcheckFlags(OwnFlags):
    """How much is checked."""

    quick: bool = option(False, "What takes ten seconds: a smaller plane, and no long orbits.")


def _selfcheck(_settings: Settings, own: SelfcheckFlags) -> None:
    from denoscope.dynamics.known import selfcheck

    print(selfcheck.HEAD, flush=True)
    checks = []
    for check in selfcheck.run(quick=own.quick):
        print(check, flush=True)
        checks.append(check)
    missed = sum(not check.holds for check in checks)
    print(f"{len(checks)} quantities, {missed} of them missed")
    if missed:
        raise SystemExit(1)


BITS = "lanes noise sampler_dtype fast tf32"
FLOOR = "layers lanes sampler_dtype fast tf32"
"""Options that the bits of what is computed depend on, and those of a noise floor."""

_SHAPE = {"generation": "image_size channels", "model": "model"}
_RUN = {
    "system": "output device seed",
    "model": "model scheduler clip_sample",
    "inference": f"num_steps batch_size lanes noise {KEPT}",
}

VERBS: dict[str, Verb] = {
    "noise random": Verb(
        _noise_random,
        "Write independent random noises x_T.",
        {"system": "inputs seed", "generation": "num_samples image_size channels", "model": "model"},
    ),
    "noise perturbed": Verb(
        _noise_perturbed,
        "Write a base noise and small perturbations of it.",
        {
            "system": "inputs",
            **_SHAPE,
            "default": "num_perturbations epsilon base_seed perturb_seed directions",
        },
    ),
    "noise plane": Verb(
        _noise_plane,
        "Write a 2-D plane of noises.",
        {"system": "inputs", **_SHAPE, "default": PLANE},
    ),
    "record": Verb(
        _record,
        "Denoise the noises of a folder and record sequences and hidden states.",
        {
            "system": "inputs output device seed",
            "model": MODEL,
            "inference": " ".join(item.name for item in dataclasses.fields(InferenceConfig)),
        },
        RecordFlags,
    ),
    "patch": Verb(
        _patch,
        "Put one recording's states into the run of another, layer by layer and step by step.",
        {"system": "device", "inference": f"batch_size {KEPT}"},
        PatchFlags,
    ),
    **sensitivity.VERBS,
    **loops.VERBS,
    **basins.VERBS,
    **trajectories.VERBS,
    "layers": Verb(
        _layers,
        "List the layers of a model that queries name, with shapes and sizes; needs no weights.",
        {},
        LayersFlags,
    ),
    "image": Verb(
        _image,
        "Turn recorded tensors into PNG pictures.",
        {"default": "image_output_dir:output_base_dir"},
        ImageFlags,
    ),
    "classify": Verb(
        _classify,
        "Say which digit each result shows.",
        {"classifier": "tensors classifier_weights reject", "system": "output"},
    ),
    "compare": Verb(
        _compare, "Say which tensors of a folder are equal.", {"default": "compare_folder:folder"}
    ),
    "verify determinism": Verb(
        _verify_determinism,
        "Measure whether the same samples get the same bits however they are run.",
        {"system": "device", "model": MODEL, "inference": f"num_steps {BITS}"},
    ),
    "verify precision": Verb(
        _verify_precision,
        "Measure the noise floor: what rounding alone does to a trajectory.",
        {"system": "device", "model": MODEL, "inference": f"num_steps {FLOOR}"},
        PrecisionFlags,
    ),
    "verify store": Verb(
        _verify_store,
        "Read a recording again and check every checksum.",
        {},
        StoreFlags,
    ),
    "selfcheck": Verb(
        _selfcheck,
        "Measure systems whose numbers are known, and compare: exponents, basins, dimensions, a fake fractal.",
        {},
        SelfcheckFlags,
    ),
    "pipeline": Verb(
        _pipeline,
        "Plane of noises → denoise → classify → coloured plane, in one go.",
        {
            **_RUN,
            "generation": "image_size channels",
            "classifier": "classifier_weights reject",
            "default": f"{PLANE} image_output_dir:output_base_dir",
        },
        PipelineFlags,
    ),
}
