#!/usr/bin/env python3
"""sockets.py NAME=HOST:PORT... -- COMMAND...: holds listening sockets for COMMAND and begins it again whenever it ends, as systemd does with ops/headwater.socket
and Restart=: connections wait meanwhile, none is refused (sd_listen_fds(3)). SIGTERM ends both."""

import os
import signal
import socket
import sys
import time

FIRST = 3
RESTART_S = 1


def main(arguments):
    at = arguments.index("--")
    names, sockets = [], []
    for argument in arguments[:at]:
        name, address = argument.split("=")
        host, port = address.rsplit(":", 1)
        names.append(name)
        sockets.append(socket.create_server((host, int(port)), backlog=1024))
    child = 0

    def end(_signal, _frame):
        if child:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
        sys.exit()

    signal.signal(signal.SIGTERM, end)
    while True:
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # Out of the way of where they go to.
            high = [os.dup2(each.fileno(), 100 + place) for place, each in enumerate(sockets)]
            for place, each in enumerate(high):
                os.dup2(each, FIRST + place, inheritable=True)
            os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
            os.execvp(arguments[at + 1], arguments[at + 1 :])
        os.waitpid(child, 0)
        child = 0
        time.sleep(RESTART_S)


main(sys.argv[1:])
