"""The settings that people have in their environment and in ~/.aws: read as the AWS CLI reads them, or named."""

from __future__ import annotations

import http.server
import json
import string
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore import exceptions

import cli
from bootstrap.providers.ec2.api import Aws, AwsError
from bootstrap.providers.ec2.errors import translate
from tests.launch.scripted import Answer, Scripted, refused
from tests.launch.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.launch.conftest import User

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
ROLE = f"arn:aws:iam::{'1' * 12}:role/trainer"
CONFIG = """
[default]
region = eu-west-1
[profile far]
region = ap-south-1
[profile plain]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with settings in it, and nothing of AWS in the environment but a key."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in {**KEYS, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "given", "expected"),
    [
        ({}, None, "eu-west-1"),
        ({"AWS_REGION": "us-west-2"}, None, "us-west-2"),
        ({"AWS_DEFAULT_REGION": "us-west-1"}, None, "us-west-1"),
        ({"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-1"}, None, "us-west-2"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-1"}, None, "us-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, None, "eu-west-1"),
        ({"AWS_REGION": "us-west-2"}, "sa-east-1", "sa-east-1"),
        ({"AWS_PROFILE": "far"}, None, "ap-south-1"),
        ({"AWS_PROFILE": "far", "AWS_REGION": "us-west-2"}, None, "us-west-2"),
        ({"AWS_DEFAULT_PROFILE": "far"}, None, "ap-south-1"),
        ({"AWS_PROFILE": "far", "AWS_DEFAULT_PROFILE": "default"}, None, "ap-south-1"),
        ({"AWS_PROFILE": "", "AWS_DEFAULT_PROFILE": "far"}, None, "ap-south-1"),
        ({"AWS_PROFILE": ""}, None, "eu-west-1"),
    ],
)
def test_the_region_is_found_as_the_aws_cli_finds_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], given: str | None, expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    aws = Aws(given)
    assert aws.region == expected
    assert aws.ec2.meta.region_name == expected


def test_keys_in_the_environment_count_before_its_profile_and_after_a_named_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the AWS CLI: who names a profile means its credentials."""
    (home / ".aws" / "credentials").write_text("[far]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_PROFILE", "far")
    assert Aws().profile.method == "env"
    assert Aws(profile="far").profile.method == "shared-credentials-file"
    assert Aws(profile="far").region == "ap-south-1"


@pytest.fixture
def metadata() -> Iterator[str]:
    """An EC2 instance's own metadata service, in ap-south-1."""

    class Service(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            found = {"/latest/api/token": "t", "/latest/meta-data/placement/availability-zone/": "ap-south-1a"}
            body = found.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = answer  # noqa: N815  (http.server's names)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_launcher_on_ec2_is_in_its_own_region(home: Path, monkeypatch: pytest.MonkeyPatch, metadata: str) -> None:
    monkeypatch.setenv("AWS_PROFILE", "plain")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata)
    with pytest.raises(AwsError, match="no region is set"):
        Aws()
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    assert Aws().region == "ap-south-1"
    assert Aws("us-west-2").region == "us-west-2"


PROFILES = """
[profile typed]
region = us-east-1
[profile junk]
credential_process = /bin/echo these are no credentials
[profile list]
credential_process = /bin/echo []
[profile gone]
credential_process = /nowhere/helper
[profile fails]
credential_process = /bin/sh -c 'echo warming up >&2; echo your ticket is over >&2; exit 3'
[profile lost]
role_arn = arn:aws:iam::111111111111:role/r
source_profile = nowhere
[profile round]
role_arn = arn:aws:iam::111111111111:role/r
source_profile = circle
[profile circle]
role_arn = arn:aws:iam::111111111111:role/r
source_profile = round
[profile sso]
sso_session = work
sso_account_id = 111111111111
sso_role_name = trainer
[profile "old sso"]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 111111111111
sso_role_name = trainer
[profile through]
role_arn = arn:aws:iam::111111111111:role/r
source_profile = sso
[profile torn]
sso_session = another
sso_account_id = 111111111111
sso_role_name = trainer
[profile human]
login_session = arn:aws:iam::111111111111:user/me
[sso-session work]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access
"""
EXPORT = 'eval "$(aws configure export-credentials --profile {} --format env)"'


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("type", "there is no AWS profile type (did you mean typed?)"),
        ("zzz", "there is no AWS profile zzz (there are circle, "),
        ("junk", "the credential_process of profile junk did not print credentials as JSON"),
        ("list", "the credential_process of profile list did not print credentials as JSON"),
        ("gone", "the credential_process of profile gone cannot be run: No such file or directory"),
        ("fails", "profile fails: no credentials from custom-process: your ticket is over"),
        ("lost", "the credentials of profile lost cannot be had"),
        ("round", "the credentials of profile round cannot be had: Infinite loop"),
        ("sso", "the SSO login of profile sso is over, or was never made (aws sso login --profile sso)"),
        ("old sso", "the SSO login of profile old sso is over, or was never made (aws sso login --profile 'old sso')"),
        ("through", "the SSO login of profile through is over, or was never made (aws sso login --profile sso)"),
        ("torn", 'the credentials of profile torn cannot be had: The specified sso-session does not exist: "another"'),
        ("human", f"botocore[crt] (pip install 'botocore[crt]' beside this, or {EXPORT.format('human')})"),
        ("typed", "no credentials are found (set AWS_PROFILE, or run aws configure)"),
    ],
)
def test_a_profile_that_gives_no_credentials_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], profile: str, words: str
) -> None:
    (home / ".aws" / "config").write_text(PROFILES)
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert cli.run(["ps", "--profile", profile]) == 9
    monkeypatch.setenv("AWS_PROFILE", profile)
    assert cli.run(["ps"]) == 9
    by_option, by_variable = capfd.readouterr().err.splitlines()
    assert words in by_option
    assert by_variable == by_option


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello\n", "config, line 1: this is no file of AWS settings (sections are [default] or [profile NAME]"),
        (b"[default]\nregion = a\nregion = b\n", "config, line 3: this is no file"),
        (b"[default]\nhunter2\n", "config, line 2: this is no file"),
        (b"\xef\xbb\xbf[default]\nregion = eu-west-1\n", "in UTF-8 without a mark)"),
        ("[default]\nregion = eu-west-1\n".encode("utf-16"), "config: this is no file of AWS settings"),
    ],
)
@pytest.mark.parametrize("verb", [["ps"], ["plan", "--region", "us-east-1"], ["down", "--all"], ["ssh", "rhel-1"]])
def test_a_file_of_settings_that_cannot_be_read_is_named_and_not_shown(
    home: Path, capfd: pytest.CaptureFixture[str], content: bytes, words: str, verb: list[str]
) -> None:
    (home / ".aws" / "config").write_bytes(content)
    assert cli.run(verb) == 9
    (said,) = capfd.readouterr().err.splitlines()
    assert words in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_REGION": "us east 1"}, "'us east 1' is no region's name (write it as in us-east-1)"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9"}, "Invalid endpoint: 127.0.0.1:9 (AWS_ENDPOINT_URL, and its like, begin"),
        ({"AWS_CA_BUNDLE": "/nowhere/ca.pem"}, "the certificates to trust cannot be read (check AWS_CA_BUNDLE"),
        ({"HTTPS_PROXY": "socks5://127.0.0.1:9"}, "socks5://127.0.0.1:9 is a SOCKS proxy, and boto3 takes none"),
        ({"HTTPS_PROXY": "http://proxy:port"}, "the proxy's address cannot be read (check HTTPS_PROXY"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "half of the credentials is missing: AWS_SECRET_ACCESS_KEY"),
        ({"AWS_REGION": "eu-mars-1"}, "there is no region eu-mars-1, as far as boto3 knows (check --region"),
    ],
)
def test_a_setting_that_cannot_work_is_named_at_once(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variables: dict[str, str],
    words: str,
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv(
        "AWS_ENDPOINT_URL", "https://127.0.0.1:9" if "HTTPS_PROXY" not in variables else "https://x.test"
    )
    if "AWS_CA_BUNDLE" in variables:
        server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{server.server_port}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.run(["ps"]) == 9
    (said,) = capfd.readouterr().err.splitlines()
    assert words in said
    if "AWS_CA_BUNDLE" in variables:
        server.server_close()


@pytest.mark.parametrize(
    ("proxy", "kind"),
    [
        ("http://me:hunter2@127.0.0.1:9", "network"),
        ("socks5://me:hunter2@127.0.0.1:9", "settings"),
        ("socks5h://me:hunter2@127.0.0.1:9", "settings"),
        ("http://me:hunter2/x@127.0.0.1:9", "settings"),
    ],
)
def test_the_password_of_a_proxy_is_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, kind: str
) -> None:
    from bootstrap.providers.ec2.retries import Patience

    monkeypatch.setenv("HTTPS_PROXY", proxy)
    said: list[str] = []
    aws = Aws("us-east-1", patience=Patience(stopped=lambda: True, say=said.append))
    with pytest.raises(AwsError, match="proxy") as caught:
        aws.ask("DescribeRegions", aws.ec2.describe_regions)
    assert caught.value.kind == kind
    assert "hunter2" not in f"{caught.value} {said}"


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
def test_a_line_break_in_a_key_is_named_and_the_key_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """As from `$(cat file)` in a .env file, or a line end of Windows'."""
    monkeypatch.setenv(name, "hunter2\n")
    with Scripted(lambda _: Answer()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        assert cli.run(["ps"]) == 9
    said = capfd.readouterr().err
    assert said == (
        "charrnn-bootstrap: a key or token of the environment cannot be sent: it has a line break in it "
        "(take that out where it is set)\n"
    )


def known_errors() -> list[Any]:
    """One of each error that boto3 has, but for that of its waiters, which are not used here."""
    kinds = [one for one in vars(exceptions).values() if isinstance(one, type) and issubclass(one, Exception)]
    own = [one for one in kinds if issubclass(one, exceptions.BotoCoreError) and one is not exceptions.WaiterError]
    made = []
    for kind in own:
        names = {name for _, name, _, _ in string.Formatter().parse(kind.fmt) if name}
        made.append(kind(**dict.fromkeys(names, "x")))
    return made


def test_every_error_of_boto3s_is_told(home: Path) -> None:
    """None has its words, or what is made of them, missing; those about a login name the command that renews it."""
    profile = Aws("us-east-1").profile
    for error in known_errors():
        found = translate(error, "DescribeRegions", "us-east-1", profile)
        assert str(found).isprintable(), error
        if isinstance(error, exceptions.SSOError):
            assert (found.kind, found.remedy) == ("credentials", "aws sso login --profile default")
        if isinstance(error, exceptions.LoginError):
            assert (found.kind, found.remedy) == ("credentials", "aws login --profile default")


VERBS = [
    ["plan", "--distros", "amazon", "--ssh-from", "192.0.2.7"],
    ["launch", "--dry-run", "--distros", "amazon", "--ssh-from", "192.0.2.7"],
    ["ps"],
    ["down", "--all", "--settle", "0"],
    ["sweep", "--settle", "0"],
    ["ssh-config"],
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: str(verb[0]))
def test_aws_region_is_enough_for_every_verb(
    clerk: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    clerk.variables = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": None}
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    for name, value in clerk.environment().items():
        monkeypatch.setenv(name, value)
    assert cli.run(verb) == 0, capsys.readouterr().err
    assert "GetCallerIdentity" in clerk.cloud.faults.calls


def test_endpoints_of_single_services_are_taken(clerk: User) -> None:
    url = clerk.cloud.url
    clerk.variables = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_EC2": url,
        "AWS_ENDPOINT_URL_STS": url,
    }
    done = clerk.run("ps", "--region", "us-east-1")
    assert done.returncode == 0, done.stderr


def test_an_expired_sso_login_names_the_command_that_renews_it(clerk: User) -> None:
    """The login is in the cache, and over; nothing is asked of AWS's identity centre without a way to renew it."""
    import hashlib

    folder = clerk.home / ".aws"
    (folder / "sso" / "cache").mkdir(parents=True)
    (folder / "config").write_text(PROFILES)
    token = {
        "startUrl": "https://example.awsapps.com/start",
        "region": "us-east-1",
        "accessToken": "hunter2",
        "expiresAt": (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    name = hashlib.sha1(b"work", usedforsecurity=False).hexdigest()
    (folder / "sso" / "cache" / f"{name}.json").write_text(json.dumps(token))
    clerk.variables = {**dict.fromkeys(KEYS), "AWS_PROFILE": "through"}
    done = clerk.run("down", "--all", "--yes")
    assert done.returncode == 9
    assert done.stderr == (
        "charrnn-bootstrap: the SSO login of profile through is over, or was never made (aws sso login --profile sso)\n"
    )


def mfa(user: User) -> None:
    folder = user.home / ".aws"
    folder.mkdir(parents=True)
    (folder / "credentials").write_text("[base]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    (folder / "config").write_text(
        f"[profile careful]\nrole_arn = {ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::{'1' * 12}:mfa/me\n"
        "region = us-east-1\n"
    )
    user.variables = {**dict.fromkeys(KEYS), "AWS_DEFAULT_REGION": None}


@pytest.mark.parametrize("piped", [None, "123456\n"])
def test_an_mfa_code_is_not_asked_for_without_a_terminal(clerk: User, piped: str | None) -> None:
    import subprocess

    mfa(clerk)
    done = subprocess.run(
        ["setsid", *clerk.argv("ps", "--profile", "careful")],
        env=clerk.environment(),
        input=piped,
        stdin=subprocess.DEVNULL if piped is None else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 9
    assert done.stderr == (
        "charrnn-bootstrap: profile careful asks for an MFA code, and there is no terminal to ask on "
        f"(run it on a terminal, or {EXPORT.format('careful')})\n"
    )
    assert "AssumeRole" not in clerk.cloud.faults.calls


def test_an_mfa_code_is_asked_for_once_for_all_regions(clerk: User) -> None:
    mfa(clerk)
    with Terminal(clerk, "ps", "--profile", "careful") as terminal:
        terminal.until("Enter MFA code for arn:aws:iam::111111111111:mfa/me: ")
        terminal.type("123456\r")
        assert terminal.end() == 0, terminal.shown
    assert "Nothing of yours is in the cloud" in terminal.shown
    assert terminal.shown.count("Enter MFA code") == 1
    assert clerk.cloud.faults.counted()["AssumeRole"] == 1
    assert clerk.cloud.faults.counted()["DescribeInstances"] > 10, "every region"


def test_a_wrong_mfa_code_is_said_to_be(clerk: User) -> None:
    mfa(clerk)
    clerk.cloud.faults.add("AssumeRole", "AccessDenied", "MultiFactorAuthentication failed", status=403)
    with Terminal(clerk, "ps", "--profile", "careful") as terminal:
        terminal.until("Enter MFA code for")
        terminal.type("000000\r")
        assert terminal.end() == 9, terminal.shown
    assert "AssumeRole: AccessDenied: MultiFactorAuthentication failed (the role of profile careful" in (
        " ".join(terminal.shown.split())
    )


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (17, "this machine's clock is 17 minutes behind AWS's (set the clock"),
        (-90, "this machine's clock is 90 minutes ahead of AWS's (set the clock"),
        (0, "Signature expired (check the credentials"),
    ],
)
def test_a_clock_that_is_off_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, words: str) -> None:
    """By the date of AWS's own answer: the codes for it are several, and mean other things too."""
    theirs = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    refusal = Answer(403, refused("SignatureDoesNotMatch", "Signature expired"), {"Date": theirs})
    with Scripted(lambda _: refusal) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        aws = Aws("us-east-1")
        with pytest.raises(AwsError) as caught:
            aws.ask("GetCallerIdentity", aws.client("sts").get_caller_identity)
    assert words in str(caught.value)
