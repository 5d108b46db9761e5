"""A Postgres that is made once and copied for each deployment: its first start takes longer than
most of what is started."""

import asyncio
import subprocess
from pathlib import Path

from proxy.dev.servers import run_postgres
from proxy.store.migrate import migrate

# A killed server's data survives without: the machine stays up.
POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


def prepare(template: Path) -> None:
    """Nothing where there is one already."""
    if not template.exists():
        with run_postgres(template, settings=POSTGRES_SETTINGS) as server:
            asyncio.run(migrate(server.url))


def copy(template: Path, directory: Path) -> None:
    """With its owner, who may be another than ours."""
    subprocess.run(["cp", "-a", template, directory], check=True)
