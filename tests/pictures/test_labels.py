"""Texts in a picture: readable, beside what they are of, and not too many of them."""

from __future__ import annotations

import numpy as np

from hadgeo.pictures.labels import Box, Labels

FRAME = Box(0, 0, 800, 600)


def marks(count: int) -> list[Box]:
    rng = np.random.default_rng(count)
    return [Box(x, y, x + 10, y + 10) for x, y in rng.uniform((0, 0), (790, 590), size=(count, 2))]


def test_texts_do_not_cover_each_other_or_leave_the_picture_and_the_first_come_first() -> None:
    labels = Labels(FRAME)
    placed = [labels.place(mark, (24, 12)) for mark in marks(400)]
    boxes = [box for box in placed if box is not None]
    assert all(box.inside(FRAME) for box in boxes)
    assert not any(a.meets(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert all(box is not None for box in placed[:15])
    # However many there are, the picture is seen.
    assert 0.03 < sum(box.area for box in boxes) / FRAME.area <= 0.04


def test_a_text_stands_beside_its_mark_and_off_others() -> None:
    labels = Labels(FRAME)
    for mark in (few := marks(20)):
        labels.avoid(mark)
    for mark in few:
        box = labels.place(mark, (20, 12))
        assert box is None or (not any(box.meets(other) for other in few) and box.left <= mark.right)


def test_a_text_may_stand_on_a_point_alone() -> None:
    labels = Labels(FRAME)
    assert labels.place(Box(100, 100, 100, 100), (40, 10), centred=True) == Box(80, 95, 120, 105)
    assert labels.place(Box(110, 100, 110, 100), (40, 10), centred=True) is None
    assert labels.place(Box(5, 5, 5, 5), (40, 10), centred=True) is None
