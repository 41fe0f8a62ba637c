"""Take the pictures of the demo's report that the README shows: `make demo`, then `python examples/report_picture.py`.

It opens the page in a headless Chromium, in its light colours: `report.png` is what a window of 1,040 by 1,250 pixels shows,
`timeline.png` the section on the units. `python examples/report_picture.py REPORT.html PICTURE.png --width 700 --dark` takes
any other picture of a report.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "build" / "fashion" / "report.html"
UNITS = "What does each unit do"
HEIGHT, TIMELINE_HEIGHT = 1250, 890
"""Pixels of the README's pictures."""
LONGEST = 4000
MARGIN = 16
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
COLOURS = 256
SECONDS = 60


def browser() -> str:
    """Return the command of a Chromium. SystemExit when there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        sys.exit(f"error: none of {', '.join(BROWSERS)} is installed (Debian: apt install chromium)")
    return found


def section_of(page: str, title: str) -> str:
    """Return a page with no more than the section whose title begins so. SystemExit when there is none."""
    sections = re.findall(r"<section>.*?</section>", page, flags=re.DOTALL)
    found = next((section for section in sections if f"<h2>{title}" in section), None)
    if found is None:
        sys.exit(f"error: the report has no section '{title}'")
    head, body = page.split("<main>")
    return f"{head}<main>{found}</main>{body.split('</main>')[1]}"


def take(page: str, picture: Path, width: int, height: int | None = None, *, dark: bool = False) -> None:
    """Write what a window of ``width`` by ``height`` pixels shows of a page, or all of it, as a PNG of few colours."""
    with tempfile.TemporaryDirectory() as scratch:
        shot, file = Path(scratch) / "shot.png", Path(scratch) / "page.html"
        file.write_text(page)
        options = [
            "--headless",
            "--hide-scrollbars",
            "--disable-gpu",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={scratch}/profile",
            f"--window-size={width},{height or LONGEST}",
            f"--screenshot={shot}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium has no sandbox for root
        ]
        done = subprocess.run(
            [browser(), *options, file.as_uri()], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if not shot.is_file():
            sys.exit(f"error: the browser took no picture\n{done.stderr[-1000:]}")
        with Image.open(shot) as opened:
            image = opened.convert("RGB")
        if height is None:  # as far down as there is anything
            empty = Image.new("RGB", image.size, image.getpixel((0, image.height - 1)))
            used = ImageChops.difference(image, empty).getbbox()
            image = image.crop((0, 0, width, min(image.height, (used[3] if used else 0) + MARGIN)))
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", nargs="?", type=Path, default=DEMO, help="the report; by default the demo's")
    parser.add_argument("picture", nargs="?", type=Path, help="the picture to write; by default those of the README")
    parser.add_argument("--width", type=int, default=1040, help="width of the window in pixels")
    parser.add_argument("--height", type=int, help="height of the window in pixels; by default all of the page")
    parser.add_argument("--section", metavar="TITLE", help="take only the section whose title begins with TITLE")
    parser.add_argument("--dark", action="store_true", help="take the dark colours")
    arguments = parser.parse_args()
    if not arguments.page.is_file():
        parser.error(f"there is no {arguments.page}: `make demo` makes the demo's")
    page = arguments.page.read_text()
    if arguments.picture is None:
        take(page, HERE / "report.png", arguments.width, HEIGHT)
        take(section_of(page, UNITS), HERE / "timeline.png", arguments.width, TIMELINE_HEIGHT)
        return
    if arguments.section:
        page = section_of(page, arguments.section)
    take(page, arguments.picture, arguments.width, arguments.height, dark=arguments.dark)


if __name__ == "__main__":
    main()
