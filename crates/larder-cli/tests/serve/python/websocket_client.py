"""Goes through what WebSockets do, against a server that echoes: URL, and for wss a file with its certificate."""

import asyncio
import os
import ssl
import sys

import websockets
from websockets.frames import Frame, Opcode

BASE = sys.argv[1]
TLS = {}
if len(sys.argv) > 2:
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.check_hostname = False
    TLS = {"ssl": context}


def connect(path="/echo", **options):
    options = {"max_size": None, "ping_interval": None, "open_timeout": 60, "close_timeout": 60} | options
    return websockets.connect(BASE + path, **TLS, **options)


async def messages_of_all_sizes():
    async with connect() as socket:
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20, 4 << 20):
            for message in ("é" * (size // 2), os.urandom(size)):
                await socket.send(message)
                assert await socket.recv() == message, size


async def fragments():
    async with connect(compression=None) as socket:
        await socket.send(("part%d " % number for number in range(1000)))
        assert await socket.recv() == "".join("part%d " % number for number in range(1000))


async def pushed_fragments():
    async with connect("/push") as socket:
        for size in (0, 1, 70_000):
            assert await socket.recv() == "x" * (size // 10 * 10 + 10)
            assert await socket.recv() == bytes(size)


async def pings():
    async with connect() as socket:
        for data in (b"", b"p", b"q" * 125):
            await asyncio.wait_for(await socket.ping(data), 60)


async def what_was_negotiated():
    async with connect(subprotocols=["superchat", "other"]) as socket:
        assert socket.subprotocol == "superchat"
        assert [extension.name for extension in socket.extensions] == ["permessage-deflate"]
        await socket.send("a" * 100_000)
        assert await socket.recv() == "a" * 100_000


async def closes_of_both_sides():
    async with connect("/close") as socket:
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (4001, "not today")
    for code, reason in ((1000, ""), (1001, "away"), (4999, "r" * 120)):
        async with connect("/watched") as socket:
            await socket.close(code, reason)
            assert socket.close_code == code
        async with connect("/left") as socket:
            assert await socket.recv() == str(code)


async def a_reader_that_is_gone():
    socket = await connect("/watched")
    await socket.send("before")
    assert await socket.recv() == "before"
    socket.transport.abort()
    async with connect("/left") as socket:
        assert await asyncio.wait_for(socket.recv(), 60) == "1006"


async def frames_that_are_wrong():
    for frame in (
        # Not masked, of an unknown kind, and a ping that is too long.
        Frame(Opcode.TEXT, b"unmasked").serialize(mask=False),
        b"\x83\x80\x00\x00\x00\x00",
        b"\x89\xfe\x00\x80" + bytes(4 + 128),
    ):
        async with connect() as socket:
            socket.transport.write(frame)
            await asyncio.wait_for(socket.wait_closed(), 60)
            assert socket.close_code == 1002, socket.close_code


async def a_crowd():
    async def one(number):
        async with connect() as socket:
            for round in range(20):
                await socket.send("%d of %d" % (round, number))
                assert await socket.recv() == "%d of %d" % (round, number)

    await asyncio.gather(*(one(number) for number in range(50)))


async def main():
    cases = (
        messages_of_all_sizes,
        fragments,
        pushed_fragments,
        pings,
        what_was_negotiated,
        closes_of_both_sides,
        a_reader_that_is_gone,
        frames_that_are_wrong,
        a_crowd,
    )
    for case in cases:
        await case()
    print(len(cases), "cases")


asyncio.run(main())
