"""Makes wheels of installed packages and of all that they need, in a folder: `wheels.py FOLDER PACKAGE...`. Nothing is asked of the network.

Run by the interpreter that has them.
"""

import base64
import hashlib
import importlib.metadata
import os
import re
import sys
import zipfile

from packaging.requirements import Requirement


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


def needs(package):
    for text in package.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield normal(requirement.name)


def pack(package, folder):
    """A wheel with the tags under which the package was installed."""
    tags = [line.split(":", 1)[1].strip().split("-") for line in package.read_text("WHEEL").splitlines() if line.startswith("Tag:")]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags))
    information = package._path.name
    path = os.path.join(folder, "%s-%s.whl" % (information[: -len(".dist-info")], tag))
    rows = []
    with zipfile.ZipFile(path, "w") as wheel:
        for file in package.files:
            name, place = str(file), package.locate_file(file)
            if name.startswith("..") or name.endswith((".pyc", "/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json")):
                continue
            content = open(place, "rb").read()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append("%s,sha256=%s,%d" % (name, digest, len(content)))
            wheel.write(place, name)
        record = information + "/RECORD"
        wheel.writestr(record, "\n".join(rows + [record + ",,"]) + "\n")


def main(folder, wanted):
    os.makedirs(folder, exist_ok=True)
    installed = {normal(package.metadata["Name"]): package for package in importlib.metadata.distributions()}
    waiting, seen = [normal(name) for name in wanted], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in installed:
            continue
        seen.add(name)
        pack(installed[name], folder)
        waiting.extend(needs(installed[name]))


main(sys.argv[1], sys.argv[2:])
