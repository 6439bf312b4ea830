# awscli, kept warm: a second of every call goes into starting it. It is started once, and forked for each call.
#
# Over TCP: the arguments, each ended by a zero byte, then a line break; back: the exit code, the length of what went to
# stderr, that, and what went to stdout. It ends when its stdin does.

import os
import signal
import socket
import sys
import tempfile
import threading

from awscli.clidriver import create_clidriver

driver = create_clidriver()
for service in ("autoscaling", "ec2", "elbv2", "rds"):
    driver.session.get_service_model(service)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()


def serve(connection):
    asked = b""
    while not asked.endswith(b"\n"):
        asked += connection.recv(65536)
    arguments = [a.decode() for a in asked[:-1].split(b"\0")[:-1]]
    told = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    for number, file in zip((1, 2), told):
        os.dup2(file.fileno(), number)
    try:
        code = driver.main(arguments)
    except SystemExit as e:
        code = e.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = (os.pread(file.fileno(), 1 << 26, 0) for file in told)
    connection.sendall(b"%d\n%d\n" % (code, len(err)) + err + out)
    connection.close()


while True:
    connection, _ = server.accept()
    if os.fork() == 0:
        try:
            serve(connection)
        finally:
            os._exit(0)
    connection.close()
