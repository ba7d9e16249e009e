"""What PyInstaller has to know of this package; it finds this by the entry point ``pyinstaller40``.

``hooks/hook-chaoying_async.py`` is run by PyInstaller and imported by nobody, so that folder is no
package. It names the modules that are imported by text, the data files, the version, and the
sources, from which ``--help`` takes the words of fields.
"""

from __future__ import annotations

from pathlib import Path


def hook_dirs() -> list[str]:
    """The folders with hooks."""
    return [str(Path(__file__).parent / "hooks")]
