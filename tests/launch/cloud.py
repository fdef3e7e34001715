"""A private AWS: moto's server in a thread, made as strict as AWS is where it matters, whose instances are real hosts.

What moto lets pass and AWS does not:

* RunInstances starts MaxCount instances; the same ClientToken gives the same instances again, other parameters with
  it are an error, and so is a token whose instances are gone.
* An instance is not listed at once (eventual consistency), then `pending` for a while, `shutting-down` before it is
  `terminated`.
* A security group that an instance uses cannot be deleted (DependencyViolation).
* Errors can be queued for any action, with any status; zones can be out of capacity.

Prices and quotas, which moto does not have, are answered in AWS's own wire format where a test sets them; else access
is denied.

Addresses are 127.x.y.z, so that every host has port 22 of its own.
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import threading
import urllib.parse
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
os.environ.setdefault("MOTO_AMIS_PATH", str(HERE / "images.json"))  # read when moto.ec2 is imported
os.environ.setdefault("MOTO_ENABLE_AMI_VALIDATION", "true")
os.environ.setdefault("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "true")
os.environ.setdefault("MOTO_ENABLE_KEYPAIR_VALIDATION", "true")

ACCOUNT, REGION = "123456789012", "us-east-1"
SYSTEMS = {"al2023": "amzn2023", "RHEL-": "rhel9", "suse-sles": "sles15", "ubuntu": "ubuntu2404", "debian-": "debian12"}
PARAMETERS = {
    "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64": "al2023-ami-2023.9",
    "/aws/service/suse/sles/15-sp7/x86_64/latest": "sles-15-sp7-v20260915",
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": "noble-24.04",
}


class BootedHost(Protocol):
    """What the lab gives for an instance."""

    def stop(self) -> None:
        """Power it off."""


Boot = "Callable[[Launched], BootedHost]"


@dataclass(frozen=True)
class Launched:
    """What an instance's host is made from."""

    instance: str
    system: str
    address: str
    public_key: str
    host_key: str | None
    user_data: dict[str, Any]


@dataclass
class Faults:
    """Errors to answer with, by action; and what was asked."""

    queued: dict[str, list[tuple[str, str, int]]] = field(default_factory=lambda: defaultdict(list))
    lost: Counter[str] = field(default_factory=Counter)  # answers that get lost: the call is done, and 500 comes back
    full_zones: dict[str, str] = field(default_factory=dict)
    prices: dict[tuple[str, str], float] = field(default_factory=dict)  # (instance type, operating system): an hour
    quotas: dict[str, float] = field(default_factory=dict)  # by code
    calls: list[str] = field(default_factory=list)
    on_call: Callable[[str], None] | None = None

    def add(self, action: str, code: str, message: str = "injected", times: int = 1, status: int = 400) -> None:
        """Answer the next calls of an action with an error."""
        self.queued[action] += [(code, message, status)] * times

    def counted(self) -> Counter[str]:
        """How often each action was called."""
        return Counter(self.calls)


class _Front:
    """In front of moto: counts calls, and answers with the errors that are queued."""

    def __init__(self, app: Any, faults: Faults, busy: threading.Condition) -> None:
        self._app, self._faults, self._busy = app, faults, busy
        self.under_way = 0

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        with self._busy:
            self.under_way += 1
        try:
            return self._answer(environ, start)
        finally:
            with self._busy:
                self.under_way -= 1
                self._busy.notify_all()

    def _answer(self, environ: dict[str, Any], start: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        asked = urllib.parse.parse_qs(body.decode("latin-1"))
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        action = str(asked.get("Action", [target.split(".")[-1] or "?"])[0])
        self._faults.calls.append(action)
        if self._faults.on_call:
            self._faults.on_call(action)
        fault = self._faults.queued[action].pop(0) if self._faults.queued[action] else None
        if fault is None and action == "RunInstances":
            fault = self._full(asked)
        if fault is None and action in ("GetProducts", "GetServiceQuota"):
            answer = self._priced(action, json.loads(body))
            if answer is not None:
                start("200 OK", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(answer)))])
                return [answer]
            fault = ("AccessDeniedException", "no permission", 400)
        if fault is None and self._faults.lost[action] > 0:
            self._faults.lost[action] -= 1
            b"".join(self._app(environ, lambda *_: None))
            fault = ("InternalError", "the answer got lost", 500)
        if fault is None:
            return self._app(environ, start)
        code, message, status = fault
        kind, answer = "text/xml", _xml(code, message).encode()
        if target:
            kind, answer = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()
        start(f"{status} Error", [("Content-Type", kind), ("Content-Length", str(len(answer)))])
        return [answer]

    def _priced(self, action: str, asked: dict[str, Any]) -> bytes | None:
        if action == "GetServiceQuota":
            code = asked["QuotaCode"]
            if asked["ServiceCode"] != "ec2" or code not in self._faults.quotas:
                return None
            quota = {"ServiceCode": "ec2", "QuotaCode": code, "Value": self._faults.quotas[code], "Adjustable": True}
            return json.dumps({"Quota": quota}).encode()
        if asked["ServiceCode"] != "AmazonEC2" or not self._faults.prices:
            return None
        wanted = {one["Field"]: one["Value"] for one in asked["Filters"] if one["Type"] == "TERM_MATCH"}
        listed = [
            json.dumps(product)
            for product in products(self._faults.prices)
            if wanted.items() <= product["product"]["attributes"].items()
        ]
        return json.dumps({"FormatVersion": "aws_v1", "PriceList": listed}).encode()

    def _full(self, asked: dict[str, list[str]]) -> tuple[str, str, int] | None:
        from moto.ec2.models import ec2_backends

        subnet = asked.get("SubnetId", [""])[0]
        known = ec2_backends[ACCOUNT][REGION].subnets
        zone = next((s.availability_zone for by in known.values() for i, s in by.items() if i == subnet), "")
        wanted = asked.get("InstanceType", [""])[0]
        if self._faults.full_zones.get(zone) in ("*", wanted):
            return ("InsufficientInstanceCapacity", f"no {wanted} in {zone}", 500)
        return None


def products(prices: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """A price list as AWS's is: beside each price that counts, those of other tenancies, software, regions."""
    listed = []
    for (kind, system), price in prices.items():
        counts = {
            "instanceType": kind,
            "regionCode": REGION,
            "operatingSystem": system,
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        others: tuple[tuple[dict[str, str], float], ...] = (
            ({"tenancy": "Dedicated"}, price * 2),
            ({"preInstalledSw": "SQL Std"}, price * 9),
            ({"capacitystatus": "AllocatedCapacityReservation"}, 0.0),
            ({"regionCode": "eu-west-1"}, price * 3),
            ({}, price),
        )
        for number, (change, dollars) in enumerate(others):
            sku = f"{kind}{system}{number}".upper().replace(".", "")
            unit = {"unit": "Hrs", "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": f"{dollars:.10f}"}}
            term = {"sku": sku, "offerTermCode": "JRTCKXETXF", "termAttributes": {}}
            term["priceDimensions"] = {f"{sku}.JRTCKXETXF.6YS6EN2CT7": unit}
            attributes = {**counts, **change, "servicecode": "AmazonEC2"}
            listed.append(
                {
                    "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": sku},
                    "serviceCode": "AmazonEC2",
                    "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}},
                }
            )
    return listed


def _xml(code: str, message: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error>'
        f"<Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>req-1</RequestID></Response>"
    )


class Cloud:
    """The account. `boot` makes the host of an instance; None: instances are entries in a table and nothing more."""

    def __init__(
        self,
        boot: Callable[[Launched], BootedHost] | None = None,
        *,
        network: str | None = None,
        hidden_looks: int = 1,
        pending_looks: int = 2,
        ending_looks: int = 2,
    ) -> None:
        self._boot = boot
        worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", "0"))) or 0)
        self.network = network or f"127.{60 + worker}.{os.getpid() % 200}"
        self.faults = Faults()
        self.hosts: dict[str, BootedHost] = {}
        self.launched: dict[str, Launched] = {}
        self.boot_errors: list[BaseException] = []
        self.parameters: list[dict[str, Any]] = []
        self._looks = (hidden_looks, pending_looks, ending_looks)
        self._seen: Counter[str] = Counter()
        self._ending: dict[str, int] = {}
        self._tokens: dict[Any, tuple[Any, Any]] = {}
        self._numbers = itertools.count(2)
        self._lock = threading.RLock()
        self._undo: list[tuple[Any, str, Any]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Cloud:
        from moto.ec2.models import ec2_backends
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        self._patch()
        self._busy = threading.Condition()
        app = self._front = _Front(DomainDispatcherApplication(create_backend_app), self.faults, self._busy)

        class Quiet(WSGIRequestHandler):
            def log_request(self, *_: Any) -> None:
                pass

        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        amis = ec2_backends[ACCOUNT][REGION].amis
        for name, part in PARAMETERS.items():
            self.publish(name, next(key for key, ami in amis.items() if part in str(ami.name)))
        self.faults.calls.clear()
        return self

    def __exit__(self, *_: object) -> None:
        import moto.backends

        for host in list(self.hosts.values()):
            host.stop()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for thread in self._threads:
            thread.join()
        for owner, name, value in reversed(self._undo):
            setattr(owner, name, value)
        for service in ("ec2", "ssm", "sts"):
            moto.backends.get_backend(service)[ACCOUNT].reset()

    @property
    def backend(self) -> Any:
        """moto's EC2 of the region."""
        from moto.ec2.models import ec2_backends

        return ec2_backends[ACCOUNT][REGION]

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of a user of this account, with a home of its own."""
        home.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "XDG_"))}
        return kept | {
            "HOME": str(home),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "NO_COLOR": "1",
        }

    def left(self) -> dict[str, list[str]]:
        """What is there now that a launch could have made: instances not terminated, their volumes, groups, keys."""
        backend = self.backend
        instances = [i for r in list(backend.reservations.values()) for i in r.instances]
        groups = [g for by in backend.groups.values() for g in by.values() if g.name != "default"]
        return {
            "instances": [i.id for i in instances if i._state.name != "terminated"],
            "volumes": list(backend.volumes),
            "security groups": [g.id for g in groups],
            "key pairs": list(backend.key_pairs),
            "hosts": list(self.hosts),
        }

    def settle(self) -> None:
        """Wait until what was asked for has happened: a call that was on its way when its caller died, and boots."""
        self._server_idle()
        for thread in self._threads:
            thread.join()

    def _server_idle(self) -> None:
        with self._busy:
            while self._front.under_way:
                self._busy.wait()

    def publish(self, name: str, value: str) -> None:
        """Set a public SSM parameter; put_parameter refuses names under /aws/service."""
        from moto.core.utils import utcnow
        from moto.ssm.models import Parameter, ssm_backends

        parameters = ssm_backends[ACCOUNT][REGION]._parameters
        parameters[name]  # loads moto's own first
        listed = dict.setdefault(parameters, name, [])
        listed[:] = [
            Parameter(  # type: ignore[abstract]  # as moto itself makes them
                account_id=ACCOUNT,
                name=name,
                value=value,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=utcnow(),
                version=1,
                data_type="text",
            )
        ]

    def reclaim(self, instance: str) -> None:
        """Take a spot instance back: power off, and the reason that AWS gives."""
        from moto.ec2.models.instances import StateReason

        with self._lock:
            found = self.backend.get_instance(instance)
            found.terminate()
            found.state_reason = StateReason(
                "Server.SpotInstanceTermination: reclaimed", "Server.SpotInstanceTermination"
            )
            host = self.hosts.pop(instance, None)
        if host:
            host.stop()

    # How moto is made strict.

    def _patch(self) -> None:
        from moto.ec2.models.instances import InstanceBackend
        from moto.ec2.models.security_groups import SecurityGroupBackend
        from moto.ec2.responses.instances import InstanceResponse

        self._replace(InstanceResponse, "run_instances", self._with_max_count)
        self._replace(InstanceBackend, "run_instances", self._run)
        self._replace(InstanceBackend, "terminate_instances", self._terminate)
        self._replace(InstanceBackend, "all_reservations", self._listed)
        self._replace(SecurityGroupBackend, "delete_security_group", self._delete_group)

    def _replace(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        self._undo.append((owner, name, original))

        def wrapped(this: Any, *args: Any, **kwargs: Any) -> Any:
            return wrapper(original, this, *args, **kwargs)

        setattr(owner, name, wrapped)

    def _with_max_count(self, original: Any, this: Any) -> Any:
        self._count = int(this._get_param("MaxCount", "1"))
        self.parameters.append({key: values[0] for key, values in this.querystring.items()})
        return original(this)

    def _run(self, original: Any, backend: Any, image: str, count: int, user_data: Any, groups: Any, **kw: Any) -> Any:  # noqa: PLR0917  (moto's own)
        from moto.ec2.exceptions import EC2ClientError

        with self._lock:
            count = max(count, self._count)
            token = kw.get("client_token")
            shape = (image, count, str(user_data), kw.get("subnet_id"), kw.get("instance_type"))
            if token in self._tokens and token != "ABCDE":
                before, result = self._tokens[token]
                if before != shape:
                    raise EC2ClientError("IdempotentParameterMismatch", "the token was used with other parameters")
                if all(one._state.name == "terminated" for one in result.instances):
                    raise EC2ClientError("IdempotentInstanceTerminated", "the instances of this token are terminated")
                return result
            result = original(backend, image, count, user_data, groups, **kw)
            self._tokens[token] = (shape, result)
            for one in result.instances:
                one._state.name, one._state.code = "pending", 0
                self._begin(backend, one, user_data)
            return result

    def _begin(self, backend: Any, one: Any, user_data: Any) -> None:
        number = next(self._numbers)
        address = f"{self.network}.{number}" if number < 255 else f"10.9.{number // 256}.{number % 256}"
        nic = next(iter(one.nics.values()))
        nic.public_ip, nic.public_ip_auto_assign = address, False
        config = cloud_config(user_data)
        launched = Launched(
            one.id,
            next(system for part, system in SYSTEMS.items() if part in backend.amis[one.image_id].name),
            address,
            backend.key_pairs[one.key_name].public_key,
            (config.get("ssh_keys") or {}).get("ed25519_private"),
            config,
        )
        self.launched[one.id] = launched
        if self._boot:
            thread = threading.Thread(target=self._boot_up, args=(launched,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _boot_up(self, launched: Launched) -> None:
        assert self._boot
        try:
            host = self._boot(launched)
        except BaseException as error:  # noqa: BLE001  (shown by the test that needed the host)
            self.boot_errors.append(error)
            return
        with self._lock:
            state = self.backend.get_instance(launched.instance)._state.name
            wanted = state in ("pending", "running")
            if wanted:
                self.hosts[launched.instance] = host
        if not wanted:
            host.stop()

    def _terminate(self, original: Any, backend: Any, ids: list[str]) -> Any:
        with self._lock:
            for one in backend.get_multi_instances_by_id(ids):
                if one._state.name == "terminated":
                    ids = [other for other in ids if other != one.id]
            result = original(backend, ids) if ids else []
            for one, _ in result:
                self._ending[one.id] = self._looks[2]
                one._state.name, one._state.code = "shutting-down", 32
            stopped = [self.hosts.pop(name) for name in ids if name in self.hosts]
        for host in stopped:
            host.stop()
        return result

    def _listed(self, original: Any, backend: Any, filters: Any = None) -> Any:
        """A listing: what was made a moment ago is not in it yet, and time goes on by one look."""
        hidden, pending, _ = self._looks
        with self._lock:
            for reservation in list(backend.reservations.values()):
                for one in reservation.instances:
                    if filters is not None:
                        self._seen[one.id] += 1
                    if one._state.name == "pending" and self._seen[one.id] > hidden + pending:
                        one._state.name, one._state.code = "running", 16
                    if one._state.name == "shutting-down" and filters is not None:
                        self._ending[one.id] -= 1
                        if self._ending[one.id] < 0:
                            one._state.name, one._state.code = "terminated", 48
            listed = original(backend, filters)
            if filters is None:
                return listed
            for reservation in listed:
                reservation.instances = [one for one in reservation.instances if self._seen[one.id] > hidden]
            return [reservation for reservation in listed if reservation.instances]

    def _delete_group(self, original: Any, backend: Any, name: Any = None, group_id: Any = None) -> Any:
        from moto.ec2.exceptions import DependencyViolationError

        for reservation in list(backend.reservations.values()):
            for one in reservation.instances:
                if one._state.name != "terminated" and any(group.id == group_id for group in one.security_groups):
                    raise DependencyViolationError(f"resource {group_id} has a dependent object")
        return original(backend, name, group_id)


def cloud_config(user_data: Any) -> dict[str, Any]:
    """Read `#cloud-config` user data, plain or in base64."""
    if not user_data:
        return {}
    text = user_data if isinstance(user_data, str) else user_data.decode()
    if not text.startswith("#"):
        with contextlib.suppress(ValueError):
            text = base64.b64decode(text, validate=True).decode()
    if not text.startswith("#cloud-config"):
        return {}
    return dict(yaml.safe_load(text) or {})
