"""Write the files of `share` into a folder: `python distribution/shared_files.py FOLDER`.

setup.py runs this when nodespec is built: completion scripts and the man page, where shells and man find them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import completion
import man_page

SCRIPTS = {
    "bash": "bash-completion/completions/nodespec",
    "zsh": "zsh/site-functions/_nodespec",
    "fish": "fish/vendor_completions.d/nodespec.fish",
}
MAN_PAGE = "man/man1/nodespec.1"


def write(folder: Path) -> None:
    """Write all files below a folder."""
    texts = {path: completion.script(shell) for shell, path in SCRIPTS.items()}
    for path, text in {**texts, MAN_PAGE: man_page.page()}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and a folder
        sys.exit("usage: shared_files.py FOLDER")
    write(Path(sys.argv[1]))
