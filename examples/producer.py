#!/usr/bin/env python3
"""A producer for leash in plain Python: every order gets into the log exactly once, whatever breaks on the way.

    python3 producer.py [--gateway HOST:PORT] [--count N]

The gateway speaks the Redis protocol, so any Redis client library does as well; this one uses nothing but a socket. What
matters is the id: each order is sent as

    XADD engine IDMP <producer> <id> * <field> <value> ...

and answered with its place in the log, "<sequence>-0". An order that was not answered is sent again with the same id. If it
was in the log already, the answer is the place that it has.
"""
import argparse
import socket
import sys
import time
import uuid

# Answers that say "not now": nothing is wrong with the order itself. INDOUBT: it may be in the log.
PASSING = ("TRYAGAIN", "INDOUBT", "NOREPLICAS", "LOADING", "OOM")


class Gateway:
    """One connection, one command at a time."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=60)
        self.stream = self.socket.makefile("rb")

    def close(self):
        self.stream.close()
        self.socket.close()

    def command(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            if rest.split(" ")[0] in PASSING:
                raise ConnectionError(rest)
            raise RuntimeError(rest)
        if kind == b"$":
            body = self.stream.read(int(rest) + 2)
            if len(body) != int(rest) + 2:
                raise ConnectionError("the connection was closed")
            return body[:-2].decode()
        return rest


class Producer:
    def __init__(self, address, engine, name):
        self.address, self.engine, self.name = address, engine, name
        self.gateway = None

    def append(self, order_id, **fields):
        """Returns the order's sequence number. Does not give up: the same id makes it safe to try again."""
        pairs = [word for pair in fields.items() for word in pair]
        while True:
            try:
                if self.gateway is None:
                    self.gateway = Gateway(self.address)
                entry = self.gateway.command("XADD", self.engine, "IDMP", self.name, order_id, "*", *pairs)
                return int(entry.split("-")[0])
            except OSError as error:  # ConnectionError and time-outs are among them
                print(f"{order_id}: {error}; trying again", file=sys.stderr)
                if self.gateway is not None:
                    self.gateway.close()
                    self.gateway = None
                time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description="Send numbered orders to leash, each exactly once.")
    parser.add_argument("--gateway", default="127.0.0.1:8080", metavar="HOST:PORT")
    parser.add_argument("--engine", default="engine", metavar="NAME")
    parser.add_argument("--producer", default=None, metavar="NAME", help="the same name again resumes")
    parser.add_argument("--count", type=int, default=10, metavar="N")
    args = parser.parse_args()

    producer = Producer(args.gateway, args.engine, args.producer or f"example-{uuid.uuid4().hex[:12]}")
    for number in range(1, args.count + 1):
        sequence = producer.append(number, side="buy", symbol="ACME", size=number * 10, price="12.50")
        print(f"order {number} is record {sequence}")


if __name__ == "__main__":
    main()
