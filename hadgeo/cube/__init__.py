"""Scenes, and cubes as xarray sees them."""

import lazy_loader

# What is here stands in the stub beside this file. It is loaded on first use: most runs need neither xarray nor dask.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
