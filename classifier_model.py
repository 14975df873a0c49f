"""The LeNet-5 that classifies MNIST digits."""

from denoscope.models.classifier.lenet import LeNet5, load

__all__ = ["LeNet5", "load"]
