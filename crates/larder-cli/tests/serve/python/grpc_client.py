"""Makes calls of all kinds: address, seconds that a call pauses, and for TLS a file with the certificate."""

import os
import sys
import threading
import time
from concurrent import futures

import grpc

ADDRESS, PAUSE = sys.argv[1], float(sys.argv[2])
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
if len(sys.argv) > 3:
    credentials = grpc.ssl_channel_credentials(open(sys.argv[3], "rb").read())
    channel = grpc.secure_channel(ADDRESS, credentials, OPTIONS)
else:
    channel = grpc.insecure_channel(ADDRESS, OPTIONS)

PATH = "/test.Test/"
unary = channel.unary_unary(PATH + "Unary")
server_stream = channel.unary_stream(PATH + "ServerStream")
client_stream = channel.stream_unary(PATH + "ClientStream")
both = channel.stream_stream(PATH + "Both")


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it did not fail")


answer, call = unary.with_call(b"hello", timeout=60, metadata=(("x-mine", "1"),))
assert answer == b"hello"
assert dict(call.initial_metadata())["x-initial"] == "first", call.initial_metadata()
trailing = dict(call.trailing_metadata())
assert (trailing["x-trailing"], trailing["x-bytes-bin"]) == ("last", b"\x00\xff"), trailing

large = os.urandom(5 << 20)
assert unary(large, timeout=60) == large
assert unary(b"", timeout=60) == b""

assert list(server_stream(b"300", timeout=60)) == [b"%d" % number for number in range(300)]
assert list(server_stream(b"0", timeout=60)) == []
assert client_stream((b"%d" % number for number in range(300)), timeout=60) == b"44850"

# Each answer before the next request: neither direction waits for the other's end.
turn = threading.Semaphore(1)


def requests():
    for number in range(50):
        assert turn.acquire(timeout=60)
        if number == 25:
            time.sleep(PAUSE)
        yield b"%d" % number


heard = []
for message in both(requests(), timeout=120):
    heard.append(message)
    turn.release()
assert heard == [b"heard %d" % number for number in range(50)]

error = code_of(lambda: channel.unary_unary(PATH + "Fail")(b"", timeout=60))
assert error.code() == grpc.StatusCode.NOT_FOUND, error
assert error.details() == "nothing of the kind: 100% é"
assert dict(error.trailing_metadata())["x-why"] == "because"
error = code_of(lambda: channel.unary_unary(PATH + "Missing")(b"", timeout=60))
assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
late = channel.unary_stream(PATH + "FailLate")(b"", timeout=60)
assert next(late) == b"one"
assert code_of(lambda: next(late)).code() == grpc.StatusCode.DATA_LOSS

hang = channel.unary_unary(PATH + "Hang")
assert code_of(lambda: hang(b"", timeout=0.5)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
call = hang.future(b"")
time.sleep(0.2)
call.cancel()
assert call.cancelled()
# The one at the origin hears of it.
assert channel.unary_unary(PATH + "WasCancelled")(b"", timeout=60) == b"yes"

with futures.ThreadPoolExecutor(50) as pool:
    calls = [pool.submit(unary, b"%d" % number, timeout=60) for number in range(500)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(500)]
print("all right")
