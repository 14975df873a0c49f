"""`denoscope classify`."""

from __future__ import annotations

from denoscope.cli.verb import Verb
from denoscope.config import Settings


def run(settings: Settings, _flags: None) -> None:
    from denoscope.models.classifier.labels import Classifier, summary
    from denoscope.recording.predictions import predict

    classifier = settings.classifier
    predictions = predict(
        classifier.tensors, Classifier.of(classifier.classifier_weights, reject=classifier.reject)
    )
    written = predictions.write(settings.system.output, overwrite=settings.inference.overwrite)
    print(summary(predictions.labels))
    print("\n".join(map(str, written)))


VERB = Verb(
    run,
    "Classify the digit that each result shows.",
    {"classifier": "tensors classifier_weights reject", "system": "output threads", "inference": "overwrite"},
    script_overwrites=True,
)
