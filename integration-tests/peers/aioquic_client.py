"""An HTTP/3 client on aioquic.

    aioquic_client.py --ca PEM [--body FILE] [--repeat N] [--concurrency N] URL OUT

Sends N requests on one connection (POST with the body if there is one, else GET), at most so many at a time, and writes
the body of the last response to OUT. All responses must have status 200 and the same length. Prints one line.
"""

import argparse
import asyncio
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

DEADLINE = 120


class Exchange:
    """One request: what has come of its response, and who waits for it."""

    def __init__(self):
        self.status = None
        self.body = bytearray()
        self.done = asyncio.get_running_loop().create_future()

    def fail(self, reason):
        if not self.done.done():
            self.done.set_exception(ConnectionError(reason))


class Http3(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.exchanges = {}

    def request(self, url, body):
        stream = self._quic.get_next_available_stream_id()
        exchange = self.exchanges[stream] = Exchange()
        headers = [
            (b":method", b"GET" if body is None else b"POST"),
            (b":scheme", b"https"),
            (b":authority", url.netloc.encode()),
            (b":path", (url.path or "/").encode()),
        ]
        if body is not None:
            headers.append((b"content-length", str(len(body)).encode()))
        self.http.send_headers(stream, headers, end_stream=body is None)
        if body is not None:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        return exchange.done

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            for exchange in self.exchanges.values():
                exchange.fail(f"connection closed: {event.error_code:#x} {event.reason_phrase}")
        elif isinstance(event, StreamReset) and event.stream_id in self.exchanges:
            self.exchanges[event.stream_id].fail(f"stream reset: {event.error_code:#x}")
        for http_event in self.http.handle_event(event):
            self.http_event_received(http_event)

    def http_event_received(self, event):
        exchange = self.exchanges.get(getattr(event, "stream_id", None))
        if exchange is None:
            return
        if isinstance(event, HeadersReceived) and exchange.status is None:
            exchange.status = int(dict(event.headers)[b":status"])
        elif isinstance(event, DataReceived):
            exchange.body += event.data
        if event.stream_ended and not exchange.done.done():
            del self.exchanges[event.stream_id]
            exchange.done.set_result(exchange)


async def run(options):
    url = urlsplit(options.url)
    body = None
    if options.body:
        with open(options.body, "rb") as file:
            body = file.read()
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"])
    configuration.load_verify_locations(options.ca)
    async with connect(url.hostname, url.port or 443, configuration=configuration, create_protocol=Http3) as client:
        turn = asyncio.Semaphore(options.concurrency)

        async def one():
            async with turn:
                return await client.request(url, body)

        answers = await asyncio.gather(*(one() for _ in range(options.repeat)))
    seen = {(answer.status, len(answer.body)) for answer in answers}
    assert len(seen) == 1 and answers[0].status == 200, f"status and length of the responses: {seen}"
    with open(options.out, "wb") as file:
        file.write(answers[-1].body)
    print(f"{len(answers)} responses, status 200, {len(answers[0].body)} bytes each")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ca", required=True)
    parser.add_argument("--body")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("url")
    parser.add_argument("out")
    options = parser.parse_args()
    asyncio.run(asyncio.wait_for(run(options), DEADLINE))


main()
