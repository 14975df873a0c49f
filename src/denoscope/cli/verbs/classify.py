"""`denoscope classify`."""

from __future__ import annotations

from denoscope.cli.verb import Verb
from denoscope.config import Settings


def run(settings: Settings, _flags: None) -> None:
    from denoscope.models.classifier.labels import summary
    from denoscope.recording.predictions import predict

    predictions = predict(settings.classifier)
    written = predictions.write(settings.system.output, overwrite=settings.inference.overwrite)
    print(summary(predictions.labels))
    print("\n".join(map(str, written)))


VERB = Verb(
    run,
    "Classify the digit that each result shows.",
    {
        "classifier": "tensors classifier classifier_weights reject",
        "system": "output threads",
        "inference": "overwrite",
    },
    script_overwrites=True,
)
