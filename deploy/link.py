"""Puts this checkout on its environment's path and writes the `apilink` command: no build."""

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Path(sysconfig.get_path("purelib"), "apilink.pth").write_text(f"{ROOT}\n")
command = Path(sysconfig.get_path("scripts"), "apilink")
command.write_text(f"#!{sys.executable}\nfrom proxy.__main__ import main\n\nmain()\n")
command.chmod(0o755)
