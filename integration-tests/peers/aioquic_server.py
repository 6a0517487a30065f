"""An HTTP/3 file server on aioquic: aioquic_server.py --root DIR --cert PEM --key PEM PORT

GET of a file in DIR answers its bytes, POST /echo the body of the request; 404 else. Runs until it is ended.
"""

import argparse
import asyncio
import os

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Http3(QuicConnectionProtocol):
    root = "."

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.requests = {}

    def quic_event_received(self, event):
        for http_event in self.http.handle_event(event):
            if isinstance(http_event, HeadersReceived) and http_event.stream_id not in self.requests:
                self.requests[http_event.stream_id] = (dict(http_event.headers), bytearray())
            elif isinstance(http_event, DataReceived):
                self.requests[http_event.stream_id][1].extend(http_event.data)
            if getattr(http_event, "stream_ended", False):
                self.respond(http_event.stream_id, *self.requests.pop(http_event.stream_id))

    def respond(self, stream, headers, body):
        status, content = 404, b"not found\n"
        method, path = headers[b":method"], headers[b":path"].decode()
        file = os.path.join(self.root, os.path.basename(path))
        if method == b"POST" and path == "/echo":
            status, content = 200, bytes(body)
        elif method == b"GET" and os.path.isfile(file):
            with open(file, "rb") as opened:
                status, content = 200, opened.read()
        self.http.send_headers(
            stream,
            [(b":status", str(status).encode()), (b"content-length", str(len(content)).encode())],
        )
        self.http.send_data(stream, content, end_stream=True)
        self.transmit()


async def run(options):
    Http3.root = options.root
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    configuration.load_cert_chain(options.cert, options.key)
    await serve("127.0.0.1", options.port, configuration=configuration, create_protocol=Http3)
    await asyncio.Event().wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("port", type=int)
    asyncio.run(run(parser.parse_args()))


main()
