"""A real VOLTTRON agent that does what it is told and tells what it sees.

It uses only the public API of the installed VOLTTRON (modular 11: `volttron.client` with credentials; 10: the same package with keys; monolithic 9 and 6:
`volttron.platform.vip.agent`), so that what works here works for an unmodified agent. Standard input: one JSON command a line; standard output: one JSON
object a line, `{"answer": <n>, "result": ...}`, `{"answer": <n>, "error": {...}}` or `{"event": ...}`. It ends when its input ends.

    agent.py IDENTITY [--address A] [--public K --secret K --serverkey K] [--heartbeat SECONDS] [--subscribe PREFIX]... [--subscribe-all PREFIX]...
             [--no-store] [--no-auth]

Without keys, modular 11 takes $VOLTTRON_HOME/credentials_store/IDENTITY.json and the others their own key store.
"""

from __future__ import print_function

import argparse
import json
import os
import sys
import threading
import time

OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Whatever the libraries print goes to standard error.
LOCK = threading.Lock()


def tell(**what):
    what["t"] = round(time.time(), 3)
    with LOCK:
        OUT.write(json.dumps(what, default=repr, sort_keys=True) + "\n")
        OUT.flush()


parser = argparse.ArgumentParser()
parser.add_argument("identity")
parser.add_argument("--address")
parser.add_argument("--public")
parser.add_argument("--secret")
parser.add_argument("--serverkey")
parser.add_argument("--heartbeat", type=float)
parser.add_argument("--subscribe", action="append", default=[])
parser.add_argument("--subscribe-all", action="append", default=[])
parser.add_argument("--no-store", action="store_true")
parser.add_argument("--no-auth", action="store_true")
OPTIONS = parser.parse_args()

try:
    import volttron.client  # noqa: F401  (patches what gevent has to patch, and must be first)
    import volttron.client.vip.agent as api
    from volttron.client.messaging.health import Status
    from volttron.client.vip.agent.subsystems.query import Query

    try:
        from volttron.types.auth import PKICredentials
        from volttron.types.auth.auth_credentials import Credentials

        GENERATION = 11
    except ImportError:
        GENERATION = 10
except ImportError:
    import volttron.platform.vip.agent as api
    from volttron.platform.messaging.health import Status
    from volttron.platform.vip.agent.subsystems.query import Query

    GENERATION = 9 if sys.version_info[0] == 3 else 6

import gevent  # noqa: E402
from gevent.fileobject import FileObjectThread  # noqa: E402

RECEIVERS = []
# In modular 11 the platform, not the agent's code, says which methods need a capability.
needs = api.RPC.allow if GENERATION < 11 else (lambda capability: lambda method: method)


class CompatAgent(api.Agent):
    """Announces every step of its life; its exported methods announce that they were called."""

    def __init__(self, **kwargs):
        super(CompatAgent, self).__init__(**kwargs)
        self.core.onsetup.connect(self.told("setup"), self)
        self.core.onconnected.connect(self.told("connected"), self)
        self.core.ondisconnected.connect(self.told("disconnected"), self)
        self.core.onstart.connect(self.started, self)
        if hasattr(self.vip, "config"):
            self.vip.config.subscribe(self.configured, actions=["NEW", "UPDATE", "DELETE"], pattern="*")
        self.query = Query(self.core)

    def told(self, event):
        def tell_it(sender, **kwargs):
            tell(event=event, **{key: kwargs[key] for key in kwargs if isinstance(kwargs[key], (str, int, float, type(u"")))})

        RECEIVERS.append(tell_it)  # Signals keep weak references only.
        return tell_it

    def started(self, sender, **kwargs):
        for prefix in OPTIONS.subscribe:
            self.vip.pubsub.subscribe("pubsub", prefix, self.heard).get(timeout=10)
        for prefix in OPTIONS.subscribe_all:
            self.vip.pubsub.subscribe("pubsub", prefix, self.heard, all_platforms=True).get(timeout=10)
        tell(event="started", generation=GENERATION)

    def heard(self, peer, sender, bus, topic, headers, message):
        tell(event="message", peer=peer, sender=sender, bus=bus, topic=topic, headers=dict(headers), message=message)

    def configured(self, name, action, contents):
        tell(event="config", name=name, action=action, contents=contents)

    @api.RPC.export
    def echo(self, *args, **kwargs):
        """Gives back what it was called with."""
        tell(event="called", method="echo", args=args, kwargs=kwargs, user=self.caller_user())
        return {"args": args, "kwargs": kwargs}

    @api.RPC.export
    def fail(self, text):
        """Raises."""
        raise ValueError(text)

    @api.RPC.export
    @needs("compat_capability")
    def guarded(self, value):
        """Asks for a capability."""
        return value

    def caller_user(self):
        user = self.vip.rpc.context.vip_message.user
        return user if isinstance(user, type(u"")) else bytes(user).decode("latin-1")


def build():
    if GENERATION == 11:
        from volttron.types.agent_context import AgentOptions

        if OPTIONS.no_auth:
            credentials = Credentials(identity=OPTIONS.identity)
        elif OPTIONS.public:
            credentials = PKICredentials(identity=OPTIONS.identity, publickey=OPTIONS.public, secretkey=OPTIONS.secret)
        else:
            path = os.path.join(os.environ["VOLTTRON_HOME"], "credentials_store", OPTIONS.identity + ".json")
            stored = json.load(open(path))
            credentials = PKICredentials(identity=stored["identity"], publickey=stored["publickey"], secretkey=stored["secretkey"])
        options = AgentOptions(
            heartbeat_autostart=OPTIONS.heartbeat is not None, heartbeat_period=OPTIONS.heartbeat or 60, enable_store=not OPTIONS.no_store
        )
        from volttron.utils import ClientContext

        return CompatAgent(credentials=credentials, options=options, address=OPTIONS.address or ClientContext.get_address())
    kwargs = dict(
        identity=OPTIONS.identity,
        publickey=OPTIONS.public,
        secretkey=OPTIONS.secret,
        serverkey=OPTIONS.serverkey,
        enable_store=not OPTIONS.no_store,
        enable_channel=True,
        heartbeat_autostart=OPTIONS.heartbeat is not None,
        heartbeat_period=OPTIONS.heartbeat or 60,
    )
    if OPTIONS.address:
        kwargs["address"] = OPTIONS.address
    return CompatAgent(**kwargs)


def native(value):
    """What Python 2's VOLTTRON expects: text as bytes."""
    if sys.version_info[0] == 3:
        return value
    if isinstance(value, dict):
        return {native(key): native(value[key]) for key in value}
    if isinstance(value, list):
        return [native(item) for item in value]
    return value.encode("utf-8") if isinstance(value, type(u"")) else value


def do(agent, command):
    what = command["do"]
    wait = command.get("timeout", 10)
    if what == "call":
        return agent.vip.rpc.call(command["peer"], command["method"], *command.get("args", []), **command.get("kwargs", {})).get(timeout=wait)
    if what == "notify":
        return agent.vip.rpc.notify(command["peer"], command["method"], *command.get("args", []), **command.get("kwargs", {}))
    if what == "publish":
        result = agent.vip.pubsub.publish("pubsub", command["topic"], command.get("headers"), command.get("message"))
        return result.get(timeout=wait)
    if what == "subscribe":
        kwargs = {"all_platforms": True} if command.get("all_platforms") else {}
        result = agent.vip.pubsub.subscribe("pubsub", command["prefix"], agent.heard, **kwargs).get(timeout=wait)
        return result.get(timeout=wait) if hasattr(result, "get") else result
    if what == "unsubscribe":
        result = agent.vip.pubsub.unsubscribe("pubsub", command["prefix"], agent.heard)
        return result.get(timeout=wait) if hasattr(result, "get") else result
    if what == "topics":
        return agent.vip.pubsub.list("pubsub", command.get("prefix", "")).get(timeout=wait)
    if what == "peerlist":
        return agent.vip.peerlist().get(timeout=wait)
    if what == "ping":
        return agent.vip.ping(command["peer"]).get(timeout=wait)
    if what == "hello":
        return agent.vip.hello(command.get("peer", "")).get(timeout=wait)
    if what == "query":
        return agent.query.query(command["key"]).get(timeout=wait)
    if what == "config_get":
        return agent.vip.config.get(command["name"])
    if what == "config_list":
        return agent.vip.config.list()
    if what == "config_set":
        return agent.vip.config.set(command["name"], command["contents"], trigger_callback=command.get("trigger", False))
    if what == "config_delete":
        return agent.vip.config.delete(command["name"], trigger_callback=command.get("trigger", False))
    if what == "health":
        return agent.vip.health.set_status(command["status"], command.get("context"))
    if what == "alert":
        return agent.vip.health.send_alert(command["key"], Status.build(command["status"], context=command.get("context")))
    if what == "heartbeat":
        return agent.vip.heartbeat.start_with_period(command["period"])
    if what == "stop":
        return agent.core.stop()
    raise ValueError("no such command: " + what)


def serve(agent):
    """Runs every command of the input in a greenlet of its own, so that one that waits hinders no other."""

    def one(number, line):
        try:
            result = do(agent, native(json.loads(line)))
        except BaseException as error:  # noqa: B902  (a gevent.Timeout is no Exception)
            told = {"type": type(error).__name__, "text": str(error)}
            for key in ("errno", "code", "exc_info", "peer", "subsystem"):
                if getattr(error, key, None) is not None:
                    told[key] = getattr(error, key)
            tell(answer=number, error=told)
        else:
            tell(answer=number, result=result)

    for number, line in enumerate(FileObjectThread(sys.stdin)):
        gevent.spawn(one, number, line)
    agent.core.stop()


def main():
    agent = build()
    gevent.spawn(serve, agent)
    running = gevent.spawn(agent.core.run)
    tell(event="running", generation=GENERATION)
    running.join()
    tell(event="ended")
    OUT.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
