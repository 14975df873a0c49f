"""The Jacobian of the denoising map, by plain PyTorch and diffusers."""

import torch


def plain_jacobian(denoiser, x_T, steps) -> torch.Tensor:
    """∂x_0/∂x_T by reverse mode through a loop in plain diffusers."""
    from copy import deepcopy

    from denoscope.models.schedule_precision import after_set_timesteps, in_double

    def run(flat):
        scheduler, x = deepcopy(denoiser.scheduler), flat.reshape(1, *denoiser.shape)
        in_double(scheduler)
        scheduler.set_timesteps(steps)
        after_set_timesteps(scheduler)
        for t in scheduler.timesteps:
            x = scheduler.step(denoiser.network(x, t).sample, t, x).prev_sample
        return x.flatten()

    with denoiser.running():
        return torch.autograd.functional.jacobian(run, x_T.flatten())
