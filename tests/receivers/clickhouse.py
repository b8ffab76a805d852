"""ClickHouse, a database that takes lines of JSON over HTTP: what is behind the generic sink when it is not a fake.

Debian's is of 2018, which is enough: ``INSERT INTO t FORMAT JSONEachRow`` is what it was. Source: ClickHouse's documentation,
"HTTP interface", "Server settings".
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.receivers.programs import Program, free_port, from_debian, which

if TYPE_CHECKING:
    from pathlib import Path

# Without `tcp_port` and `interserver_http_port` nothing but HTTP is served; paths are ours, or it would write into /var.
_CONFIG = """<yandex>
<logger><console>1</console><level>warning</level></logger>
<http_port>{port}</http_port><listen_host>127.0.0.1</listen_host><interserver_http_host>localhost</interserver_http_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path><user_files_path>{folder}/files/</user_files_path>
<format_schema_path>{folder}/schemas/</format_schema_path>
<users_config>users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>67108864</mark_cache_size><max_concurrent_queries>20</max_concurrent_queries>
</yandex>
"""
_USERS = """<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default><password></password>
<networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users></yandex>
"""


class Wrong(Exception):
    """What ClickHouse says of a query that it refuses."""


class ClickHouse(Program):
    """``with or_skip(ClickHouse, tmp_path) as house``: a sink posts to `insert_url`, a test asks with `query`."""

    def __init__(self, folder: Path) -> None:
        root = from_debian("clickhouse-server")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        (folder / "config.xml").write_text(_CONFIG.format(port=port, folder=folder))
        (folder / "users.xml").write_text(_USERS)
        command: list[str | Path] = [which("clickhouse-server", root), f"--config={folder / 'config.xml'}"]
        super().__init__("clickhouse", command, folder, root)
        self.ready(port)

    def insert_url(self, table: str) -> str:
        """Where NDJSON goes. Fields that the table does not have are passed over, as collectors of logs want it."""
        fields = {"query": f"INSERT INTO {table} FORMAT JSONEachRow", "input_format_skip_unknown_fields": "1"}
        return f"{self.url}/?{urllib.parse.urlencode(fields)}"

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows, as dicts; none of what is no SELECT. 64-bit numbers are texts, as in all its JSON."""
        asks = sql.split(None, 1)[0].upper() in ("SELECT", "SHOW", "DESCRIBE")
        data = f"{sql} FORMAT JSON".encode() if asks else sql.encode()
        try:
            with urllib.request.urlopen(self.url, data, timeout=20) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Wrong(error.read().decode(errors="replace")) from None
        rows: list[dict[str, Any]] = json.loads(content)["data"] if asks else []
        return rows
