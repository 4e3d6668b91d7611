"""Prints the measured rows as a table and writes them, with what the machine is, to FOLDER/TIME.json and FOLDER/latest.json."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def target(row):
    if not row.get("target"):
        return ""
    at_least = row["unit"].endswith("/s")
    return f"{'≥' if at_least else '≤'} {number(row['target'])}"


def verdict(row):
    if not row.get("target"):
        return ""
    at_least = row["unit"].endswith("/s")
    met = row["value"] >= row["target"] if at_least else row["value"] <= row["target"]
    return "met" if met else "MISSED"


def main():
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    table = [["Measured", "Value", "Unit", "Target", "", "Limited by"]]
    table += [[row["row"], number(row["value"]), row["unit"], target(row), verdict(row), row["limited_by"]] for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(5)]
    for line in table:
        cells = [cell.rjust(width) if column in (1, 3) else cell.ljust(width) for column, (cell, width) in enumerate(zip(line, widths))]
        print("  ".join([*cells, line[5]]))
    folder = Path(sys.argv[2])
    result = {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": first_line("git", "rev-parse", "HEAD"),
        "rustc": first_line("rustc", "--version"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average_15_min": os.getloadavg()[2],
        "rows": rows,
    }
    name = folder / (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + ".json")
    for path in (name, folder / "latest.json"):
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {name}")


main()
