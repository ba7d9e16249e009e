"""docs/dependencies.md, its Chinese twin, and the bill of materials that lies in the wheel.

``make dependencies`` writes all three anew; tests hold them against pyproject.toml and what is
installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot7
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.dependencies import (
    BASE,
    EXTRAS,
    NAME,
    PROJECT,
    PYPROJECT,
    ROOT,
    all_dependencies,
    licence_of,
    requirements,
)

BILL = ROOT / PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["sbom-files"][0]

_SAYS = {
    "en": {
        "head": """\
# Dependencies and their licences

[简体中文](dependencies.zh-CN.md) · [back to the README](../README.md)

Written by `make dependencies` from `pyproject.toml` and from the metadata of the packages. What pip
installs on your machine may be newer, and a package more or less on another Python or system.

Nothing of others is copied into the wheel. It holds a bill of materials in CycloneDX
(`chaoying_async-*.dist-info/sboms/`, [PEP 770](https://peps.python.org/pep-0770/)): which packages
this library itself asks for, in which versions, under which licences. A bill of what *you* have
installed, with the dependencies of dependencies and their exact versions, is made in your own
environment: `cyclonedx-py environment` (`pip install cyclonedx-bom`). `pip-audit` says which
vulnerabilities of it are known.

A test allows these licences and no other: {allowed}. `BSD` stands where a package does not say
which of the BSD licences it means.

## All packages

""",
        "heads": ("package", "licence", "comes with"),
        "base": "the base",
    },
    "zh": {
        "head": """\
# 依赖包及其许可证

[English](dependencies.md) · [返回 README](../README.zh-CN.md)

本页由 `make dependencies` 根据 `pyproject.toml` 和各个包的元数据生成。
pip 在你的机器上装的版本可能更新；换一个 Python 版本或操作系统，也可能多一个包或少一个包。

wheel 里没有复制任何别人的代码。里面有一份 CycloneDX 格式的物料清单（SBOM，位于
`chaoying_async-*.dist-info/sboms/`，见 [PEP 770](https://peps.python.org/pep-0770/)）：本库直接依赖哪些包、要求什么版本、各是什么许可证。
**你**实际装了什么（包括依赖的依赖和确切版本），请在你自己的环境里生成：`cyclonedx-py environment`
（`pip install cyclonedx-bom`）；`pip-audit` 会告诉你其中有哪些已知漏洞。

测试只允许这些许可证：{allowed}。有的包没有说明是哪一种 BSD 许可证，这里就写 `BSD`。

## 全部依赖

""",
        "heads": ("包", "许可证", "随什么安装"),
        "base": "基础安装",
    },
}


def page(language: str) -> str:
    """The whole page in this language."""
    say: dict[str, Any] = _SAYS[language]
    dependencies = all_dependencies()
    named = {
        part
        for one in dependencies
        for part in one.licence.replace("(", " ").replace(")", " ").split()
    }
    allowed = ", ".join(f"`{name}`" for name in sorted(named - {"AND", "OR"}))
    lines = [say["heads"], ("---",) * 3]
    lines += [
        (
            f"`{one.name}`",
            one.licence,
            ", ".join(say["base"] if extra == BASE else f"`[{extra}]`" for extra in one.extras),
        )
        for one in dependencies
    ]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return str(say["head"]).format(allowed=allowed) + table


def bill_of_materials() -> str:
    """CycloneDX 1.7: this package, and what it asks for; the same text whenever it is made.

    A component is external, since the wheel holds no other package, and has a range of versions in
    place of one, since pip chooses when somebody installs.
    """
    factory = LicenseFactory()

    def component(name: str, **more: Any) -> Component:
        purl = PackageURL("pypi", None, name, more.get("version"))
        licence = more.pop("licence")
        return Component(
            name=name,
            type=ComponentType.LIBRARY,
            bom_ref=str(purl),
            purl=purl,
            licenses=[factory.make_from_string(licence)],
            **more,
        )

    root = component(
        NAME, version=PROJECT["version"], licence=PROJECT["license"], description=_description()
    )
    asked: dict[str, list[tuple[str, Requirement]]] = {}
    for extra in (BASE, *EXTRAS):
        for needed in requirements(extra):
            asked.setdefault(canonicalize_name(needed.name), []).append((extra, needed))
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, str(root.purl)))
    bom.metadata.component = root
    ranges = {}
    for name, by in sorted(asked.items()):
        extras = dict.fromkeys(extra for extra, _ in by)
        part = component(
            name,
            licence=licence_of(name),
            is_external=True,
            scope=ComponentScope.REQUIRED if BASE in extras else ComponentScope.OPTIONAL,
            properties=[
                Property(name="chaoying-async:extra", value=extra) for extra in extras if extra
            ],
        )
        bom.components.add(part)
        bom.register_dependency(root, [part])
        # The narrowest that any place asks for: the base's own, else the first extra's.
        ranges[name] = _range(by[0][1])
    tree: dict[str, Any] = json.loads(JsonV1Dot7(bom).output_as_string())
    del tree["metadata"]["timestamp"]  # the same source makes the same wheel
    for part in tree["components"]:
        part["versionRange"] = ranges[part["name"]]  # which the library does not know yet
    return json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _description() -> str:
    return str(PROJECT["description"])


def _range(needed: Requirement) -> str:
    """``>=0.27,<1`` as a range of the VERS specification: ``vers:pypi/>=0.27|<1``."""
    bounds = sorted(needed.specifier, key=lambda bound: Version(bound.version.removesuffix(".*")))
    texts = [
        bound.version if bound.operator == "==" else f"{bound.operator}{bound.version}"
        for bound in bounds
    ]
    return f"vers:pypi/{'|'.join(texts) or '*'}"


PAGES = {
    ROOT / "docs/dependencies.md": "en",
    ROOT / "docs/dependencies.zh-CN.md": "zh",
}


FILES = (*PAGES, BILL)


def texts() -> dict[Path, str]:
    """Every file that is written here, and what is to stand in it."""
    return {path: page(language) for path, language in PAGES.items()} | {BILL: bill_of_materials()}


if __name__ == "__main__":
    for path, text in texts().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
