"""`python -m hadgeo`."""

from hadgeo.cli import main

if __name__ == "__main__":
    main()
