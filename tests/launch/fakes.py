"""Hosts that answer at once, and a launch of them in this process."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bootstrap.bugs import BugLog
from bootstrap.hosts import detached
from bootstrap.hosts.base import Result
from bootstrap.launch.board import Board, Row
from bootstrap.launch.fleet import Fleet
from bootstrap.ledger import Ledger
from bootstrap.playbook.runner import Context
from bootstrap.playbook.schema import Playbook
from bootstrap.providers.ec2.api import Aws, AwsError
from bootstrap.providers.ec2.provider import Ec2Provider
from bootstrap.providers.ec2.retries import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bootstrap.launch.host_run import Outcome
    from bootstrap.providers.base import Machine, Request

PLAYBOOK = Playbook.model_validate({"title": "t", "steps": [{"phase": "one", "run": "true"}]})


class FakeHost:
    """A host on which every command succeeds at once."""

    together = 0
    most_together = 0
    _lock = threading.Lock()

    def __init__(self, name: str, target: Any, *, timeouts: Any = None) -> None:
        self.name = name
        self.target = target

    def run(self, argv: Sequence[str], *, on_line: Callable[[str], None] | None = None, **_: Any) -> Result:
        """See `Host.run`."""
        kind = type(self)
        with kind._lock:
            kind.together += 1
            kind.most_together = max(kind.most_together, kind.together)
        try:
            if argv[2:3] == [detached._FOLLOW] and on_line:
                on_line(f"{argv[5]} ended 0")
            return Result(0, "/home/user\nboot\n1.0\n", "", 0.0)
        finally:
            with kind._lock:
                kind.together -= 1

    def connect(self) -> None:
        """See `Host.connect`."""

    def close(self) -> None:
        """See `Host.close`."""

    def abort(self, reason: str) -> None:
        """See `Host.abort`."""

    def put(self, *_: Any) -> None:
        """See `Host.put`."""

    def get(self, *_: Any) -> None:
        """See `Host.get`."""


class BigAws:
    """An account that answers at once and counts, for fleets that are too large for moto. The same calls as `Aws`."""

    region = "us-east-1"
    page = 50  # instances in one answer

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.things: dict[str, dict[str, Any]] = {"key": {}, "group": {}, "instance": {}}
        self.ec2 = SimpleNamespace(**{name: name for name in _OPERATIONS})

    def until(self, _stopped: Callable[[], bool]) -> BigAws:
        """Nothing is waited for here."""
        return self

    def client(self, _service: str, **_: Any) -> Any:
        """Return a client whose calls are names."""
        return SimpleNamespace(
            **dict.fromkeys(("get_caller_identity", "get_parameters", "get_products", "get_service_quota"), "call")
        )

    def ask(self, action: str, _call: str, **_: Any) -> Any:
        """Answer what is asked while planning, and the listing of key pairs."""
        self.calls[action] += 1
        if action in ("GetProducts", "GetServiceQuota"):
            raise AwsError("not here", kind="denied", code="", action=action)
        keys = [*self.things["key"].values()]
        return {"Arn": "arn:aws:iam::1:user/u", "Parameters": [], "KeyPairs": keys}

    ask_aside = ask

    def pages(self, action: str, operation: str, _key: str, **_: Any) -> Iterator[Any]:
        """Answer a listing, page by page."""
        if operation == "describe_instances":
            self.calls["listings"] += 1
            alive = list(self.things["instance"].values())
            for start in range(0, max(1, len(alive)), self.page):
                self.calls[action] += 1
                yield {"Instances": alive[start : start + self.page]}
            return
        self.calls[action] += 1
        known: dict[str, list[Any]] = {
            "describe_instance_types": [{"InstanceType": "t3.micro"}],
            "describe_subnets": [{"AvailabilityZone": "z", "SubnetId": "s", "VpcId": "v"}],
            "describe_instance_type_offerings": [{"InstanceType": "t3.micro", "Location": "z"}],
            "describe_images": [{"ImageId": "ami-1", "Name": "n", "Architecture": "x86_64"}],
            "describe_security_groups": list(self.things["group"].values()),
        }
        yield from known.get(operation, [])

    def change(self, action: str, call: str, *, shown: Any, result: Any = None, token: Any = None, **given: Any) -> Any:
        """Make or remove something."""
        self.calls[action] += 1
        return getattr(self, f"_{call}", lambda **_: {})(**given)

    def _import_key_pair(self, **given: Any) -> Any:
        self.things["key"]["k"] = {"KeyPairId": "k", "KeyName": "k", "Tags": given["TagSpecifications"][0]["Tags"]}

    def _create_security_group(self, **given: Any) -> Any:
        self.things["group"]["g"] = {"GroupId": "g", "Tags": given["TagSpecifications"][0]["Tags"]}
        return {"GroupId": "g"}

    def _run_instances(self, **given: Any) -> Any:
        started = []
        with FakeHost._lock:
            for index in range(given["MaxCount"]):
                number = len(self.things["instance"])
                one = {"InstanceId": f"i-{number}", "AmiLaunchIndex": index, "State": {"Name": "running"}}
                one |= {"PrivateIpAddress": f"10.0.{number // 256}.{number % 256}"}
                one |= {"Tags": given["TagSpecifications"][0]["Tags"], "InstanceType": given["InstanceType"]}
                self.things["instance"][f"i-{number}"] = one
                started.append(one)
        return {"Instances": started}

    def _terminate_instances(self, InstanceIds: list[str]) -> Any:  # noqa: N803  (AWS's own name)
        for one in InstanceIds:
            self.things["instance"][one]["State"] = {"Name": "terminated"}

    def _delete_security_group(self, **_: Any) -> Any:
        assert all(one["State"]["Name"] == "terminated" for one in self.things["instance"].values())
        self.things["group"].clear()

    def _delete_key_pair(self, **_: Any) -> Any:
        self.things["key"].clear()


_OPERATIONS = (
    "import_key_pair",
    "create_security_group",
    "authorize_security_group_ingress",
    "run_instances",
    "terminate_instances",
    "delete_volume",
    "delete_security_group",
    "delete_key_pair",
    "describe_key_pairs",
    "describe_spot_price_history",
)


def launch(
    folder: Path, request: Request, *, sleep: Callable[[float], None], parallel: int = 8, aws: Any = None
) -> Outcome:
    """Plan, start, run and remove, as the verb does it, with hosts that answer at once."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        patient = aws or Aws("us-east-1", patience=Patience(sleep=sleep))
        provider = Ec2Provider(patient, folder / "state", settle=0.0, connect=FakeHost, sleep=sleep)
        plan = provider.plan(request)
        ledger.start_run("ec2", ["launch"], run_id=plan.run_id)

        def context(machine: Machine) -> Context:
            return Context(plan.run_id, {}, {}, folder, folder / machine.name)

        fleet = Fleet(
            provider,
            plan,
            PLAYBOOK,
            ledger,
            board=Board([Row(host.name, host.distro) for host in plan.hosts]),
            context=context,
            bugs=BugLog(folder / "errors.log"),
            parallel=parallel,
        )
        fleet.run()
        return fleet.outcome(fleet.teardown(), stopped=False)
