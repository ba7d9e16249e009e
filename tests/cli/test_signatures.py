"""sign, verify, doctor: any message, from a file, stdin or typed."""

from __future__ import annotations

import json
from hashlib import md5
from pathlib import Path

import pytest

from chaoying_async import Credentials
from chaoying_async.cli import gateway_options
from chaoying_async.sansio.doctor import KINDS
from chaoying_async.testing import sign_notification
from tests.cli.processes import on_a_terminal
from tests.cli_calls import call, said
from tests.factories import AUTH_CODE, KEY, OPENID

ENV: dict[str, str | None] = {"CHAOYING_KEY": KEY}
FIELDS = {"a": "1", "b": "", "Z": "支付"}
CANONICAL = "Z=支付&a=1"


def signed(canonical: str, key: str = KEY) -> str:
    """By hand, from the document's own rule."""
    return md5(f"{canonical}&key={key}".encode()).hexdigest().upper()


class TestSign:
    def test_fields_typed(self) -> None:
        """Empty values and an old sign take no part."""
        typed = [f"{name}={value}" for name, value in FIELDS.items()]
        told = said(call("sign", *typed, "sign=OLD", "--json", env=ENV))
        assert told["sign"] == signed(CANONICAL)
        assert (told["canonical"], told["algorithm"], told["order"]) == (CANONICAL, "MD5", "ASCII")

    @pytest.mark.parametrize("body", ["a=1&b=&Z=%E6%94%AF%E4%BB%98\n", '{"a": 1, "Z": "支付"}\r\n'])
    @pytest.mark.parametrize("way", ["file", "stdin", "dash"])
    def test_a_body_as_it_came(self, body: str, way: str, tmp_path: Path) -> None:
        """A form or a JSON object, from a file or stdin; the last line end is the editor's."""
        path = tmp_path / "message"
        path.write_bytes(body.encode())
        arguments = {"file": [str(path)], "stdin": [], "dash": ["-"]}[way]
        given = None if way == "file" else body.encode()
        told = said(call("sign", *arguments, "--json", env=ENV, input=given))
        assert told["sign"] == signed(CANONICAL)

    def test_another_algorithm_and_order(self) -> None:
        """As the options or the environment say."""
        typed = ("sign", "Z=1", "a=2", "--json", "--order", "ignore-case")
        told = said(call(*typed, env={**ENV, "CHAOYING_ALGORITHM": "SHA256"}))
        assert len(told["sign"]) == 64
        assert told["canonical"] == "a=2&Z=1"
        assert said(call(*typed, "--algorithm", "SHA1", env=ENV))["algorithm"] == "SHA1"

    def test_what_is_personal_is_masked(self) -> None:
        """In both kinds of output; the key is nowhere."""
        typed = ("sign", f"auth_code={AUTH_CODE}", f"openid={OPENID}", "a=1")
        for more in ([], ["--json"]):
            result = call(*typed, *more, env=ENV)
            assert "auth_code=***" in result.stdout
            for secret in (AUTH_CODE, OPENID, KEY):
                assert secret not in result.output

    def test_an_ambiguous_message_is_not_signed(self) -> None:
        """M-04: exit code 5, and why."""
        told = said(call("sign", "attach=x&total_fee=1", "--json", env=ENV))
        assert (told["error"], told["exit"]) == ("AmbiguousSignatureError", 5)

    def test_no_such_file(self) -> None:
        """One line, exit code 2."""
        result = call("sign", "nowhere.txt", env=ENV)
        assert result.exit_code == 2
        assert "nowhere.txt" in result.stderr

    def test_nothing_on_stdin(self) -> None:
        """On a terminal, where nobody would guess that it waits, it says what it wants."""
        seen = on_a_terminal(["sign"], ENV)
        assert "give a message" in seen
        assert seen.endswith("exit code 2")


class TestVerify:
    def test_right(self) -> None:
        """Exit code 0, in either order of names."""
        for canonical in ("Z=1&a=2", "a=2&Z=1"):
            result = call("verify", "a=2", "Z=1", f"sign={signed(canonical)}", env=ENV)
            assert result.exit_code == 0
            assert "right (MD5)" in result.stdout
        told = said(call("verify", "a=1", f"sign={signed('a=1')}", "--json", env=ENV))
        assert told == {"ok": True, "algorithm": "MD5", "fields": ["a", "sign"]}

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            (["a=1", f"sign={'0' * 32}"], "SignatureVerificationError"),
            (["a=1"], "MissingSignatureError"),
            (
                ["attach=x&total_fee=1", f"sign={signed('attach=x&total_fee=1')}"],
                "AmbiguousSignatureError",
            ),
        ],
        ids=["wrong", "missing", "ambiguous"],
    )
    def test_wrong(self, words: list[str], error: str) -> None:
        """Exit code 1, which kind of wrong, and who may know more."""
        told = said(call("verify", *words, "--json", env=ENV))
        assert (told["ok"], told["error"], told["exit"]) == (False, error, 1)
        assert "doctor" in told["next"]

    def test_what_cannot_be_read(self) -> None:
        """That is no verdict about a signature: exit code 5."""
        result = call("verify", env=ENV, input=b"<xml/>")
        assert result.exit_code == 5


class TestDoctor:
    def test_a_mistake_gets_its_name(self) -> None:
        """Signed with an empty value kept: the finding, what to do, exit code 1."""
        made = signed("a=1&b=")
        told = said(call("doctor", "a=1", "b=", f"sign={made}", "--json", env=ENV))
        assert (told["ok"], told["exit"], told["right"]) == (False, 1, False)
        (finding,) = told["findings"]
        assert finding["mistake"] in KINDS
        assert finding["what_to_do"]
        assert told["signed"] == "a=1&b="

    def test_a_right_one(self) -> None:
        """Exit code 0."""
        body = f"a=1&sign={signed('a=1')}\n".encode()
        assert call("doctor", env=ENV, input=body).exit_code == 0

    def test_the_other_sides_sign(self) -> None:
        """--sign: ours is right, why is theirs another one? A key with a line feed."""
        theirs = signed("a=1", f"{KEY}\n")
        told = said(call("doctor", "a=1", "--sign", theirs, "--json", env=ENV))
        assert [each["mistake"] for each in told["findings"]] == ["key-newline"]

    def test_the_agent_is_looked_at_where_it_is_known(self) -> None:
        """With the whole environment, fields that were signed and not sent are found."""
        theirs = signed("a=1&agent_id=77")
        known = {**ENV, "CHAOYING_AGENT_ID": "77", "CHAOYING_PID": "p"}
        told = said(call("doctor", "a=1", "--sign", theirs, "--json", env=known))
        assert [each["mistake"] for each in told["findings"]] == ["field-not-sent"]

    @pytest.mark.parametrize(("lang", "words"), [("en", "signature"), ("zh", "签名")])
    def test_in_two_languages(self, lang: str, words: str) -> None:
        """The same verdict, in English or Chinese, with the text to sign and without the key."""
        body = sign_notification(
            Credentials(agent_id="1", key="another", pid="p"), mch_id="1", openid=OPENID
        )
        result = call("doctor", "--lang", lang, env=ENV, input=body)
        assert result.exit_code == 1
        assert words in result.stdout
        for secret in (KEY, OPENID):
            assert secret not in result.output
        told = said(call("doctor", "--lang", lang, "--json", env=ENV, input=body))
        (finding,) = told["findings"]
        assert finding["what_to_do"] in result.stdout

    def test_strict(self) -> None:
        """A lower-case sign is accepted by us, and perhaps not by a gateway."""
        words = ("doctor", "a=1", f"sign={signed('a=1').lower()}")
        assert call(*words, env=ENV).exit_code == 0
        assert call(*words, "--strict", env=ENV).exit_code == 1

    def test_the_key_may_be_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there is a terminal; blanks around what was typed are no part of it."""
        monkeypatch.setattr(gateway_options, "can_ask", lambda: True)
        result = call("doctor", "a=1", f"sign={signed('a=1')}", "--json", input=f"  {KEY}\n")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["key_length"] == len(KEY)
        assert KEY not in result.output
