#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many idle connections, in a process of its own for the sake of its descriptors.

  crowd.py server          prints its port; echoes
  crowd.py client PORT N   opens N connections, sends a byte on each and reads it back, prints "open"; after a line on
                           stdin it asks again on each, prints "asked"; at the end of stdin it leaves
"""
import selectors
import socket
import sys


def server():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(4096)
    listening.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print(listening.getsockname()[1], flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listening:
                sock, _ = listening.accept()
                selector.register(sock, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(4096)
            except OSError:
                data = b""
            if data:
                key.fileobj.sendall(data)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def ask_all(socks):
    for sock in socks:
        sock.sendall(b"x")
    for sock in socks:
        if sock.recv(1) != b"x":
            raise SystemExit("a connection is gone")


def client(port, count):
    socks = []
    for _ in range(count):
        socks.append(socket.create_connection(("127.0.0.1", port), timeout=60))
        if len(socks) % 500 == 0:  # keeps within every backlog
            ask_all(socks[-500:])
    ask_all(socks)
    print("open", flush=True)
    for _ in sys.stdin:
        ask_all(socks)
        print("asked", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        server()
    else:
        client(int(sys.argv[2]), int(sys.argv[3]))
