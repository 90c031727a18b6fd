"""WebSockets over HTTP/2 (RFC 8441): host, port, and for TLS a file with its certificate. The server echoes."""

import os
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
from websockets.frames import Close, Frame, Opcode

HOST, PORT = sys.argv[1], int(sys.argv[2])
CERTIFICATE = sys.argv[3] if len(sys.argv) > 3 else None


class Client:
    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT), timeout=60)
        if CERTIFICATE:
            context = ssl.create_default_context(cafile=CERTIFICATE)
            context.check_hostname = False
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket)
            assert self.socket.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.streams = {}
        self.settings = None
        self.flush()
        while self.settings is None:
            self.turn()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def turn(self):
        data = self.socket.recv(1 << 16)
        assert data, "the connection has ended"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.settings = event.changed_settings
            stream = self.streams.get(getattr(event, "stream_id", None))
            if stream is None:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                stream.fields = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                stream.data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = event.error_code
        self.flush()

    def open(self, path, protocol="websocket", more=()):
        stream = Stream(self, self.h2.get_next_available_stream_id())
        self.streams[stream.id] = stream
        scheme = "https" if CERTIFICATE else "http"
        fields = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", scheme), (":path", path)]
        fields += [(":authority", "larder.test"), ("sec-websocket-version", "13"), *more]
        self.h2.send_headers(stream.id, fields)
        self.flush()
        while stream.fields is None and stream.reset is None:
            self.turn()
        return stream


class Stream:
    def __init__(self, client, id):
        self.client, self.id = client, id
        self.fields, self.data, self.ended, self.reset = None, b"", False, None

    @property
    def status(self):
        return self.fields[":status"]

    def send(self, opcode, data, fin=True):
        data = Frame(opcode, data, fin).serialize(mask=True)
        while data:
            room = min(self.client.h2.local_flow_control_window(self.id), self.client.h2.max_outbound_frame_size)
            if room == 0:
                self.client.turn()
                continue
            self.client.h2.send_data(self.id, data[:room])
            self.client.flush()
            data = data[room:]

    def exactly(self, count):
        while len(self.data) < count:
            assert not self.ended and self.reset is None, (self.ended, self.reset)
            self.client.turn()
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def receive(self):
        first, second = self.exactly(2)
        length = second & 127
        if length == 126:
            length = int.from_bytes(self.exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(self.exactly(8), "big")
        return first & 15, self.exactly(length)

    def finish(self):
        self.client.h2.end_stream(self.id)
        self.client.flush()

    def until_end(self):
        while not self.ended and self.reset is None:
            self.client.turn()


client = Client()
offered = client.settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL].new_value
assert offered == 1, client.settings

one = client.open("/echo", more=[("sec-websocket-protocol", "chat")])
assert one.status == "200", one.fields
assert one.fields["sec-websocket-protocol"] == "chat"
for name in ("connection", "upgrade", "sec-websocket-accept", "transfer-encoding", "content-length"):
    assert name not in one.fields, one.fields
# Several on one connection, each by itself, and beside a request of the usual kind.
others = [client.open("/echo") for _ in range(20)]
for number, stream in enumerate(others):
    stream.send(Opcode.TEXT, b"stream %d" % number)
for number, stream in reversed(list(enumerate(others))):
    assert stream.receive() == (Opcode.TEXT, b"stream %d" % number)
# Larger than any window.
large = os.urandom(3 << 20)
one.send(Opcode.BINARY, large)
assert one.receive() == (Opcode.BINARY, large)
one.send(Opcode.TEXT, b"a ", fin=False)
one.send(Opcode.PING, b"between")
one.send(Opcode.CONT, b"whole")
assert one.receive() == (Opcode.PONG, b"between")
assert one.receive() == (Opcode.TEXT, b"a whole")
# The end, said by WebSocket and then by the stream.
one.send(Opcode.CLOSE, Close(1000, "").serialize())
assert one.receive() == (Opcode.CLOSE, Close(1000, "").serialize())
one.until_end()
assert one.ended, one.reset
one.finish()
# A stream that is given up takes no other along.
client.h2.reset_stream(others[0].id, 8)
client.flush()
others[1].send(Opcode.TEXT, b"still here")
assert others[1].receive() == (Opcode.TEXT, b"still here")
closing = client.open("/close")
assert closing.receive() == (Opcode.CLOSE, Close(4001, "not today").serialize())
# Other protocols, and a route that has none.
assert client.open("/echo", protocol="connect-udp").status == "501"
assert client.open("/none").status == "501"
print("all right")
