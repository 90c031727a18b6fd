"""A WebSocket server that prints its port.

It echoes, closes with a code, pushes fragments, tells how a reader left, or which way a request came. And it has a page
whose loading does not end before its script has used a WebSocket.
"""

import asyncio
import http
import sys

import websockets

LEFT = asyncio.Queue()
SHOWN = asyncio.Event()
PAGE = b"""<!doctype html><p id=said></p><img src=/wait><script>
const said = document.querySelector('#said');
const socket = new WebSocket(location.origin.replace('http', 'ws') + '/way', 'chat');
socket.onmessage = ({ data }) => {
  said.textContent = `${data}, ${socket.protocol}`;
  socket.send('shown');
};
socket.onerror = () => { said.textContent = 'an error'; };
</script>"""


async def answer(path, _fields):
    if path == "/":
        return http.HTTPStatus.OK, [("content-type", "text/html")], PAGE
    if path == "/wait":
        await asyncio.wait_for(SHOWN.wait(), 100)
        return http.HTTPStatus.NOT_FOUND, [], b""


async def serve(socket, path):
    if path == "/close":
        await socket.close(4001, "not today")
    elif path == "/push":
        for size in (0, 1, 70_000):
            await socket.send(("x" * 10 for _ in range(size // 10 + 1)))
            await socket.send(bytes(size))
        await socket.wait_closed()
    elif path == "/way":
        await socket.send("came by " + socket.request_headers["via"])
        assert await socket.recv() == "shown"
        SHOWN.set()
        await socket.wait_closed()
    elif path == "/left":
        await socket.send(str(await LEFT.get()))
    else:
        try:
            async for message in socket:
                await socket.send(message)
        except websockets.ConnectionClosed:
            pass
        if path == "/watched":
            await LEFT.put(socket.close_code)


async def main():
    server = await websockets.serve(
        serve,
        "127.0.0.1",
        0,
        process_request=answer,
        max_size=None,
        subprotocols=["chat", "superchat"],
        ping_interval=None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


sys.exit(asyncio.run(main()))
