"""The one style: colours that stay apart, sizes in print, text that stays text."""

import itertools

import colour
import matplotlib
import numpy as np
import pytest
from daltonlens import simulate
from matplotlib.colors import to_rgb

import denoscope as ds
from denoscope.explorer.layer_colors import NO_CLASS
from denoscope.figures import animations, plots, style

SIMULATIONS = {
    "Brettel, Viénot and Mollon (1997)": simulate.Simulator_Brettel1997(),
    "Machado, Oliveira and Fernandes (2009)": simulate.Simulator_Machado2009(),
}


def lab(colors):
    """CIE L*a*b* of colours in sRGB."""
    linear = colour.models.eotf_sRGB(np.array([to_rgb(color) for color in colors]))
    return colour.XYZ_to_Lab(colour.RGB_to_XYZ(linear, "sRGB"))


def least_difference(colors):
    pairs = itertools.combinations(lab(colors), 2)
    return min(float(colour.delta_E(one, other, method="CIE 2000")) for one, other in pairs)


def seen(colors, simulation, deficiency):
    """Colours as readers with a colour deficiency see them, at its full severity."""
    pixels = np.round(255 * np.array([[to_rgb(color) for color in colors]])).astype(np.uint8)
    return SIMULATIONS[simulation].simulate_cvd(pixels, deficiency, severity=1.0)[0] / 255


def test_the_colour_difference_is_that_of_the_published_examples():
    one, other = [50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485]  # Sharma, Wu and Dalal (2005), pair 1
    assert colour.delta_E(one, other, method="CIE 2000") == pytest.approx(2.0425, abs=1e-4)


def test_class_colours_stay_apart():
    assert least_difference(with_grey()) >= 10


@pytest.mark.parametrize("simulation", SIMULATIONS)
@pytest.mark.parametrize("deficiency", simulate.Deficiency)
def test_class_colours_stay_apart_for_colour_blind_readers(simulation, deficiency):
    assert least_difference(seen(with_grey(), simulation, deficiency)) >= 10


def with_grey():
    """The colours of the classes, and the greys of cells without one in animations and in the explorer."""
    return [*style.CLASSES, animations.palette(style.CLASSES)[-1] / 255, np.array(NO_CLASS) / 255]


def test_class_colours_differ_in_grey():
    assert np.diff(np.sort(lab(style.CLASSES)[:, 0])).min() >= 4.8


def test_curves_differ_in_dashes_and_markers_as_well():
    assert len(set(style.CURVES)) == len(set(map(str, style.DASHES))) == len(set(style.MARKERS)) == 7
    assert lab(style.CURVES)[:, 0].max() < 65, "dark enough on white"


def test_figures_have_the_width_of_columns_and_letters():
    figure, axes = plots.figure("double", rows=2, columns=2)
    assert tuple(figure.get_size_inches()) == (7.2, 5.4)
    assert [ax.texts[0].get_text() for ax in axes.flat] == ["a", "b", "c", "d"]
    assert plots.figure(4)[0].get_size_inches()[0] == 4
    with pytest.raises(ds.UserError, match="allowed: 'single', 'double' or a number of inches"):
        plots.figure("triple")


def test_the_style_leaves_settings_as_they_were():
    before = dict(matplotlib.rcParams)
    _, ax = plots.figure()
    ax.plot([1, 2], label="a")
    style.legend(ax)
    assert dict(matplotlib.rcParams) == before
    assert ax.get_legend().get_texts()[0].get_size() == ax.xaxis.get_ticklabels()[0].get_size() == 7


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_text_stays_text_and_files_do_not_change(tmp_path, form):
    for name in "ab":
        figure, ax = plots.figure()
        ax.set_xlabel("denoising step")
        plots.save(figure, tmp_path / f"{name}.{form}")
    one, other = ((tmp_path / f"{name}.{form}").read_bytes() for name in "ab")
    assert one == other
    if form == "svg":
        assert b">denoising step</text>" in one
    else:
        assert b"/Subtype /TrueType" in one or b"/CIDFontType2" in one
