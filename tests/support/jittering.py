"""A stochastic scheduler outside of diffusers."""


def jittering():
    """A DDIM of the caller's that adds noise although its `eta` is 0 by default."""
    from diffusers import DDIMScheduler
    from diffusers.utils.torch_utils import randn_tensor

    class Jittering(DDIMScheduler):
        def step(self, model_output, timestep, sample, eta=0.0, generator=None):
            result = super().step(model_output, timestep, sample, eta=eta)
            result.prev_sample += randn_tensor(sample.shape, generator=generator)
            return result

    return Jittering()
