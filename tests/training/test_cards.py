"""The cards of the bundled models are what their writers make of the files beside them."""

import shutil

import pytest

from denoscope.models import bundled
from denoscope.models.classifier.bundled_classifiers import DIGITS_CNN
from training import classifier_card, digits_card, mnist_card

CARDS = [
    (bundled.folder("mnist"), mnist_card),
    (bundled.folder("digits"), digits_card),
    (bundled.folder("digits-conditional"), digits_card),
    (DIGITS_CNN.weights.parent, classifier_card),
]


@pytest.mark.parametrize(("folder", "writer"), CARDS, ids=[folder.name for folder, _writer in CARDS])
def test_a_card_is_made_of_the_files_beside_it(folder, writer, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("README.md"))
    assert writer.write(copy).read_text() == (folder / "README.md").read_text()
