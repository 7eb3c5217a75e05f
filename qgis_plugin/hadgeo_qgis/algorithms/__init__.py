"""hadgeo's Processing algorithms, one a module."""

from .detect import Detect
from .detect_with_model import DetectWithModel
from .information import Information
from .setup_backend import SetUpBackend
from .simulate import Simulate
from .train import Train

ALGORITHMS = (Detect, Train, DetectWithModel, Simulate, Information, SetUpBackend)
