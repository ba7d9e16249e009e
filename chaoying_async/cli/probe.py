"""Makes one harmless call and notes how it ended, for ``chaoying check``."""

from __future__ import annotations

from typing import Any

import attrs

from chaoying_async.exceptions import (
    ChaoyingError,
    GatewayError,
    GatewayUnavailableError,
    MalformedMessageError,
    MissingSignatureError,
    ProtocolError,
    SignatureRefusedError,
    SignatureVerificationError,
    TransportError,
    VersionTooLowError,
)
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.credentials import Credentials, SortOrder
from chaoying_async.sansio.doctor import diagnose
from chaoying_async.sansio.hosts import host_and_port
from chaoying_async.sansio.signing import sign_for
from chaoying_async.sansio.wire.jsontext import parse_reply
from chaoying_async.session import GatewaySession


@attrs.frozen(kw_only=True)
class ProbeResult:
    """How one call ended: what came back, or why nothing did."""

    host: str
    reply: Reply[Any] | None = None
    error: ChaoyingError | None = None
    hint: str = ""
    """State and code of a reply whose signature is wrong; they are only a hint."""
    mistakes: tuple[str, ...] = ()
    """The findings of the signature doctor."""

    @property
    def spoke(self) -> bool:
        """Whether something at that address answered like the gateway."""
        if self.reply is not None or isinstance(self.error, GatewayError):
            return True
        return isinstance(self.error, ProtocolError) and not isinstance(
            self.error, MalformedMessageError
        )

    @property
    def untrusted(self) -> bool:
        """Whether an answer came that must not be believed."""
        return isinstance(self.error, ProtocolError)

    @property
    def verified(self) -> bool | None:
        """Whether a signature was there and right; None: there was none."""
        if isinstance(self.error, MissingSignatureError):
            return None
        if isinstance(self.error, SignatureVerificationError):
            return False
        signed = failures_signed(self) if self.reply is None else self.reply.signed
        return True if signed else None

    @property
    def code(self) -> str | None:
        """The gateway's code, or ``VER``."""
        if isinstance(self.error, VersionTooLowError):
            return "VER"
        if isinstance(self.error, GatewayError):
            return self.error.code
        return self.reply.code if self.reply is not None else None

    @property
    def signature_refused(self) -> bool:
        """Whether the gateway refuses our signature, as far as anybody can tell."""
        return isinstance(self.error, SignatureRefusedError) or (
            self.verified is False and self.hint.endswith("20002")
        )

    @property
    def answer(self) -> str:
        """The answer in a few words."""
        if self.hint:
            return f"{self.hint} (its signature does not verify)"
        if isinstance(self.error, GatewayError):
            return f"{self.error.state} {self.error.code or ''} {self.error.msg or ''}".strip()
        if self.reply is not None:
            return f"{self.reply.state} {self.reply.code or ''}".strip()
        return "no answer" if isinstance(self.error, TransportError) else type(self.error).__name__

    @property
    def trouble(self) -> str:
        """The meaning of the error in plain words."""
        if isinstance(self.error, GatewayUnavailableError):
            return f"HTTP {self.error.status}: something before the gateway answered"
        if isinstance(self.error, SignatureVerificationError) and self.mistakes:
            return f"its reply is not signed as we think: {', '.join(self.mistakes)}"
        if isinstance(self.error, SignatureVerificationError):
            return "its reply is signed with another key than ours: is this our gateway?"
        return str(self.error.args[0]) if self.error else ""


class Prober:
    """Makes calls, and examines the bytes of a reply that must not be believed."""

    def __init__(self, who: Credentials) -> None:
        self._who = who
        self._body = b""

    async def note(self, response: Any) -> None:
        """A response hook for the session."""
        self._body = await response.aread()

    async def ask(self, gateway: GatewaySession, request: Request[Any]) -> ProbeResult:
        """Make one call and note how it ended."""
        self._body = b""
        host = host_and_port(gateway.hosts.url_of(type(request)))
        try:
            return ProbeResult(host=host, reply=await gateway.send(request))
        except SignatureVerificationError as error:
            return ProbeResult(host=host, error=error, hint=self._hint(), mistakes=self._mistakes())
        except ChaoyingError as error:
            return ProbeResult(host=host, error=error)

    def _hint(self) -> str:
        try:
            fields = parse_reply(self._body)[1]
        except MalformedMessageError:
            return ""
        words = " ".join(filter(None, (fields.get("state"), fields.get("code"))))
        return words if words.replace(" ", "").isalnum() else ""

    def _mistakes(self) -> tuple[str, ...]:
        try:
            verdict = diagnose(self._body, self._who)
        except MalformedMessageError:
            return ()
        if verdict.unexplained:
            return ()
        return tuple(finding.what_happened for finding in verdict.findings)


def name_order(asked: ProbeResult, who: Credentials) -> SortOrder | None:
    """The order of names in which a signed reply was signed; None: it has no capital letters."""
    if asked.reply is None or not asked.reply.signed:
        return None
    raw = {name: str(text) for name, text in asked.reply.raw.items() if text is not None}
    fits = [
        order
        for order in SortOrder
        if sign_for(attrs.evolve(who, sort_order=order), raw) == raw["sign"].upper()
    ]
    return fits[0] if len(fits) == 1 else None


def failures_signed(asked: ProbeResult) -> bool | None:
    """Whether a refusal carried a signature; None: no refusal came."""
    if isinstance(asked.error, GatewayError):
        return bool(asked.error.raw.get("sign"))
    return None
