"""The Jacobian of the denoising map, by plain PyTorch and diffusers."""

import torch


def plain_jacobian(denoiser, x_T, steps) -> torch.Tensor:
    """∂x_0/∂x_T by reverse mode through a loop in plain diffusers."""
    from copy import deepcopy

    from denoscope.models.schedule_precision import after_set_timesteps, in_double

    scheduler = deepcopy(denoiser.scheduler)
    in_double(scheduler)
    scheduler.set_timesteps(steps)
    after_set_timesteps(scheduler)

    def run(x):
        for t in scheduler.timesteps:
            x = scheduler.step(denoiser.network(x, t).sample, t, x).prev_sample
        return x

    with denoiser.running():
        return jacobian_of(run, x_T)


def jacobian_of(function, x) -> torch.Tensor:
    """The derivative of a function of rows at x [1, …]: one copy of x for each output, all in one backward pass."""
    with torch.no_grad():
        outputs = function(x).numel()
    rows = x.repeat(outputs, *[1] * (x.dim() - 1)).requires_grad_()
    (gradients,) = torch.autograd.grad(function(rows).flatten(1).diagonal().sum(), rows)
    return gradients.flatten(1)
