"""The command line around its commands: help, exit codes, keys, and what is missing."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from chaoying_async import Credentials, GatewaySession, Hosts, Pay
from chaoying_async import exceptions as errors
from chaoying_async.cli import gateway_options, main, output
from chaoying_async.cli.command_line import chaoying
from chaoying_async.cli.exits import Exit, after_error
from chaoying_async.cli.fields import VARIABLES
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import field_specs
from chaoying_async.sansio.api.field_rules import AmountRule
from tests.cli.processes import begun, on_a_terminal, sandbox
from tests.cli_calls import NOTHING, PROGRAM, ROOT, Running, call, commands, environment
from tests.sizes import cases

KEY = "a-key-that-shows-nowhere"
WHO: dict[str, str | None] = {"CHAOYING_AGENT_ID": "1", "CHAOYING_PID": "p"}
NOBODY = "http://127.0.0.1:9"


#: Commands that are wrong, each in another way.
WRONG: list[list[str]] = [
    [],
    ["nothing"],
    ["sandbox", "--port", "65536"],
    ["sandbox", "--port", "x"],
    ["sandbox", "--speed", "0"],
    ["sandbox", "--fault", "meteor"],
    ["demo", "--payments", "0"],
    ["send", "robbery"],
    ["query"],
    ["query", "A1", "--transaction-id", "2"],
    ["refund-query"],
    ["trigger"],
    ["trigger", "pays", "A1"],
    ["resend", "--url", NOBODY],
    ["trigger", "fault", "--url", NOBODY],
    ["listen", "--forward", "nowhere"],
    ["query", "A1", "--url", "http://[", "--pid", "p", "--agent-id", "1"],
    ["sign", "a", "b"],
    ["sign", "a=1", "a=2"],
]


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        WRONG,
        ids=str,
    )
    def test_a_wrong_command_is_status_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And the usage is shown on stderr, nothing on stdout."""
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert "Usage: chaoying" in captured.err
        assert captured.out == ""

    @pytest.mark.parametrize("arguments", WRONG[1:], ids=str)
    def test_a_program_is_told_in_json(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One object on stdout and nothing on stderr, with the same exit code."""
        assert main([*arguments, "--json"]) == 2
        captured = capsys.readouterr()
        (line,) = captured.out.splitlines()
        told = json.loads(line)
        assert (told["ok"], told["error"], told["exit"]) == (False, "UsageError", 2)
        assert told["message"]
        assert told["next"].startswith("chaoying")
        assert captured.err == ""

    def test_json_behind_two_dashes_is_a_word(self, capsys: pytest.CaptureFixture[str]) -> None:
        """What stands behind -- is no option, here as everywhere."""
        assert main(["query", "--", "--json", "x"]) == 2
        assert "Usage: chaoying query" in capsys.readouterr().err

    @pytest.mark.parametrize("command", [["nothing"], ["--nothing"], ["query", "--nothing"]])
    def test_json_is_known_before_the_words_are_understood(
        self, command: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where the mistake stands before --json, or on the program itself."""
        assert main([*command, "--json"]) == 2
        told = json.loads(capsys.readouterr().out)
        assert "nothing" in told["message"]

    def test_help_has_the_words_of_the_fields(self) -> None:
        """The same ones as in editors and docs, with the unit, in both languages."""
        refund = "".join(call("send", "refund", "--help").stdout.split())
        assert "Whatistogoback,infen" in refund
        assert "（申请退款金额，单位分，响应中为base_refund_fee）" in refund
        assert "CHAOYING_AGENT_ID" in refund
        query = "".join(call("query", "--help").stdout.split())
        assert "（平台交易号，与商户订单号至少一个）" in query
        assert "Leftout,eachwalletisaskedinturn" in query

    @pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
    def test_help_says_how_an_amount_is_written_and_what_stands_in(self, kind: Any) -> None:
        """12.30 is yuan, 1230 fen; a number left out comes from a variable, if from anywhere."""
        told = "".join(call("send", kind.endpoint.name, "--help").stdout.split())
        amounts = [each for each in field_specs(kind) if isinstance(each.rule, AmountRule)]

        assert told.count("Digitsarefen,withadecimalpointyuan:1230or12.30.") == len(amounts)
        for name, variable in VARIABLES.items():
            if name in kind.needed:
                assert f"(onthecommandline:{variable})." in told
                assert f"(required,or{variable})" in told

    @pytest.mark.parametrize("command", [[], *([each] for each in commands())], ids=str)
    def test_every_command_has_its_help(self, command: list[str]) -> None:
        """-h and --help, in any terminal."""
        for option in ("-h", "--help"):
            result = call(*command, option)
            assert result.exit_code == 0
            assert result.stdout.startswith("Usage: chaoying")

    def test_the_list_of_commands_is_whole(self) -> None:
        """Those that the issue names, each with a line about it."""
        wanted = {
            *("sandbox", "demo", "doctor", "check", "sign", "verify", "send", "query"),
            *("refund-query", "listen", "trigger", "resend"),
        }
        assert wanted <= set(commands())
        assert wanted <= set(call("--help").stdout.split())

    def test_every_error_of_ours_has_an_exit_code(self) -> None:
        """And the next step: nobody has to guess what 3 means."""
        codes = {}
        for name, kind in vars(errors).items():
            if isinstance(kind, type) and issubclass(kind, errors.ChaoyingError):
                codes[name], _ = after_error(kind.__new__(kind))
        assert codes["OutcomeUnknownError"] is Exit.UNKNOWN
        assert codes["RequestNotSentError"] is Exit.UNREACHED
        assert codes["SignatureVerificationError"] is Exit.UNTRUSTED
        assert codes["TradePendingError"] is Exit.PENDING
        assert codes["OrderNotFoundError"] is codes["TradeFailedError"] is Exit.REFUSED
        assert codes["ParameterError"] is codes["SessionClosedError"] is Exit.USAGE
        assert codes["GatewayUnavailableError"] is Exit.UNREACHED
        assert codes["ChaoyingError"] is Exit.REFUSED

    def test_what_came_from_outside_moves_no_cursor(self) -> None:
        """Control characters in a gateway's message are not passed to a terminal."""
        assert output.printable("paid\x1b[2J\r\nA1 支付") == "paid�[2J��A1 支付"


class TestMissing:
    @pytest.mark.parametrize("module", ["click", "rich"])
    def test_a_missing_extra_is_told(self, module: str) -> None:
        """One line that says what to install, whatever is missing of it."""
        code = (
            f"import sys; sys.modules[{module!r}] = None\n"
            "from chaoying_async.cli import main\n"
            "sys.exit(main(['sign', 'a=1']))"
        )
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment({**NOTHING, "CHAOYING_KEY": KEY}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 2
        (line,) = run.stderr.splitlines()
        assert "pip install 'chaoying-async[" in line

    def test_a_command_that_serves_names_its_own_extra(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without uvicorn there is one line that says what to install."""
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        assert main(["sandbox"]) == 2
        assert "chaoying-async[sandbox]" in capsys.readouterr().err

    def test_other_missing_modules_are_no_missing_extra(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A defect of ours is not taken for a package to install."""
        monkeypatch.setitem(sys.modules, "chaoying_async.cli.command_line", None)
        with pytest.raises(ModuleNotFoundError):
            main(["sign"])
        monkeypatch.undo()
        monkeypatch.setitem(sys.modules, "chaoying_async.cli.commands.sign", None)
        with pytest.raises(ModuleNotFoundError):
            main(["sign"])

    def test_a_taken_port_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        """In one line, with the port and the remedy; exit code 2, and no traceback."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert main(["sandbox", "--port", str(port)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"port {port} of 127.0.0.1 is in use" in line
        assert "take another port" in line

    def test_an_interrupt_is_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As shells expect of what Ctrl-C ended."""

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(gateway_options, "key", interrupted)
        assert main(["sign", "a=1"]) == 130


class TestKeys:
    """M-27: from the environment or a prompt, and shown nowhere."""

    def test_from_the_environment(self) -> None:
        """CHAOYING_KEY signs; it is not in what is said."""
        result = call("sign", "a=1", env={"CHAOYING_KEY": KEY})
        assert result.exit_code == 0
        assert KEY not in result.output

    @pytest.mark.parametrize("command", ["sign", "verify", "doctor", "check", "query", "listen"])
    @pytest.mark.parametrize("option", [["--key", KEY], [f"--key={KEY}"]], ids=["apart", "joined"])
    def test_never_from_an_option(self, command: str, option: list[str]) -> None:
        """The shell would remember it; the refusal says where it belongs, and not the key."""
        result = call(command, *option, env={"CHAOYING_MCH_ID": "1"})
        assert result.exit_code == 2
        assert "never an option" in result.stderr
        assert KEY not in result.output

    def test_nor_as_a_field(self) -> None:
        """``key=...`` among the fields is refused without being repeated."""
        result = call("sign", "a=1", f"key={KEY}")
        assert result.exit_code == 2
        assert KEY not in result.output

    def test_where_nobody_can_be_asked_that_is_said(self) -> None:
        """No prompt into the void, and no key from a pipe that holds the message."""
        result = call("sign", "a=1")
        assert result.exit_code == 2
        assert "CHAOYING_KEY is not set" in result.stderr

    def test_every_variable_that_is_missing_is_named(self) -> None:
        """All in one message."""
        result = call("query", "A1", "--url", NOBODY, env={"CHAOYING_KEY": KEY})
        assert result.exit_code == 2
        assert "CHAOYING_AGENT_ID" in result.stderr
        assert "CHAOYING_PID" in result.stderr

    def test_a_person_is_asked_and_what_they_type_is_not_shown(self) -> None:
        """A real terminal: the prompt comes, the key is not echoed, the sign is right."""
        seen = on_a_terminal(["sign", "a=1"], NOTHING, typed=KEY)
        assert "Key" in seen
        assert KEY not in seen
        expected = json.loads(call("sign", "a=1", "--json", env={"CHAOYING_KEY": KEY}).stdout)
        assert expected["sign"] in seen
        assert seen.endswith("exit code 0")


class TestSandbox:
    @pytest.mark.parametrize("as_json", cases([False], more=[True]))
    async def test_it_serves_until_it_is_told_to_stop(self, *, as_json: bool) -> None:
        """It says where it is and with which key; SIGTERM ends it with status 0."""
        options = ["--seed", "1", *(["--json"] if as_json else [])]
        process = begun("sandbox", *options, env=environment({}), stderr=2)
        told: dict[str, str] = {}
        while "mch_id" not in told:
            line = process.stdout.readline()
            assert line, "it ended before it was ready"
            if as_json:
                told = json.loads(line)
            elif len(words := line.split()) == 2:
                told[words[0]] = words[1]
        made = Credentials(agent_id=told["agent_id"], key=told["key"], pid=told["pid"])
        pay = Pay(out_trade_no="A100011", body="b", total_fee=1000, auth_code="13" + "0" * 16)
        async with GatewaySession(
            made, mch_id=told["mch_id"], hosts=Hosts.single(told["url"])
        ) as session:
            assert (await session.send(pay)).unwrap().base_fee == 1000
        with process:
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 0

    def test_the_list_of_scenarios(self) -> None:
        """Everything that can be made to happen, without starting anything."""
        result = call("sandbox", "--scenarios")
        assert result.exit_code == 0
        assert "second-query" in result.stdout
        assert "reset-after" in result.stdout

    def test_the_list_of_scenarios_for_a_program(self) -> None:
        """Number to name and words, wherever --json stands."""
        for words in (("--scenarios", "--json"), ("--json", "--scenarios")):
            told = json.loads(call("sandbox", *words).stdout)
            assert told["payments"]["403"]["name"] == "second-query"
            assert told["refunds"]["503"]["name"] == "notsure"
            assert "reset-after" in told["faults"]

    def test_its_options_reach_it(self) -> None:
        """A seed, a fault, another world: the same seed has the same key; the fault strikes."""
        with sandbox("--seed", "7", "--fault", "cancel/http-502") as one:
            assert one.told["console"] == f"{one.url}/console/"
            assert httpx.get(one.told["console"], trust_env=False, timeout=60).status_code == 200
            result = one.call("send", "cancel", "out_trade_no=A100011", "paytype=WECHAT", "--yes")
            assert result.exit_code == Exit.UNKNOWN
            assert "502" in result.stderr
            key = one.told["key"]
        options = ("--seed", "7", "--ignore-case", "--unsigned-failures", "--no-console")
        with sandbox(*options) as other:
            assert other.told["key"] == key
            told = other.ask("check")
            assert (told["sort_order"], told["failures_signed"]) == ("IGNORE_CASE", False)
            assert "console" not in other.told
            console = f"{other.url}/console/"
            assert httpx.get(console, trust_env=False, timeout=60).status_code == 404

    def test_other_machines_need_a_token(self) -> None:
        """Bound to all addresses, what is not the gateway's own asks for the token."""
        env: dict[str, str | None] = {"CHAOYING_SANDBOX_TOKEN": "a-token-of-the-tests-0001"}
        with sandbox("--host", "0.0.0.0", env=env) as running:  # noqa: S104 - that is the point
            port = running.url.rpartition(":")[2]
            there = Running(url=f"http://127.0.0.1:{port}", told=running.told)
            calm = ("trigger", "calm", "--url", there.url)
            assert there.call(*calm, env=env).exit_code == 0
            console = f"{there.url}/console/"
            assert httpx.get(console, trust_env=False, timeout=60).status_code in {303, 401}
            for wrong in ({"CHAOYING_SANDBOX_TOKEN": "guessed"}, {"CHAOYING_SANDBOX_TOKEN": None}):
                assert there.call(*calm, env=wrong).exit_code == 2
        short = call("sandbox", "--host", "0.0.0.0", env={"CHAOYING_SANDBOX_TOKEN": "short"})  # noqa: S104
        assert short.exit_code == 2
        assert "characters" in short.stderr


def test_the_runner_is_the_programs_own_way() -> None:
    """``python -m chaoying_async`` and the installed script end with the same codes."""
    run = subprocess.run(
        [*PROGRAM, "verify", "a=1", "sign=0"],
        cwd=ROOT,
        env=environment({**NOTHING, "CHAOYING_KEY": KEY}),
        capture_output=True,
        text=True,
        check=False,
    )
    ours = CliRunner().invoke(chaoying, ["verify", "a=1", "sign=0"], env={"CHAOYING_KEY": KEY})
    assert run.returncode == ours.exit_code == 1
