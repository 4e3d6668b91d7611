"""An unmodified client of modular VOLTTRON that is measured: `client.py ROLE ADDRESS PUBLIC SECRET COUNT`.

`answer` subscribes to `bench` and answers calls; it says when it is ready, and when it has heard COUNT messages. `publish` publishes COUNT messages of ten
points as a driver does; `call` calls the answering one COUNT times, one after the other, and then the platform. Standard output: one JSON object a line.
"""

import json
import os
import resource
import sys
import time

import volttron.client  # noqa: F401  (patches what gevent has to patch, and must be first)
import gevent
import volttron.client.vip.agent as api
from volttron.types.agent_context import AgentOptions
from volttron.types.auth import PKICredentials

ROLE, ADDRESS, PUBLIC, SECRET, COUNT = sys.argv[1:]
COUNT = int(COUNT)
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Whatever the libraries print goes to standard error.
POINTS = {"Point%d" % number: 50.0 for number in range(10)}
UNITS = {name: {"units": "F", "type": "float", "tz": "US/Pacific"} for name in POINTS}


def tell(**what):
    OUT.write(json.dumps(what) + "\n")
    OUT.flush()


def processor():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class BenchAgent(api.Agent):
    heard_count = 0

    @api.Core.receiver("onstart")
    def begin(self, sender, **kwargs):
        gevent.spawn({"answer": self.answer, "publish": self.publish, "call": self.call}[ROLE])

    @api.RPC.export
    def echo(self, value):
        """Gives back what it was called with."""
        return value

    def answer(self):
        self.vip.pubsub.subscribe("pubsub", "bench", self.heard).get(timeout=10)
        tell(ready=True)

    def heard(self, peer, sender, bus, topic, headers, message):
        self.heard_count += 1
        if self.heard_count == COUNT:
            tell(heard=COUNT)

    def measured(self, work):
        start, used = time.time(), processor()
        extra = work()
        seconds = time.time() - start
        tell(seconds=seconds, processor=(processor() - used) / seconds * 100, **extra)

    def publish(self):
        def work():
            waiting = []
            for number in range(COUNT):
                waiting.append(self.vip.pubsub.publish("pubsub", "bench/unit/all", {"Date": "2018-12-19T20:38:00+00:00"}, [POINTS, UNITS]))
                if len(waiting) == 100:
                    gevent.joinall(waiting, timeout=30)
                    waiting = []
            gevent.joinall(waiting, timeout=30)
            return {}

        self.measured(work)

    def call(self):
        for peer, method, arguments in (("bench.answer", "echo", [5]), ("platform.control", "peerlist", [])):

            def work():
                times = []
                for number in range(COUNT):
                    start = time.time()
                    self.vip.rpc.call(peer, method, *arguments).get(timeout=30)
                    times.append((time.time() - start) * 1e6)
                times.sort()
                return {"median_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}

            self.measured(work)


identity = "bench." + ROLE
agent = BenchAgent(
    credentials=PKICredentials(identity=identity, publickey=PUBLIC, secretkey=SECRET),
    options=AgentOptions(heartbeat_autostart=False, enable_store=False),
    address=ADDRESS,
)
gevent.spawn(agent.core.run).join()
