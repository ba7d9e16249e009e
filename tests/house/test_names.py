"""The names of design.md that this release covers, who may use them, and what they cost."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import chaoying_async
from tests.pure.rulebook import ERROR_TREE
from tests.sizes import FULL
from tests.table import table

ROOT = Path(__file__).parents[2]


def _names(text: str) -> list[str]:
    return text.split()


REQUESTS = _names("""
GetFaceAuth FacePay Pay OrderQuery Refund RefundQuery Cancel AuthCodeToOpenId
WechatPreOrder AlipayPreOrder MchReg GetMchSmsValid GetMchId GetPartnerId GetMchInfo
WxaCode2Session WxAddSubDevConfig PayBoxConfGet QrConfGet
""")
OTHERS = _names("""
Credentials PreviousKey credentials_from_env SignAlgorithm SortOrder GatewaySession Hosts
Reply Undocumented ChaoyingWarning Fen fen PayType State Code TradeState TradeType
GoodsDetail Promotion RefundItem Partner parse_notification peek_mch_id WechatNotification
AlipayNotification Notification Wallet PaidOrder RefundedOrder Clock Gateway
Poller PollSchedule PollOutcome PollStats PollStatus wait_for_terminal FaceAuthCache
checkout CheckoutOutcome CheckoutStatus resume refund_and_track resume_refunds OrderNumbers
PollStore open_attempts open_refunds OpenAttempt OpenRefund AttemptState StoreTrouble
NotificationHandler NotificationAnswer decide Decision ExpectedOrder Seen SeenState SetAside
NO_AMOUNT_CHECK MemoryInbox Inbox
""")
ERRORS = _names(ERROR_TREE)
FRONT_PAGE = [*REQUESTS, *(f"{name}Result" for name in REQUESTS), *OTHERS, *ERRORS]

ELSEWHERE = [
    *(("chaoying_async.sansio.signing", name) for name in ("canonical_string", "sign", "verify")),
    *(("chaoying_async.exceptions", name) for name in ERRORS),
    *(
        ("chaoying_async.abc", name)
        for name in ("Clock", "Gateway", "Inbox", "Observer", "PollStore")
    ),
    *(("chaoying_async.testing", name) for name in ("FakeClock", "sign_notification")),
    ("chaoying_async.sansio.exchange", "build_request"),
    ("chaoying_async.sansio.exchange", "read_reply"),
    ("chaoying_async.sandbox", "Sandbox"),
    ("chaoying_async.inbox.sql", "SqlInbox"),
    ("chaoying_async.inbox.redis", "RedisInbox"),
    ("chaoying_async.pollstore.sql", "SqlPollStore"),
    ("chaoying_async.observing.prometheus", "ChaoyingCollector"),
    ("chaoying_async.web.asgi", "notification_app"),
    ("chaoying_async.observing.otel", "Telemetry"),
    *(
        ("chaoying_async.workers", name)
        for name in ("BlockingGateway", "CeleryQueue", "Fleet", "PgQueuerQueue", "paid_order_of")
    ),
]


@table("name", FRONT_PAGE)
def test_the_front_page_has_every_name(name: str) -> None:
    """A user's code imports these from chaoying_async as design.md spells them."""
    assert name in chaoying_async.__all__
    assert getattr(chaoying_async, name).__doc__


@table(("module", "name"), ELSEWHERE)
def test_the_other_modules_have_theirs(module: str, name: str) -> None:
    """Names that design.md puts into a module of their own."""
    assert getattr(importlib.import_module(module), name).__doc__


def test_the_front_page_is_sorted_and_whole() -> None:
    """``__all__`` is sorted, constants first, and has every public name once."""
    names = chaoying_async.__all__
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))
    public = {
        name
        for name, value in vars(chaoying_async).items()
        if not (name.startswith("_") or inspect.ismodule(value) or isinstance(value, bool))
        and name != "annotations"
    }
    lazy = set(names) - public  # a front page may load some of its names when they are used
    assert public <= set(names)
    for name in lazy:
        getattr(chaoying_async, name)


def test_every_error_is_in_the_list_above() -> None:
    """An error that is added has to be found by those who read design.md."""
    from chaoying_async import exceptions

    found = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, exceptions.ChaoyingError)
    }
    assert {name for name in found if not name.startswith("_")} == set(ERRORS)


def test_the_sessions_knobs_are_those_of_the_design() -> None:
    """Everything but the credentials by name, in design.md's spelling."""
    parameters = inspect.signature(chaoying_async.GatewaySession).parameters
    assert next(iter(parameters)) == "credentials"
    knobs = {
        name
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert knobs >= {
        *("mch_id", "op_user_id", "device_info", "hosts", "timeout", "deadline", "limits"),
        *("max_reply_bytes", "verify", "cert", "proxy", "trust_env", "require_signed"),
        *("transport", "event_hooks", "on_exchange", "clock"),
    }
    assert "timeout" in inspect.signature(chaoying_async.GatewaySession.send).parameters


#: What an application pays for only when it uses it.
NOT_LOADED = _names("""
aiohttp uvicorn starlette respx rich click segno pytest sqlalchemy redis celery pgqueuer
fastapi flask django prometheus_client structlog chaoying_async.observing
chaoying_async.testing chaoying_async.sandbox chaoying_async.cli
""")


@pytest.mark.outside
def test_importing_the_package_loads_no_engine_and_no_extra() -> None:
    """Only the base dependencies, and not even the default engine before a session opens."""
    code = "import json, sys; import chaoying_async; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    loaded = set(json.loads(run.stdout))
    assert not loaded & set(NOT_LOADED)


@pytest.mark.outside
@pytest.mark.tools
@pytest.mark.skipif(not FULL, reason="`make types` checks the file with all others; with FULL=1")
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_know_what_comes_back(checker: str) -> None:
    """``(await gateway.send(OrderQuery(...))).result`` is ``OrderQueryResult | None`` to both."""
    arguments = {
        "mypy": ["-m", "mypy", "--strict", "--no-error-summary", "tests/typing/api.py"],
        "pyright": ["-m", "pyright", "--pythonpath", sys.executable, "tests/typing/api.py"],
    }[checker]
    run = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


_PROSE = [
    *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),  # it tells of old names
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("examples/*.md"),
    *(ROOT / "chaoying_async").rglob("*.py"),
]
_DOTTED = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\([^`]*\))?`")
_IMPORT = re.compile(r"`(from chaoying_async[\w.]* import [\w, ]+)`")
#: Values of a reader's own (``clock = FakeClock()``), what an error gets when made, files, aiohttp.
_OF_OTHERS = re.compile(
    r"clock\.\w+|sandbox\.faults\.add|ParameterError\.problems|\w+\.py|web\.AppRunner"
)


@table("page", _PROSE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_name_in_prose_leads_somewhere(page: Path) -> None:
    """`chaoying_async.sansio`, `sansio.enums`, `Gateway.send`, imports as they are written."""
    text = page.read_text("utf-8")
    ours = [name for name in _DOTTED.findall(text) if not _OF_OTHERS.fullmatch(name)]
    assert [name for name in ours if not _is_there(name)] == []
    imported: dict[str, Any] = {}
    for line in _IMPORT.findall(text):
        exec(line, imported)  # noqa: S102 - a line of ours
    of_these = [name.split(".") for name in ours if name.split(".")[0] in imported]
    assert [names for names in of_these if not hasattr(imported[names[0]], names[1])] == []


def _is_there(dotted: str) -> bool:
    """Whether there is such a name; so are those that begin with no name of this library."""
    first, *more = dotted.removeprefix("chaoying_async.").split(".")
    place = _under(chaoying_async, first)
    if place is _NOWHERE:
        return not dotted.startswith("chaoying_async.")
    for name in more:
        place = _under(place, name)
    return place is not _NOWHERE


_NOWHERE = object()


def _under(place: Any, name: str) -> Any:
    """What a module or a class has under that name: a module that nobody imported yet, too."""
    if hasattr(place, name):
        return getattr(place, name)
    with suppress(ModuleNotFoundError, AttributeError):
        module = importlib.import_module(f"{place.__name__}.{name}")
        # A folder that git has emptied is still one to Python where it left its __pycache__.
        return module if module.__file__ else _NOWHERE
    return _NOWHERE
