"""nginx as a gateway that always gives one answer, so that only clients are measured."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path {folder}/1;
  proxy_temp_path {folder}/2;
  fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4;
  scgi_temp_path {folder}/5;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{reply}'; }}
  }}
}}
"""


def nginx() -> str | None:
    """Where nginx is; Debian puts it where a plain user's PATH does not look."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """nginx on a free port for the length of the block; its address."""
    binary = nginx()
    if binary is None:
        raise SystemExit("the throughput benchmark needs nginx (apt-get install nginx-light)")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    text = reply.decode().replace("\\", "\\\\").replace("'", "\\'")
    with tempfile.TemporaryDirectory(prefix="chaoying-bench-") as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(_CONFIG.format(folder=folder, port=port, reply=text), encoding="utf-8")
        command = [binary, "-c", str(config), "-p", folder, "-e", f"{folder}/error.log"]
        with subprocess.Popen(command) as process:
            try:
                _wait_for(port, process)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise SystemExit(f"nginx ended with status {process.wait(0.05)}")
    raise SystemExit("nginx does not answer")
