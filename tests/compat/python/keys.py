"""Prints a new CURVE key pair as VOLTTRON writes it: libzmq makes it, so the server is not asked about its own arithmetic."""

import base64
import json

import zmq
from zmq.utils import z85

while True:
    public, secret = (base64.urlsafe_b64encode(z85.decode(half)).decode().rstrip("=") for half in zmq.curve_keypair())
    if not public.startswith("-") and not secret.startswith("-"):
        break
print(json.dumps({"public": public, "secret": secret}))
