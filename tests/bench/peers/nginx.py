"""nginx as a plain pass-through: one worker, keep-alive both ways, nothing buffered or logged."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peer import (
    NotAvailableError,
    Peer,
    free_port,
    process,
    tree_of,
    wait_for_port,
)

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  tcp_nodelay on;
  keepalive_requests 1000000;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@contextmanager
def open_nginx(origin_port: int, directory: Path) -> Iterator[Peer]:
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if binary is None:
        raise NotAvailableError("nginx is not installed (apt-get install nginx-light)")
    home = directory / "nginx"
    home.mkdir()
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = home / "nginx.conf"
    config.write_text(_CONFIG.format(dir=home, port=port, origin=origin_port, user=user))
    with process([binary, "-e", "stderr", "-p", home, "-c", config], cwd=home) as started:
        wait_for_port(port, started)
        yield Peer("nginx", port, tree_of(started))
