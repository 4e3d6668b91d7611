"""Runs the installed `vctl` as its console script does. VOLTTRON's refuses root, which the tests of a container are: only that question is answered otherwise."""

import os
import sys

if os.getuid() == 0:
    os.getuid = lambda: 65534
sys.argv[0] = "vctl"

import volttron.client  # noqa: E402,F401  (patches what gevent has to patch, and must be first)
from volttron.client.commands.control import main  # noqa: E402

sys.exit(main())
