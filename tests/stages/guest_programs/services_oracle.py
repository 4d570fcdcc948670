"""Inside a guest: do the columns of `services` agree with what `systemctl show` prints of every unit?

    python services_oracle.py

As root, on a booted systemd. Units are made below /run that fail, are masked, and have limits; the drop-in of one is
changed while it runs. nodespec observes all units first, as root and as nobody, because `systemctl show` loads units. A
line is printed for each difference, and last the counts. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nodespec.checks.services import services
from nodespec.host.machine import Machine
from nodespec.model.observation import Limits, Value

FOLDER = Path("/run/systemd/system")
UNITS = {
    "oracle-fails.service": "[Service]\nExecStart=/bin/false\n",
    "oracle-masked.service": "",
    "oracle-limited.service": "[Service]\nExecStart=/bin/sleep 9999\nLimitNOFILE=1000\nTasksMax=50\n",
    "oracle-limited.service.d/10-more.conf": "[Service]\nLimitNOFILE=2048:4096\nTasksMax=77\n",
    "oracle-endless.service": "[Service]\nExecStart=/bin/sleep 9999\nTasksMax=infinity\nSlice=oracle-deep.slice\n",
    "oracle-idle.timer": "[Timer]\nOnCalendar=2099-01-01\nUnit=oracle-limited.service\n",
    "oracle-listens.socket": "[Socket]\nListenStream=/run/oracle.sock\nAccept=yes\n",
    "oracle-listens@.service": "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n",
    "oracle@.service": "[Service]\nExecStart=/bin/sleep 9999\nLimitNOFILE=123\n",
}
STARTED = ("limited.service", "endless.service", "idle.timer", "listens.socket", "fails.service")
ACTIVE = ("active", "reloading")
COLUMNS = ("load", "masked", "active", "state", "substate", "failed", "drop_ins", "nofile", "nofile_soft", "tasks")
SHOWN = "Id,Names,LoadState,ActiveState,SubState,LimitNOFILE,LimitNOFILESoft,TasksMax,DropInPaths,MainPID"
INFINITE = {"infinity": (1 << 64) - 1}
MOST = 60  # units of the system that are compared: each instruction is emulated
SKIPPED = ("device", "scope", "slice")


def main() -> int:
    if sys.argv[1:] == ["observe"]:
        print(json.dumps(observe(json.load(sys.stdin))))
        return 0
    if not os.path.exists("/run/systemd/private"):
        print("systemd has not booted this machine")
        return 2
    set_up()
    units = list_units()
    before = command("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full")
    ours = {user: json.loads(run_as(user, units)) for user in ("root", "nobody")}
    after = command("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full")
    theirs = show(units)
    wrong = [f"nodespec changed the units:\n{before}\n{after}"] if before.split() != after.split() else []
    known = dict.fromkeys(ours, 0)
    for user, seen in ours.items():
        for unit in units:
            for column, value in expect(theirs[unit]).items():
                got = seen[unit].get(column, ["unknown", "no row"])
                known[user] += got[0] == "value"
                if got[0] == "value" and value not in got[1:]:
                    wrong.append(f"{user}: {unit} {column}: {got[1:]}, systemctl shows {value!r}")
                if got[0] != "value" and user == "root":
                    wrong.append(f"{user}: {unit} {column}: {got}, systemctl shows {value!r}")
    print("\n".join(wrong))
    print(f"{len(units)} units, values that are known: {known}; {len(wrong)} differences")
    return int(bool(wrong))


def set_up() -> None:
    for name, text in UNITS.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (FOLDER / "oracle-masked.service").unlink()
    (FOLDER / "oracle-masked.service").symlink_to("/dev/null")
    command("systemctl", "daemon-reload")
    for name in (*(f"oracle-{unit}" for unit in STARTED), "oracle@one.service"):
        command("systemctl", "start", name)
    # the limit in force is the one at the start
    (FOLDER / "oracle-limited.service.d" / "10-more.conf").write_text("[Service]\nLimitNOFILE=5\nTasksMax=5\n")


def list_units() -> list[str]:
    """All units that have files, but for templates, and those that are loaded."""
    shown = (
        *command("systemctl", "list-unit-files", "--no-legend", "--full").splitlines(),
        *command("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full").splitlines(),
    )
    names = {line.split()[0] for line in shown if line.split()}
    units = sorted(name for name in names if "@." not in name and name.rpartition(".")[2] not in SKIPPED)
    made = [name for name in units if name.startswith("oracle")]
    return [*made, *[name for name in units if name not in made][:MOST]]


def observe(units: list[str]) -> dict[str, dict[str, list[object]]]:
    """What nodespec sees of each unit: columns with a state and the possible values."""
    machine = Machine("/", Limits(peer_seconds=20.0))
    rows = services.probe(machine)
    found: dict[str, dict[str, list[object]]] = {}
    for unit in units:
        row = rows.observe(unit)
        if not isinstance(row, Value):
            found[unit] = {"row": [type(row).__name__.lower(), str(row)]}
            continue
        columns: dict[str, list[object]] = {}
        for column in COLUMNS:
            cell = row.value[column]  # type: ignore[index]
            values = (cell.value, *cell.others) if isinstance(cell, Value) else (str(cell),)
            plain = [sorted(value) if isinstance(value, frozenset) else value for value in values]
            columns[column] = ["value" if isinstance(cell, Value) else type(cell).__name__.lower(), *plain]
        found[unit] = columns
    return found


def expect(shown: dict[str, str]) -> dict[str, Any]:
    """The columns of a unit, from what systemctl shows; those that it does not have are left out."""
    if shown["LoadState"] == "not-found":
        return {}
    state = shown["ActiveState"]
    values: dict[str, Any] = {
        "load": shown["LoadState"],
        "masked": shown["LoadState"] == "masked",
        "state": state,
        "substate": shown["SubState"],
        "active": state in ACTIVE,
        "failed": state == "failed",
    }
    if shown["LoadState"] == "loaded":
        values["drop_ins"] = sorted(shown["DropInPaths"].split())
        running = shown.get("MainPID", "0") != "0"
        if running:
            for column, name in (("nofile", "LimitNOFILE"), ("nofile_soft", "LimitNOFILESoft"), ("tasks", "TasksMax")):
                values[column] = INFINITE.get(shown[name], 0) or int(shown[name])
                if column != "tasks":  # the kernel does not allow more
                    values[column] = min(values[column], int(Path("/proc/sys/fs/nr_open").read_text()))
    return values


def show(units: list[str]) -> dict[str, dict[str, str]]:
    blocks = command("systemctl", "show", "-p", SHOWN, "--", *units).split("\n\n")
    shown = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return dict(zip(units, shown))


def run_as(user: str, units: list[str]) -> str:
    prefix = [] if user == "root" else ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups"]
    done = subprocess.run(
        [*prefix, sys.executable, __file__, "observe"],
        input=json.dumps(units),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ,
    )
    return done.stdout


def command(*argv: str) -> str:
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
