"""What pyproject.toml cannot say: when nodespec is built, what was built makes the plans of the library's specs."""

from __future__ import annotations

import os
import subprocess
import sys

from setuptools import setup
from setuptools.command.build_py import build_py


class Built(build_py):
    """The packages, and beside them the plans. An editable checkout resolves its specs at each start."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            made = [sys.executable, "-B", "-m", "nodespec.author.spec.precompiled", os.path.join("nodespec", "plans")]
            subprocess.run(made, cwd=self.build_lib, check=True)  # noqa: S603 - what was just built


setup(cmdclass={"build_py": Built})
