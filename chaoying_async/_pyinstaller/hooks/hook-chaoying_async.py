"""Run by PyInstaller while it collects a program that uses this package."""  # noqa: INP001 - by path

from __future__ import annotations

from importlib.util import find_spec

from PyInstaller.utils.hooks import (  # type: ignore[import-untyped]
    collect_data_files,
    collect_submodules,
    copy_metadata,
)

#: What is for tests, and what needs somebody else's framework: a program that uses one of these
#: names it in an import of its own, which PyInstaller sees.
_LEFT_OUT = ("testing", "web", "workers.queues", "_pyinstaller")
#: What SQLAlchemy imports by name, where it is installed.
_DRIVERS = ("aiosqlite", "asyncpg", "psycopg", "psycopg_binary", "aiomysql")


def _is_ours(name: str) -> bool:
    left_out = (f"chaoying_async.{part}" for part in _LEFT_OUT)
    return not any(name == part or name.startswith(f"{part}.") for part in left_out)


#: Commands, inboxes and stores are imported when they are used, by name.
hiddenimports = [
    *collect_submodules("chaoying_async", filter=_is_ours),
    *filter(find_spec, _DRIVERS),
]
datas = [*collect_data_files("chaoying_async"), *copy_metadata("chaoying-async")]
#: The words of fields are read from the source.
module_collection_mode = {"chaoying_async": "pyz+py"}
