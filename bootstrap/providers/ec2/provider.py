"""EC2 as a source of hosts: a thin adapter over boto3. What is decided is decided in `plan`.

RunInstances takes one text of user data, so hosts that are started by one call share a host key. A key for each call
is made before it; up to five replicas a distro every call starts one host, and every host has a key of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bootstrap.errors import ProviderError
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost, Timeouts
from bootstrap.launch import state
from bootstrap.providers.base import Machine, PlanError
from bootstrap.providers.ec2 import keys, network, tags, teardown
from bootstrap.providers.ec2 import plan as ec2_plan
from bootstrap.providers.ec2 import schedule as order
from bootstrap.providers.ec2 import user_data as userdata
from bootstrap.providers.ec2.api import Aws, AwsError
from bootstrap.providers.ec2.journal import LedgerJournal
from bootstrap.providers.ec2.prices import BURSTABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bootstrap.hosts.base import Host
    from bootstrap.ledger import Ledger
    from bootstrap.providers.base import Plan, Remains, Request, Watcher
    from bootstrap.providers.ec2.plan import Ec2Plan

_CALLS_AT_ONCE = 4
_READY_WITHIN = 600.0  # seconds from the call until an instance runs and has an address


class Ec2Provider:
    """Starts instances, and removes them. `folder` keeps the run's private key, readable by its owner only."""

    kind = "ec2"
    makes_hosts = True

    def __init__(
        self,
        aws: Aws,
        folder: Path,
        *,
        settle: float = teardown.SETTLE,
        connect: Callable[..., Host] = SSHHost,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws = self._making = aws
        self._folder = folder
        self._settle = settle
        self._connect = connect
        self._now, self._sleep = now, sleep
        self._host_keys: dict[str, keys.KeyPair] = {}
        self._machines: dict[str, Machine] = {}  # by instance id
        self._attempts = 0
        self._lock = threading.Lock()
        self._group = ""
        self._quota: AwsError | None = None
        self._ssh_timeout = 300.0

    def complete(self, request: Request) -> Request:
        """Fill in from where SSH is let in: from this machine's address. Raises PlanError where that is not known."""
        return request if request.ssh_from else dataclasses.replace(request, ssh_from=network.own_address())

    def plan(self, request: Request) -> Ec2Plan:
        """See `Provider.plan`."""
        self._ssh_timeout = request.ssh_timeout or self._ssh_timeout
        return ec2_plan.decide(self._aws, request)

    def create(self, plan: Plan, watcher: Watcher, names: Sequence[str] | None = None) -> None:
        """See `Provider.create`. Raises AwsError when what all hosts need cannot be made."""
        assert isinstance(plan, ec2_plan.Ec2Plan)  # noqa: S101  (its own plan comes back)
        self._making = self._aws.until(lambda: watcher.stopped)
        batches = _batches(plan, names)
        if not self._group:
            self._prepare(plan)
        waiting: dict[str, str] = {}  # instance id: host name
        for number in sorted({batch.round for batch in batches}):
            with ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="create") as pool:
                for started in pool.map(
                    lambda batch: self._start(plan, batch, watcher), [one for one in batches if one.round == number]
                ):
                    waiting |= started
        self._await(plan, waiting, watcher)

    def look(self, plan: Plan) -> list[Machine]:
        """See `Provider.look`."""
        found = teardown.instances(self._making, plan.run_id)
        return [self._seen(one) if one.id in self._machines else machine_of(one) for one in found]

    def destroy(self, plan: Plan) -> Remains:
        """See `Provider.destroy`."""
        scope = teardown.Scope(runs=frozenset({plan.run_id}))
        return teardown.destroy(self._aws, scope, settle=self._settle, now=self._now, sleep=self._sleep)

    def gone(self, machine: Machine) -> ProviderError:
        """See `Provider.gone`."""
        if "Spot" in machine.reason:
            words, kind, remedy = "AWS took the spot instance back", "spot", "--retry-spot N starts another"
        elif "InstanceInitiatedShutdown" in machine.reason:
            words, kind, remedy = "the instance ended itself: its time was over", "ended", "--max-hours gives it more"
        else:
            words, kind, remedy = f"the instance is {machine.state}: {machine.reason or 'no reason given'}", "ended", ""
        return AwsError(f"{machine.name}: {words}", kind=kind, code=machine.reason, action="", remedy=remedy)

    def _prepare(self, plan: Ec2Plan) -> None:
        """Make what the run's hosts share: a key pair and a security group."""
        if plan.ssh_from is None:
            raise PlanError("it is not known from where SSH is to be let in", remedy="give it: --ssh-from ADDRESS")
        common = tags.for_run(plan.run_id, plan.owner, plan.expires, plan.name)
        name = f"charrnn-bootstrap-{plan.run_id}"
        pair = keys.make()
        keys.store(pair, self._folder / "key")
        self._once(
            "ImportKeyPair",
            self._making.ec2.import_key_pair,
            shown={"KeyName": name},
            KeyName=name,
            PublicKeyMaterial=pair.public.encode(),
            TagSpecifications=[tags.specification("key-pair", common)],
        )
        made = self._once(
            "CreateSecurityGroup",
            self._making.ec2.create_security_group,
            shown={"GroupName": name},
            GroupName=name,
            Description=f"SSH to the hosts of run {plan.run_id} of charrnn-bootstrap",
            VpcId=plan.places[0].vpc,
            TagSpecifications=[tags.specification("security-group", common)],
        )
        group = made["GroupId"] if made else self._making.again(lambda: self._group_of(plan))
        version = {"CidrIpv6": plan.ssh_from} if ":" in plan.ssh_from else {"CidrIp": plan.ssh_from}
        ranges = {"Ipv6Ranges" if ":" in plan.ssh_from else "IpRanges": [version]}
        self._once(
            "AuthorizeSecurityGroupIngress",
            self._making.ec2.authorize_security_group_ingress,
            shown={"GroupId": group, "From": plan.ssh_from},
            GroupId=group,
            IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}],
        )
        self._group = group

    def _once(self, action: str, call: Callable[..., Any], *, shown: dict[str, Any], **parameters: Any) -> Any:
        """Make a thing; None when it is there already, because an answer that got lost was asked for again."""
        try:
            return self._making.change(action, call, shown=shown, **parameters)
        except AwsError as error:
            if error.kind == "duplicate":
                return None
            raise

    def _group_of(self, plan: Ec2Plan) -> str:
        found = teardown.look(self._making, teardown.Scope(runs=frozenset({plan.run_id})))
        group = next((thing.id for thing in found if thing.kind == "security groups"), None)
        if group is None:
            message = f"the security group of run {plan.run_id} was made, and is not listed yet"
            raise AwsError(message, kind="transient", code="", action="DescribeSecurityGroups")
        return group

    def _start(self, plan: Ec2Plan, batch: order.Batch, watcher: Watcher) -> dict[str, str]:
        """Start a batch where there is room; return its instances' ids and names. What fails is told to `watcher`."""
        stopped = ProviderError("not started: the run was stopped") if watcher.stopped else None
        error: ProviderError | None = stopped or self._quota
        if error is None:
            try:
                return self._start_somewhere(plan, batch, watcher)
            except ProviderError as refused:
                error = refused
        if isinstance(error, AwsError) and error.kind == "quota":
            self._quota = error
        for name in batch.names:
            watcher.failed(name, error)
        return {}

    def _start_somewhere(self, plan: Ec2Plan, batch: order.Batch, watcher: Watcher) -> dict[str, str]:
        refused: AwsError | None = None
        for offer in plan.offers:
            try:
                return self._run(plan, batch, offer, watcher)
            except AwsError as error:
                if error.kind != "capacity":
                    raise
                refused = error
                for name in batch.names:
                    watcher.note(name, f"no capacity for {offer[0]} in {offer[1]}")
                if watcher.stopped:
                    break
        if batch.count > 1:  # room for some, perhaps, where there is none for all
            half = batch.count // 2
            parts = (
                order.Batch(batch.distro, batch.label, batch.first, half, batch.round),
                order.Batch(batch.distro, batch.label, batch.first + half, batch.count - half, batch.round),
            )
            return {k: v for part in parts for k, v in self._start(plan, part, watcher).items()}
        assert refused is not None  # noqa: S101  (there is at least one offer)
        raise refused

    def _run(self, plan: Ec2Plan, batch: order.Batch, offer: tuple[str, str], watcher: Watcher) -> dict[str, str]:
        """Call RunInstances; a call that is made again, as AWS is busy or broken, has the same token."""
        pair = keys.make()
        parameters = run_parameters(plan, batch, offer, self._group, pair)
        try:
            answer = self._run_once(parameters, self._token(plan, batch))
        except AwsError as error:
            if error.kind != "spent-token":
                raise
            answer = self._run_once(parameters, self._token(plan, batch))
        started = {}
        for one in answer["Instances"]:
            name = batch.names[min(one.get("AmiLaunchIndex", 0), batch.count - 1)]
            self._host_keys[one["InstanceId"]] = pair
            facts = self._facts(plan, batch, one)
            machine = Machine(plan.run_id, name, batch.distro, one["InstanceId"], "pending", facts=facts)
            self._machines[machine.id] = machine
            started[machine.id] = name
            watcher.created(machine)
        return started

    def _run_once(self, parameters: dict[str, Any], token: str) -> Any:
        shown = {key: value for key, value in parameters.items() if key not in ("UserData", "TagSpecifications")}
        return self._making.change(
            "RunInstances",
            self._making.ec2.run_instances,
            shown=shown,
            token=token,
            result=lambda answer: [one["InstanceId"] for one in answer["Instances"]],
            ClientToken=token,
            **parameters,
        )

    def _token(self, plan: Ec2Plan, batch: order.Batch) -> str:
        """Return a new token for each attempt with its own parameters; retries of one attempt use the same."""
        with self._lock:
            self._attempts += 1
            text = f"{plan.run_id}/{batch.label}/{batch.first}+{batch.count}/{self._attempts}"
        return f"{plan.run_id}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"

    def _facts(self, plan: Ec2Plan, batch: order.Batch, one: Any) -> dict[str, Any]:
        system = plan.system(batch.distro)
        return {
            "instance.type": one.get("InstanceType"),
            "image.id": system.image.id,
            "image.name": system.image.name,
            "image.source": system.image.source,
            "zone": one.get("Placement", {}).get("AvailabilityZone"),
            "region": self._aws.region,
            "volume.gib": system.volume_gib,
            "launch.round": batch.round,
            "launch.hosts_in_call": batch.count,
            "spot": plan.spot,
        }

    def _await(self, plan: Ec2Plan, waiting: dict[str, str], watcher: Watcher) -> None:
        """Look, with one listing for all, until each instance runs and has an address, or is gone."""
        begun, pause = self._now(), 0.5
        while waiting and not watcher.stopped:
            try:
                found = {one.id: one for one in teardown.instances(self._making, plan.run_id)}
            except AwsError as error:
                if error.kind in ("credentials", "denied"):
                    raise
                found = {}  # the next look may be luckier
            for instance in list(waiting):
                if instance in found and self._settled(plan, found[instance], watcher):
                    del waiting[instance]
            if waiting and self._now() - begun > _READY_WITHIN:
                for name in waiting.values():
                    watcher.failed(name, ProviderError(f"{name}: no address after {_READY_WITHIN / 60:.0f} minutes"))
                return
            if waiting:
                self._sleep(pause)
                pause = min(5.0, pause * 1.3)

    def _settled(self, plan: Ec2Plan, one: teardown.Found, watcher: Watcher) -> bool:
        machine = self._seen(one)
        if one.state in ("shutting-down", "terminated", "stopping", "stopped"):
            watcher.failed(machine.name, self.gone(machine))
            return True
        zone = machine.facts.get("zone")
        public = any(place.public for place in plan.places if place.zone == zone)
        if one.state != "running" or machine.address is None or (public and not one.raw.get("PublicIpAddress")):
            return False
        target = Target(
            machine.address,
            plan.system(machine.distro).user,
            22,
            self._folder / "key",
            (self._host_keys[one.id].public,),
        )
        known = f"{machine.address} {self._host_keys[one.id].public}\n"
        with self._lock, (self._folder / "known_hosts").open("a") as file:
            file.write(known)
        host = self._connect(machine.name, target, timeouts=Timeouts(first=self._ssh_timeout))
        machine = dataclasses.replace(machine, host=host)
        self._machines[one.id] = machine
        watcher.ready(machine)
        return True

    def _seen(self, one: teardown.Found) -> Machine:
        """Return a machine with what was seen of it just now; what was known of it before stays."""
        before, after = self._machines[one.id], machine_of(one)
        merged = dataclasses.replace(
            before, state=after.state, address=after.address or before.address, reason=after.reason
        )
        self._machines[one.id] = merged
        return merged


def _batches(plan: Ec2Plan, names: Sequence[str] | None) -> list[order.Batch]:
    """Return the plan's batches, or one batch for each host named."""
    if names is None:
        return list(plan.batches)
    return [
        order.Batch(batch.distro, batch.label, batch.first + index, 1, 0)
        for batch in plan.batches
        for index, name in enumerate(batch.names)
        if name in names
    ]


def run_parameters(
    plan: Ec2Plan, batch: order.Batch, offer: tuple[str, str], group: str, host_key: keys.KeyPair
) -> dict[str, Any]:
    """Return what RunInstances is called with, its token apart, for an `offer` of (instance type, zone). Pure."""
    instance_type, zone = offer
    system = plan.system(batch.distro)
    common = tags.for_run(plan.run_id, plan.owner, plan.expires, plan.name)
    own = common | {tags.HOST: batch.names[0], tags.DISTRO: batch.distro, tags.USER: system.user}
    own["Name"] = f"{plan.run_id} {batch.names[0]}"
    parameters: dict[str, Any] = {
        "ImageId": system.image.id,
        "InstanceType": instance_type,
        # All or none: a token answers for one set of instances, and a batch stays in one zone.
        "MinCount": batch.count,
        "MaxCount": batch.count,
        "KeyName": f"charrnn-bootstrap-{plan.run_id}",
        "SubnetId": plan.place(zone).subnet,
        "SecurityGroupIds": [group],
        "UserData": userdata.make(host_key, plan.minutes),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "BlockDeviceMappings": [
            {
                "DeviceName": system.image.root_device,
                "Ebs": {
                    "VolumeSize": system.volume_gib,
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [tags.specification(kind, own) for kind in ("instance", "volume")],
    }
    if instance_type.startswith(BURSTABLE):
        # T2 starts with credits for the first half hour; T3 and T4g start with none and would crawl.
        mode = "standard" if instance_type.startswith("t2.") else "unlimited"
        parameters["CreditSpecification"] = {"CpuCredits": mode}
    if plan.spot:
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        parameters["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    return parameters


def machine_of(one: teardown.Found) -> Machine:
    """Return an instance as a machine, with what its tags and its description say."""
    raw = one.raw
    reason = (raw.get("StateReason") or {}).get("Code", "") or raw.get("StateTransitionReason", "")
    facts = {
        "instance.type": raw.get("InstanceType"),
        "image.id": raw.get("ImageId"),
        "zone": raw.get("Placement", {}).get("AvailabilityZone"),
        "region": one.region,
        "spot": raw.get("InstanceLifecycle") == "spot",
    }
    address = raw.get("PublicIpAddress") or raw.get("PrivateIpAddress")
    return Machine(one.run, one.name, one.tags.get(tags.DISTRO, ""), one.id, one.state, address, None, reason, facts)


def provider(request: Request, ledger: Ledger | None, settle: float) -> Ec2Provider:
    """See `bootstrap.providers.provider`."""
    journal = LedgerJournal(ledger, request.run_id) if ledger is not None else None
    return Ec2Provider(Aws(request.region, request.profile, journal), state.folder(request.run_id), settle=settle)
