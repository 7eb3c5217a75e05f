"""Each name loads its module on first use."""

from .arrays import ArraySource as ArraySource
from .arrays import mask as mask
from .arrays import open_cube as open_cube
from .arrays import source_of as source_of
from .scenes import SceneLike as SceneLike
from .scenes import as_source as as_source
