"""Makes wheels of all installed packages, in a folder: `wheels.py FOLDER`, by the interpreter that has them. Nothing is asked of the network."""

import base64
import hashlib
import importlib.metadata
import os
import sys
import zipfile


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


os.makedirs(sys.argv[1], exist_ok=True)
for each in importlib.metadata.distributions():
    pack(each, sys.argv[1])
