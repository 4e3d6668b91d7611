"""A Modbus TCP device made of pymodbus's simulator, for tests that need an implementation other than ours.

Usage: python simulator.py [PORT]     (0 or nothing: a free port)

First line on stdout: JSON {"port": n, "registers": [{"name", "table", "format", "address", "count", "mixed", "value"}, ...],
"coils": [...], "discrete": [...]}. Every register was packed by Python's own struct module.

Unit 1 answers. Input registers 5000 + c answer exception c; holding registers 5000 + c refuse a write with exception c and can be read.

Commands, one a line on stdin; each answers one JSON line on stdout:
  slow SECONDS        every answer from now on comes that much later
  fail CODE           every answer from now on is exception CODE (any of EXCEPTIONS); 0: no longer
  set NAME VALUE      another value (JSON) for a register of either table, as if the device had measured it
  read                all holding registers and coils, unpacked: {"registers": {name: value}, "coils": [...]}
The process ends when stdin ends.
"""

import asyncio
import json
import logging
import struct
import sys

try:
    from pymodbus.constants import ExcCodes
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice
except ImportError as error:
    sys.exit(f"pymodbus is not installed for {sys.executable}: pip install -r tests/compat/requirements.txt ({error})")

SAMPLES = {
    "h": -12345, "H": 54321, "i": -123456789, "I": 3123456789, "l": -1234567, "L": 3234567, "q": -1234567890123456, "Q": 2**64 - 3,
    "f": 1234.5, "d": -98765.4321,
}
PREFIXES = ["", "@", "=", "<", ">", "!"]
COILS = [True, False, True, True, False, False, True, False, True, True, False, True]
EXCEPTIONS = {1: ExcCodes.ILLEGAL_FUNCTION, 2: ExcCodes.ILLEGAL_ADDRESS, 3: ExcCodes.ILLEGAL_VALUE, 4: ExcCodes.DEVICE_FAILURE,
              6: ExcCodes.DEVICE_BUSY, 11: ExcCodes.GATEWAY_NO_RESPONSE}
DELAY_S = 0.0
FAILURE = 0


def layout(table):
    """Every format once, one behind the other from address 0."""
    entries, address = [], 0

    def add(form, value, mixed):
        nonlocal address
        count = struct.calcsize(form) // 2
        name = f"{table}_{len(entries)}"
        entries.append({"name": name, "table": table, "format": form, "address": address, "count": count, "mixed": mixed, "value": value})
        address += count

    for prefix in PREFIXES:
        for code, value in SAMPLES.items():
            add(prefix + code, value, False)
            if struct.calcsize(prefix + code) > 2:
                add(prefix + code, value, True)
    add(">xB", 200, False)
    add("<Bx", 201, False)
    add(">xb", -5, False)
    add(">x?", True, False)
    add(">12s", "Chiller 2", False)
    add("8s", "ABCDEFGH", True)
    return entries


def pack(entry, value):
    raw = struct.pack(entry["format"], value.encode() if isinstance(value, str) else value)
    words = list(struct.unpack(f">{len(raw) // 2}H", raw))
    return words[::-1] if entry["mixed"] else words


def unpack(entry, words):
    words = words[::-1] if entry["mixed"] else words
    value, = struct.unpack(entry["format"], struct.pack(f">{len(words)}H", *words))
    return value.rstrip(b"\0").decode() if isinstance(value, bytes) else value


async def action(function, _start, address, _count, _registers, values):
    if DELAY_S:
        await asyncio.sleep(DELAY_S)
    if FAILURE:
        return EXCEPTIONS[FAILURE]
    if 5000 <= address < 5100 and (function == 4 or values is not None):
        return EXCEPTIONS[address - 5000]
    return None


def blocks(entries):
    data = [SimData(e["address"], values=pack(e, e["value"]), datatype=DataType.REGISTERS) for e in entries]
    return data + [SimData(5000 + code, values=[code], datatype=DataType.REGISTERS) for code in EXCEPTIONS]


async def answer(server, entries, line):
    global DELAY_S, FAILURE
    command, *arguments = line.split(maxsplit=2)
    if command == "slow":
        DELAY_S = float(arguments[0])
        return {"slow": DELAY_S}
    if command == "fail":
        FAILURE = int(arguments[0])
        return {"fail": FAILURE}
    # The simulator's own reads and writes pass through `action` as well.
    trouble = DELAY_S, FAILURE
    DELAY_S, FAILURE = 0.0, 0
    try:
        return await quietly(server, entries, command, arguments)
    finally:
        DELAY_S, FAILURE = trouble


async def quietly(server, entries, command, arguments):
    if command == "set":
        entry = next(entry for entry in entries if entry["name"] == arguments[0])
        words = pack(entry, json.loads(arguments[1]))
        await server.async_setValues(1, 4 if entry["table"] == "input" else 16, entry["address"], words)
        return {"set": arguments[0]}
    if command == "read":
        found = {}
        for entry in entries:
            if entry["table"] == "holding":
                found[entry["name"]] = unpack(entry, await server.async_getValues(1, 3, entry["address"], entry["count"]))
        coils = await server.async_getValues(1, 1, 0, len(COILS))
        return {"registers": found, "coils": coils[:len(COILS)]}
    return {"error": f"unknown command {command}"}


async def main():
    # Clients that give up are what these tests are about, not news.
    logging.disable(logging.ERROR)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    inputs, holding = layout("input"), layout("holding")
    device = SimDevice(1, simdata=(
        [SimData(0, values=COILS, datatype=DataType.BITS)],
        [SimData(0, values=COILS[::-1], datatype=DataType.BITS)],
        blocks(holding),
        blocks(inputs),
    ), action=action)
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "registers": inputs + holding, "coils": COILS, "discrete": COILS[::-1]}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await answer(server, inputs + holding, line)), flush=True)
    await server.shutdown()


asyncio.run(main())
