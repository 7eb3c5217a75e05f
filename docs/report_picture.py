"""Make the picture of docs/report.md: the page of a simulated flight line in Chromium, with some verdicts.

python docs/report_picture.py docs/images/report.png
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import hadgeo
from hadgeo.cli import cli

#: Names of Chromium on different systems; the first that starts is taken.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(out: Path) -> None:
    """Make it."""
    with tempfile.TemporaryDirectory() as folder:
        scene, page = Path(folder) / "line.img", Path(folder) / "line.html"
        hadgeo.simulate(scene, rows=300, cols=420, bands=120, targets=30, seed=5)
        words = ("detect", scene, "--preset", "fast", "--pfa", "3e-4", "--report", page, "-q")
        cli.main([str(word) for word in words], standalone_mode=False)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=next(filter(None, map(shutil.which, BROWSERS))))
            shown = browser.new_page(viewport={"width": 1440, "height": 1080})
            shown.goto(page.as_uri())
            shown.wait_for_selector("html[data-ready]")
            for key in ("a", "a", "r", "u", "a", "k"):
                shown.keyboard.press(key)
            shown.evaluate("Page.card()")
            picture = Image.open(io.BytesIO(shown.screenshot()))
            browser.close()
    # 256 colours: a fraction of the size.
    picture.convert("RGB").quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
