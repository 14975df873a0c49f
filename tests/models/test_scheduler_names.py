"""Schedulers by the names of diffusers' documentation, A1111 and k-diffusion."""

import contextlib

import pytest

import denoscope as ds
from denoscope.foundation.spelling import as_flags
from denoscope.models.scheduler_names import ALIASES, scheduler_class
from denoscope.models.schedulers import scheduler_from

# NumPy 2's warning about how diffusers converts tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

DOCUMENTED = [
    ("DPM++ 2M", "DPMSolverMultistepScheduler", {}),
    ("DPM++ 2M Karras", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ("DPM++ 2M SDE", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    (
        "DPM++ 2M SDE Karras",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    ("DPM++ SDE", "DPMSolverSinglestepScheduler", {}),
    ("DPM++ SDE Karras", "DPMSolverSinglestepScheduler", {"use_karras_sigmas": True}),
    ("DPM2", "KDPM2DiscreteScheduler", {}),
    ("DPM2 Karras", "KDPM2DiscreteScheduler", {"use_karras_sigmas": True}),
    ("DPM2 a", "KDPM2AncestralDiscreteScheduler", {}),
    ("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", {"use_karras_sigmas": True}),
    ("Euler", "EulerDiscreteScheduler", {}),
    ("Euler a", "EulerAncestralDiscreteScheduler", {}),
    ("Heun", "HeunDiscreteScheduler", {}),
    ("LMS", "LMSDiscreteScheduler", {}),
    ("LMS Karras", "LMSDiscreteScheduler", {"use_karras_sigmas": True}),
]
"""The table of diffusers' documentation."""
SPELLINGS = [
    ("dpm++", "DPMSolverMultistepScheduler", {}),
    ("sde-dpm++", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("dpmpp_2m_karras", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ("dpm++_2M-Exponential", "DPMSolverMultistepScheduler", {"use_exponential_sigmas": True}),
    ("euler beta", "EulerDiscreteScheduler", {"use_beta_sigmas": True}),
    ("euler_a", "EulerAncestralDiscreteScheduler", {}),
    ("EULER ANCESTRAL", "EulerAncestralDiscreteScheduler", {}),
    ("dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler", {}),
    ("uni_pc", "UniPCMultistepScheduler", {}),
    ("DEIS", "DEISMultistepScheduler", {}),
    ("pndm", "PNDMScheduler", {}),
    ("lcm", "LCMScheduler", {}),
    ("tcd", "TCDScheduler", {}),
    ("ddim", "DDIMScheduler", {}),
    ("DDPMScheduler", "DDPMScheduler", {}),
    ("Euler-Discrete", "EulerDiscreteScheduler", {}),
]


@pytest.mark.parametrize(("name", "kind", "options"), DOCUMENTED + SPELLINGS)
def test_a_name_stands_for_a_class_with_options(name, kind, options):
    scheduler = scheduler_from(name, {"num_train_timesteps": 50})
    assert type(scheduler).__name__ == kind
    assert scheduler.config.num_train_timesteps == 50
    assert all(scheduler.config[option] == value for option, value in options.items())


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_names_a_class_of_diffusers(alias):
    assert scheduler_class(alias)[0].__name__ == f"{ALIASES[alias][0]}Scheduler"


def test_a_spacing_replaces_the_one_of_the_configuration():
    scheduler = scheduler_from("dpm++ 2m exponential", {"use_karras_sigmas": True})
    assert scheduler.config.use_exponential_sigmas and not scheduler.config.use_karras_sigmas
    assert scheduler_from("dpm++ 2m", {"use_karras_sigmas": True}).config.use_karras_sigmas


@pytest.mark.parametrize(
    ("name", "nearest"), [("eular", "euler"), ("dimm", "ddim"), ("heum", "heun"), ("unipcc", "unipc")]
)
def test_an_unknown_name_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(ds.UserError) as caught:
        scheduler_class(name)
    message = str(caught.value)
    assert "scheduler" in message and repr(name) in message and "\n" not in message
    assert nearest in message.partition("allowed")[0]


def test_the_command_line_takes_no_scheduler_objects():
    for flags, offered in ((None, True), ({"scheduler": "--scheduler"}, False)):
        with as_flags(flags) if flags else contextlib.nullcontext(), pytest.raises(ds.UserError) as caught:
            scheduler_class("eular")
        assert ("a scheduler object" in str(caught.value)) is offered


def test_a_spacing_that_a_class_does_not_have_is_refused():
    with pytest.raises(ds.UserError, match=r"'ddim karras'.*DDIMScheduler.*leave out 'karras'"):
        scheduler_class("ddim karras")


def test_the_alias_reaches_load():
    assert type(ds.load("digits", scheduler="euler a", device="cpu").scheduler).__name__ == (
        "EulerAncestralDiscreteScheduler"
    )
