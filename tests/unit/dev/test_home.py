"""What `apilink dev` keeps in its data directory."""

from pathlib import Path
from uuid import UUID

from proxy.dev.home import Demo, Home


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    home.prepare()
    secret = home.secret_key()
    assert len(secret) == 64
    assert Home(tmp_path / "data").secret_key() == secret
    assert home.directory.stat().st_mode & 0o777 == 0o700
    assert (home.directory / "secret-key").stat().st_mode & 0o777 == 0o600


def test_the_demo_key_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.find_demo() is None
    demo = Demo(UUID(int=7), "key-id", "sk-al-secret")
    home.keep_demo(demo)
    assert home.find_demo() == demo
    assert (tmp_path / "demo.json").stat().st_mode & 0o777 == 0o600


def test_commands_find_a_running_dev_only_while_it_runs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write_environment({"APILINK_SECRET_KEY": "a=b", "APILINK_LISTEN": "127.0.0.1:1"})
    path = tmp_path / "dev.env"
    assert path.read_text() == "APILINK_LISTEN=127.0.0.1:1\nAPILINK_SECRET_KEY=a=b\n"
    assert path.stat().st_mode & 0o777 == 0o600
    home.remove_environment()
    assert not path.exists()
    home.remove_environment()
