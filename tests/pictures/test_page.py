"""The page of a quicklook: parts in their places, whatever stands in a title."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hadgeo.pictures.cartography import Ground
from hadgeo.pictures.layout import lay_out
from hadgeo.pictures.overlay import Ramp
from hadgeo.pictures.page import Page, ramp_colours


def drawn(page: Page) -> npt.NDArray[np.uint8]:
    """The figure as pixels (y, x, rgb)."""
    canvas = FigureCanvasAgg(page.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def sheet_of(shape: tuple[int, int], size: int = 400, title: str = "scene.tif") -> Page:
    return Page(lay_out(shape, 1.0, size), shape, title, "about", place="place")


def texts(page: Page) -> list[str]:
    return [text.get_text() for text in page.figure.texts]


def test_a_panel_is_drawn_pixel_by_pixel_where_the_layout_puts_it() -> None:
    shape = (40, 50)
    page = sheet_of(shape)
    layout = lay_out(shape, 1.0, 400)
    image = np.zeros((*shape, 3), dtype=np.uint8)
    image[..., 0] = np.arange(40)[:, None] * 6
    image[..., 1] = np.arange(50)[None] * 5
    page.draw_panel(layout.panels[0], image, None)
    picture = drawn(page)
    side = int(layout.cell[0])
    expected = image.repeat(side, axis=0).repeat(side, axis=1)
    height, width = expected.shape[:2]
    left = (picture.shape[1] - width) // 2
    # Below title and lines, and above the foot.
    top = picture.shape[0] - 94 - height
    np.testing.assert_array_equal(picture[top : top + height, left : left + width], expected)


def test_panels_of_a_long_scene_are_labelled_with_what_they_hold() -> None:
    shape = (4000, 100)
    page = sheet_of(shape)
    layout = lay_out(shape, 1.0, 400)
    image = np.zeros((-(-shape[0] // layout.step), -(-shape[1] // layout.step), 3), dtype=np.uint8)
    for panel in layout.panels:
        page.draw_panel(panel, image, None)
    labels = [text for text in texts(page) if " to " in text]
    ends = [[int(part.replace(",", "")) for part in label.split()[1::2]] for label in labels]
    assert len(labels) == len(layout.panels) > 1
    assert (ends[0][0], ends[-1][1]) == (1, 4000)
    assert all(after[0] == before[1] + 1 for before, after in pairwise(ends))


def test_a_wide_scene_is_labelled_by_columns_and_an_uncut_one_not_at_all() -> None:
    wide, whole = sheet_of((100, 4000)), sheet_of((40, 50))
    for page, shape in ((wide, (100, 4000)), (whole, (40, 50))):
        layout = lay_out(shape, 1.0, 400)
        cells = tuple(-(-length // layout.step) for length in shape)
        page.draw_panel(layout.panels[0], np.zeros((*cells, 3), dtype=np.uint8), None)
    assert any(text.startswith("columns 1 to ") for text in texts(wide))
    assert texts(whole) == ["scene.tif", "about", "place"]


@pytest.mark.parametrize("title", ["cost $5 or $6", r"a\b_{c}^d", "%s {x}", ""])
def test_a_title_is_shown_as_it_is(title: str) -> None:
    page = sheet_of((9, 9), title=title)
    assert texts(page)[0] == title
    drawn(page)


@pytest.mark.parametrize(
    ("right", "label", "metres"), [(2.0, "100 m", 100), (0.03, "1 m", 1), (300.0, "10 km", 10_000)]
)
def test_the_scale_bar_has_the_length_that_it_tells(right: float, label: str, metres: int) -> None:
    shape = (100, 100)
    page = sheet_of(shape)
    page.draw_ground(Ground(right, right, "m", (0.0, -1.0)))
    assert label in texts(page)
    width = page.figure.artists[0].get_window_extent().width
    assert width == pytest.approx(metres / right * lay_out(shape, 1.0, 400).cell[0])


def test_the_ramp_rises_from_left_to_right_and_names_scores_and_shares() -> None:
    colours = ramp_colours()
    assert colours.shape == (256, 3)
    assert (colours >= 0).all()
    assert (colours <= 1).all()
    # Brighter all the way, so that it reads without colours too.
    brightness = colours @ np.array([0.299, 0.587, 0.114])
    # matplotlib's 256 colours are stretched over the ramp, so that some stand there twice.
    assert (np.diff(brightness) >= 0).all()
    assert brightness[-1] - brightness[0] > 0.6
    page = sheet_of((100, 100))
    before = texts(page)
    page.draw_ramp(Ramp((1.0, 2500.0), (0.0, 1.0), ("95 %", "max")))
    assert [text for text in texts(page) if text not in before] == ["95 %", "1", "max", "2,500", "score"]
    score = page.figure.texts[-1].get_window_extent(FigureCanvasAgg(page.figure).get_renderer())
    row, left = int(page.figure.bbox.height - (score.y0 + score.y1) / 2), int(score.x1) + 12
    picture = drawn(page)
    np.testing.assert_allclose(picture[row, left + 295], 255 * colours[-5], atol=6)
    assert len(np.unique(picture[row, left + 5 : left + 295], axis=0)) > 100
    below = picture[row + 8]
    assert np.flatnonzero((below < 128).all(axis=1)).tolist() == pytest.approx([left, left + 300], abs=1)
