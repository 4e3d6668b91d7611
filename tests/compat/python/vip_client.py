"""A VIP peer on plain pyzmq that speaks as one generation of VOLTTRON's clients does, byte for byte, and shows every frame.

The shapes (ids, JSON spacing, order of the start, method signatures, packed scalars) are those captured from the real agents of 6.0, 9.0.4 and modular 11.
It shares no code with VOLTTRON or with the server. Standard input: one JSON command a line; standard output: one JSON object a line.

    vip_client.py IDENTITY ADDRESS --generation 6|9|11 [--serverkey K] [--public K --secret K] [--reconnect MILLISECONDS]

Frames are shown as text when they are printable UTF-8 and as {"hex": ...} otherwise, long ones of one repeated byte as {"fill": <byte>, "size": ...}, other
long ones as {"size": ..., "sha256": ...}. In commands a frame is a text, {"hex": ...}, {"fill": ...} or {"json": ...} (as this generation writes it).
"""

import argparse
import base64
import datetime
import hashlib
import json
import random
import struct
import sys
import threading
import time

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

SHOWN_MAX = 20000
FILLED_MIN = 64
CROWD_PATIENCE_MS = 20000
UNANSWERED_MAX = 200
LOCK = threading.Lock()


def tell(**what):
    what["t"] = round(time.time(), 3)
    with LOCK:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def key(text):
    """43 characters of URL-safe base64 to what libzmq takes."""
    return z85.encode(base64.urlsafe_b64decode(text + "="))


def text_of_key(encoded):
    return base64.urlsafe_b64encode(z85.decode(encoded)).decode().rstrip("=")


def shown(frame):
    if len(frame) > FILLED_MIN and frame.count(frame[:1]) == len(frame):
        return {"fill": frame[0], "size": len(frame)}
    if len(frame) > SHOWN_MAX:
        return {"size": len(frame), "sha256": hashlib.sha256(frame).hexdigest()}
    try:
        text = frame.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": frame.hex()}
    return text if all(letter.isprintable() or letter == "\n" for letter in text) else {"hex": frame.hex()}


class Generation:
    """How one generation writes ids, JSON and scalars, and which services it talks to."""

    def __init__(self, number):
        self.number = number
        self.count = random.getrandbits(64) if number == 6 else int(time.time())
        self.store = "platform.config_store" if number == 11 else "config.store"
        self.control = "platform.control" if number == 11 else "control"

    def json(self, value):
        if self.number == 6:
            return json.dumps(value, separators=(",", ":")).encode()
        return json.dumps(value).encode()

    def _hash(self):
        return 8737445325000 + random.randrange(1000)

    def ident(self):
        """An id of anything but RPC."""
        self.count += 1
        if self.number == 6:
            return "{}.{}".format(self.count % 2**64, self._hash())
        return "{:f}.{:f}".format(self.count, self._hash())

    def call_ids(self):
        """The ids of an RPC message: in the envelope, and in the JSON."""
        self.count += 1
        number = self._hash()
        if self.number == 6:
            return "{}.{}".format(self.count % 2**64, number), "{}.{}".format((self.count + 7) % 2**64, number)
        return "{}.{}".format(self.count, number), "{:f}.{:f}".format(self.count, number)

    def repacked(self, frame):
        """What the generation's own deserialising and serialising makes of a frame that it sends back (the id of an answer)."""
        if self.number == 6:
            return frame
        try:
            value = json.loads(frame.decode("latin-1"))
        except ValueError:
            return frame
        if isinstance(value, bool):
            return struct.pack("?", value)
        if isinstance(value, int):
            return struct.pack("I", value)
        if isinstance(value, float):
            return struct.pack("f" if self.number == 9 else "d", value)
        return frame


class Client:
    def __init__(self, options):
        self.options = options
        self.generation = Generation(options.generation)
        self.exports = {"config.initial_update": None, "config.update": None, "auth.update": None}
        self.subscriptions = {}
        self.hellos = 0
        self.reading = True
        self.context = zmq.Context()
        self.inbox = self.context.socket(zmq.PULL)
        self.inbox.bind("inproc://commands")
        self.public, self.secret = options.public, options.secret
        if options.serverkey and not self.secret:
            self.public, self.secret = (text_of_key(half) for half in zmq.curve_keypair())
        tell(event="running", generation=options.generation, public=self.public, libzmq=zmq.zmq_version())
        self.open()

    def dealer(self, identity):
        socket = self.context.socket(zmq.DEALER)
        socket.identity = identity.encode()
        socket.set_hwm(6000)
        socket.linger = 1000
        socket.immediate = 1
        socket.reconnect_ivl = self.options.reconnect
        if self.options.serverkey:
            socket.curve_serverkey = key(self.options.serverkey)
            socket.curve_publickey, socket.curve_secretkey = key(self.public), key(self.secret)
        return socket

    def connect(self, identity):
        socket = self.dealer(identity)
        socket.connect(self.options.address)
        return socket

    def open(self):
        self.socket = self.dealer(self.options.identity)
        self.monitor = self.socket.get_monitor_socket()
        self.socket.connect(self.options.address)

    def close(self):
        self.socket.disable_monitor()
        self.socket.close(linger=0)

    def send(self, frames):
        encoded = [self.encode(frame) for frame in frames]
        self.socket.send_multipart(encoded)
        tell(event="sent", frames=[shown(frame) for frame in encoded])

    def encode(self, frame):
        if isinstance(frame, bytes):
            return frame
        if isinstance(frame, str):
            return frame.encode("utf-8" if self.generation.number == 6 else "latin-1")
        if "hex" in frame:
            return bytes.fromhex(frame["hex"])
        if "json" in frame:
            return self.generation.json(frame["json"])
        return bytes([frame["fill"]]) * frame["size"]

    def router(self, subsystem, *args, ident=None, user=None):
        if user is None:
            user = self.options.identity if self.generation.number == 11 and subsystem == "pubsub" else ""
        self.send(["", "VIP1", user, self.generation.ident() if ident is None else ident, subsystem, *args])

    def hello(self):
        self.router("hello", "hello", ident="connect.hello.{}".format(self.hellos))
        self.hellos += 1

    def synchronize(self):
        subscriptions = {"subscriptions": {scope: {"": prefixes} for scope, prefixes in self.subscriptions.items()}}
        ident = self.generation.ident()
        for _ in range(2 if self.generation.number == 9 else 1):
            self.router("pubsub", "synchronize", "connected", {"json": subscriptions}, ident=ident)

    def call(self, peer, method, args=(), kwargs=None, notify=False):
        request = {"jsonrpc": "2.0", "method": method}
        if args and kwargs:
            request["params"] = {"*args": list(args), "**kwargs": kwargs}
        elif args or kwargs:
            request["params"] = list(args) or kwargs
        envelope, request_id = ("", None) if notify else self.generation.call_ids()
        if request_id:
            request["id"] = request_id
        self.send([peer, "VIP1", "", envelope, "RPC", {"json": request}])
        return request_id

    def start(self):
        """What an agent of this generation does when it starts, in its order; the answer to the configuration call is shown like every frame."""
        self.hello()
        if self.generation.number == 11:
            self.hello()
        self.synchronize()
        if self.generation.number == 11:
            self.call("platform.auth", "get_protected_rpcs", [self.options.identity])
            self.router("peerlist", "list")
        if self.generation.number == 6:
            return self.call(self.generation.store, "get_configs")
        return self.call(self.generation.store, "initialize_configs", [self.options.identity])

    def publish(self, topic, headers, message):
        body = {"bus": "", "headers": dict(headers, min_compatible_version="3.0", max_compatible_version=""), "message": message}
        self.router("pubsub", "publish", topic, {"json": body})

    def set_config(self, name, contents):
        if self.generation.number == 6:
            return self.call(self.generation.store, "set_config", [name, contents], {"trigger_callback": True, "send_update": True})
        args = [self.options.identity, name, json.dumps(contents), "json"]
        return self.call(self.generation.store, "set_config", args, {"trigger_callback": True, "send_update": True})

    def gather(self, size, prefix):
        """Many more peers with the same key, each subscribed; gives how many were told so."""
        self.crowd = [self.connect("{}.{}".format(self.options.identity, number)) for number in range(size)]
        body = self.generation.json({"prefix": prefix, "bus": "", "all_platforms": False})
        for socket in self.crowd:
            socket.send_multipart([b"", b"VIP1", b"", b"crowd", b"pubsub", b"subscribe", body])
        return self.crowd_receives(lambda frames: frames[5:] == [b"request_response", b"true"])

    def crowd_received(self, topic):
        return self.crowd_receives(lambda frames: frames[5:7] == [b"publish", topic.encode()])

    def crowd_receives(self, fits):
        """How many of the crowd get a message that fits."""
        count = 0
        for socket in self.crowd:
            while socket.poll(CROWD_PATIENCE_MS):
                if fits(socket.recv_multipart()):
                    count += 1
                    break
        return count

    def flood(self, frames, times):
        """Sends as fast as it can, reading meanwhile, until an error comes; gives how many it sent."""
        for count in range(times):
            while not self.socket.poll(0, zmq.POLLOUT) & zmq.POLLOUT or self.socket.poll(0, zmq.POLLIN):
                if self.socket.poll(100, zmq.POLLIN):
                    received = self.socket.recv_multipart()
                    self.received(received)
                    if received[4] == b"error":
                        return count
            self.socket.send_multipart(frames)
        return times

    def day(self, devices, points, minutes, begin):
        """Publishes a reading a minute of every point, as a driver does; never more at once than the router answers. Gives how many messages it sent."""
        waiting = sent = 0
        for minute in range(minutes):
            date = (begin + datetime.timedelta(minutes=minute)).isoformat()
            for device in range(devices):
                values = {"p{}".format(point): minute * 1000 + point for point in range(points)}
                meta = {name: {"units": "C", "tz": "UTC", "type": "float"} for name in values}
                body = {"bus": "", "headers": {"Date": date, "TimeStamp": date}, "message": [values, meta]}
                topic = "devices/day/unit{}/all".format(device).encode()
                ident = self.generation.ident().encode()
                self.socket.send_multipart([b"", b"VIP1", b"", ident, b"pubsub", b"publish", topic, self.generation.json(body)])
                sent, waiting = sent + 1, waiting + 1
                while waiting >= UNANSWERED_MAX:
                    frames = self.socket.recv_multipart()
                    waiting -= len(frames) > 5 and frames[5] == b"request_response"
        while waiting:
            frames = self.socket.recv_multipart()
            waiting -= len(frames) > 5 and frames[5] == b"request_response"
        return sent

    def do(self, command):
        what = command["do"]
        if what == "send":
            self.send(command["frames"])
        elif what == "flood":
            return self.flood([self.encode(frame) for frame in command["frames"]], command["times"])
        elif what == "day":
            begin = datetime.datetime.fromisoformat(command["begin"])
            return self.day(command["devices"], command["points"], command["minutes"], begin)
        elif what == "hello":
            self.hello()
        elif what == "start":
            return self.start()
        elif what == "synchronize":
            self.subscriptions = command["subscriptions"]
            self.synchronize()
        elif what == "subscribe":
            scope = "all" if command.get("all_platforms") else "internal"
            self.subscriptions.setdefault(scope, []).append(command["prefix"])
            body = {"prefix": command["prefix"], "bus": command.get("bus", ""), "all_platforms": bool(command.get("all_platforms"))}
            self.router("pubsub", "subscribe", {"json": body})
        elif what == "publish":
            self.publish(command["topic"], command.get("headers", {}), command.get("message"))
        elif what == "call":
            return self.call(command["peer"], command["method"], command.get("args", []), command.get("kwargs"))
        elif what == "notify":
            self.call(command["peer"], command["method"], command.get("args", []), command.get("kwargs"), notify=True)
        elif what == "router":
            self.router(command["subsystem"], *command.get("args", []), ident=command.get("id"))
        elif what == "set_config":
            return self.set_config(command["name"], command["contents"])
        elif what == "export":
            self.exports[command["method"]] = command.get("result")
        elif what == "crowd":
            return self.gather(command["size"], command["prefix"])
        elif what == "crowd_received":
            return self.crowd_received(command["topic"])
        elif what == "reading":
            self.reading = command["on"]
        elif what == "reopen":
            self.close()
            self.open()
        elif what == "agentstop":
            self.send(["", "VIP1", "", "", "agentstop", self.options.identity])
        else:
            raise ValueError("no such command: " + what)
        return None

    def received(self, frames):
        tell(event="frames", frames=[shown(frame) for frame in frames])
        if len(frames) > 5 and frames[4] == b"RPC":
            self.answer(frames)

    def answer(self, frames):
        """Answers requests as an agent of this generation does: every document of the message in one message back."""
        answers = []
        for document in frames[5:]:
            try:
                request = json.loads(document)
            except ValueError:
                continue
            if not isinstance(request, dict) or request.get("method") is None or request.get("id") is None:
                continue
            answer = {"jsonrpc": "2.0", "id": request["id"]}
            if request["method"] in self.exports:
                answer["result"] = self.exports[request["method"]]
            else:
                detail = "method '{}' is not implemented".format(request["method"])
                answer["error"] = {"code": -32601, "message": "unimplemented method", "data": {"detail": detail}}
            answers.append(self.generation.json(answer))
        if answers:
            self.send([frames[0], "VIP1", "", self.generation.repacked(frames[3]), "RPC", *answers])

    def run(self):
        names = {getattr(zmq, name): name[6:] for name in dir(zmq) if name.startswith("EVENT_") and name != "EVENT_ALL"}
        while True:
            poller = zmq.Poller()
            for socket in (self.inbox, self.monitor) + ((self.socket,) if self.reading else ()):
                poller.register(socket, zmq.POLLIN)
            ready = dict(poller.poll())
            if self.monitor in ready:
                happened = recv_monitor_message(self.monitor)
                tell(event="socket", name=names.get(happened["event"], str(happened["event"])))
            if self.socket in ready:
                self.received(self.socket.recv_multipart())
            if self.inbox in ready:
                number, line = self.inbox.recv_multipart()
                if not line:
                    break
                try:
                    tell(answer=int(number), result=self.do(json.loads(line)))
                except Exception as error:
                    tell(answer=int(number), error={"type": type(error).__name__, "text": str(error)})
        self.socket.close()
        tell(event="ended")


def feed(context):
    outbox = context.socket(zmq.PUSH)
    outbox.connect("inproc://commands")
    for number, line in enumerate(sys.stdin):
        outbox.send_multipart([str(number).encode(), line.encode()])
    outbox.send_multipart([b"", b""])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("identity")
    parser.add_argument("address")
    parser.add_argument("--generation", type=int, choices=(6, 9, 11), required=True)
    parser.add_argument("--serverkey")
    parser.add_argument("--public")
    parser.add_argument("--secret")
    parser.add_argument("--reconnect", type=int, default=100)
    client = Client(parser.parse_args())
    threading.Thread(target=feed, args=(client.context,), daemon=True).start()
    client.run()


if __name__ == "__main__":
    main()
