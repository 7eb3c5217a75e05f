"""hadgeo's Processing algorithms, one a module."""

from .compare import Compare
from .detect import Detect
from .detect_with_model import DetectWithModel
from .evaluate import Evaluate
from .information import Information
from .match import Match
from .mission import Mission
from .quicklook import Quicklook
from .setup_backend import SetUpBackend
from .simulate import Simulate
from .threshold import Threshold
from .train import Train

ALGORITHMS = (
    Detect,
    Train,
    DetectWithModel,
    Mission,
    Match,
    Threshold,
    Evaluate,
    Compare,
    Quicklook,
    Simulate,
    Information,
    SetUpBackend,
)
