"""nginx before a fake: TLS, certificates of clients, and a rate limit as somebody else implements them.

Source: nginx's documentation of its modules ssl, limit_req and proxy. What it does that our fakes do not: it speaks OpenSSL's
TLS with session tickets, answers 400 to a client without a certificate, 413 before the body was read, 429 by a real limiter,
and 502 for an upstream that is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.receivers.programs import Program, free_port, from_debian, which

if TYPE_CHECKING:
    from pathlib import Path

    from tests.receivers.aws.tls import Authority

_CONFIG = """daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log access.log; client_max_body_size {largest}; keepalive_timeout {keep_alive};
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  {zone}
  server {{
    listen 127.0.0.1:{port}{tls};
    error_page 429 @busy;
    location / {{ {limit} proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass {upstream}; }}
    location @busy {{ internal; add_header Retry-After {retry_after} always; return 429; }}
  }}
}}
"""


class Nginx(Program):
    """``with or_skip(Nginx, tmp_path, fake.url) as nginx``: passes on what is sent to ``url``.

    ``authority``: TLS with its certificate for "localhost"; ``mutual``: clients show one of its certificates, too
    (`Authority.signed`); ``rate``: as nginx writes it, "1r/s", and beyond it 429 with ``retry_after``; ``largest``: of a body.
    """

    def __init__(
        self,
        folder: Path,
        upstream: str,
        *,
        authority: Authority | None = None,
        mutual: bool = False,
        rate: str = "",
        retry_after: int = 1,
        largest: str = "8m",
        keep_alive: str = "60s",
    ) -> None:
        root = from_debian("nginx-light")
        port, tls = free_port(), ""
        if authority is not None:
            shown = authority.signed("nginx", "localhost")
            tls = f" ssl; ssl_certificate {shown}; ssl_certificate_key {shown}"
            tls += f"; ssl_client_certificate {authority.bundle}; ssl_verify_client on" if mutual else ""
        self.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
        (folder / "nginx.conf").write_text(
            _CONFIG.format(
                port=port, tls=tls, upstream=upstream, largest=largest, keep_alive=keep_alive, retry_after=retry_after,
                zone=f"limit_req_zone $server_port zone=all:64k rate={rate}; limit_req_status 429;" if rate else "",
                limit="limit_req zone=all;" if rate else "",
            )
        )  # fmt: skip
        command: list[str | Path] = [which("nginx", root), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
        super().__init__("nginx", command, folder, root)
        self._access = folder / "access.log"
        self.ready(port)

    def statuses(self) -> list[int]:
        """What it answered, in order."""
        return [int(line.split('" ')[1].split()[0]) for line in self._access.read_text().splitlines()]
