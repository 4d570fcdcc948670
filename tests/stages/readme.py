"""The README's two commands, as it gives them, on a fresh Debian 12 with nothing but `git python3 python3-venv`.

    python tests/stages/readme.py CACHE

As root: the system is made by debootstrap in the folder CACHE, what is committed is cloned into it, and an ordinary
user runs the commands there. What of this machine's settings says where packages come from is copied. The exit status
is 1 where a command fails, or does not say what it promises.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from debian import said, system

TOP = Path(__file__).parents[2]
PACKAGES = ("git", "python3", "python3-venv")
SETTINGS = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf")
NAMED = ("PIP_CERT", "PIP_CONFIG_FILE", "PIP_FIND_LINKS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
USER = 1000
PROMISED = {
    "./demo": r"exit (0|10|11): .*\n(?s:.*)\(exit code \1 of nodespec check\)\.\nThe report: (?P<report>/\S+\.html)\n",
    "./test": r"\n=* ?\d+ passed(, \d+ (skipped|deselected))* in .*",
}


def main(cache: Path) -> int:
    """The exit status; what the commands print is printed."""
    tree = system("bookworm", PACKAGES, cache / "fresh-tree")
    settle(tree)
    clone = tree / "home/clone"
    shutil.rmtree(clone, ignore_errors=True)
    said("git", "-c", "safe.directory=*", "clone", "--quiet", str(TOP), str(clone))
    said("chown", "-R", f"{USER}:{USER}", str(clone))
    commands = re.findall(r"^```sh\n(\S+)\n```", (clone / "README.md").read_text(), re.MULTILINE)
    wrong = [command for command in commands[:2] if not kept(command, tree)]
    if tuple(commands[:2]) != tuple(PROMISED):
        wrong.append(f"the README has {commands}")
    print(*(f"wrong    {one}" for one in wrong), f"{len(commands[:2])} commands, {len(wrong)} wrong", sep="\n")
    return int(bool(wrong))


def settle(tree: Path) -> None:
    """Copy what says where packages come from, as far as it is files."""
    for name in (*SETTINGS, *(os.environ.get(name, "") for name in NAMED)):
        place = tree / name.lstrip("/")
        if name and Path(name).is_dir():
            shutil.copytree(name, place, dirs_exist_ok=True)
        elif name and Path(name).is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            shutil.copyfile(name, place)


def kept(command: str, tree: Path) -> bool:
    """Whether a command does what it promises."""
    inside = f"cd /home/clone && HOME=/home/clone exec setpriv --reuid {USER} --regid {USER} --clear-groups {command}"
    mounts = "".join(f"mount --rbind /{name} {shlex.quote(str(tree))}/{name} && " for name in ("proc", "sys", "dev"))
    script = f"{mounts}exec chroot {shlex.quote(str(tree))} sh -c {shlex.quote(inside)}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    print(f"$ {command}", flush=True)
    argv = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout)
    print(f"exit status {done.returncode}")
    found = re.search(PROMISED.get(command, "(?!)"), done.stdout)
    report = found and found.groupdict().get("report")
    return done.returncode == 0 and found is not None and (not report or (tree / report.lstrip("/")).is_file())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: readme.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
