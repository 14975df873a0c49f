"""Models of the Hugging Face hub: the local copy of a repository, downloaded if necessary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from denoscope.foundation.errors import UserError, first_line
from denoscope.models import bundled, model_folder


def download(name: str) -> Path:
    """The local copy of a repository's pipeline files, with weights as safetensors if it has them.

    Raises: UserError with the places where the model was looked for.
    """
    import diffusers

    try:
        with silent_diffusers():
            return Path(diffusers.DiffusionPipeline.download(name))
    except Exception as error:  # the hub's client raises over a dozen unrelated kinds
        if "trust_remote_code" in str(
            error
        ):  # diffusers refuses remote code with an error of no kind of its own
            raise UserError(
                f"{name} {model_folder.needs_own_code('a custom pipeline or component')}"
            ) from error
        raise UserError(
            f"unknown model {name!r}: not bundled ({', '.join(bundled.names())}), not a folder, {_reason(error)}; "
            "the bundled model mnist needs no network"
        ) from error


def _reason(error: BaseException) -> str:
    """Why a repository could not be downloaded."""
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    causes = list(_chain(error))
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return "on the hub but gated: accept its terms there and log in with `hf auth login`"
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return "not a repository of the hub"
    if any(isinstance(cause, HFValidationError) for cause in causes):
        return "not a valid hub id"
    return f"neither cached nor downloadable from the hub ({first_line(causes[-1])})"


@contextlib.contextmanager
def silent_diffusers() -> Iterator[None]:
    """Silence diffusers' log while the block runs: denoscope reports each error itself."""
    from diffusers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, the root last."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
