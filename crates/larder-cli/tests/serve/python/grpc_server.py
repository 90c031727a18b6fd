"""A gRPC server that prints its port. Messages are bytes as they stand; `cert key` serve over TLS."""

import sys
import threading
import time
from concurrent import futures

import grpc

CANCELLED = threading.Event()


def unary(request, context):
    context.send_initial_metadata((("x-initial", "first"),))
    context.set_trailing_metadata((("x-trailing", "last"), ("x-bytes-bin", b"\x00\xff")))
    return request


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def client_stream(requests, context):
    return b"%d" % sum(int(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield b"heard " + request


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing of the kind: 100% é")


def fail_late(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "lost")


def hang(request, context):
    context.add_callback(CANCELLED.set)
    while context.is_active():
        time.sleep(0.01)
    return b""


def was_cancelled(request, context):
    return b"yes" if CANCELLED.wait(60) else b"no"


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
}

server = grpc.server(futures.ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", -1)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", METHODS),))
if len(sys.argv) > 2:
    certificate, key = (open(file, "rb").read() for file in sys.argv[1:])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
