"""hadgeo's own tests of a detector, on this one."""

import pytest
from hadgeo_example.local_angle import LocalAngle

from hadgeo.testing import DetectorContract


class TestLocalAngle(DetectorContract):
    @pytest.fixture
    def detector(self) -> LocalAngle:
        return LocalAngle()
