"""The configuration of the scripts beside this file: edit it here; command-line flags override it.

Every field with its meaning, default and allowed values is in `src/denoscope/config.py`. To change
one, pass it: `inference = InferenceConfig(batch_size=2, num_steps=100)`.
"""

from denoscope.config import (
    ClassifierConfig,
    DefaultConfig,
    GenerationConfig,
    InferenceConfig,
    ModelConfig,
    Settings,
    SystemConfig,
)

system = SystemConfig()
generation = GenerationConfig()
model = ModelConfig()
inference = InferenceConfig()
classifier = ClassifierConfig()
default = DefaultConfig()

SETTINGS = Settings(
    system=system,
    generation=generation,
    model=model,
    inference=inference,
    classifier=classifier,
    default=default,
)
