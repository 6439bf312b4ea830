"""The two callers: botocore, whose raw answers are kept, and awscli, the program that people type.

`awscli` brings its own botocore and hands it out under that name; both callers read the same service models.
"""

import contextlib
import io
import json
import os
from dataclasses import dataclass
from datetime import datetime, timezone

import awscli  # first: it provides `botocore`
import awscli.clidriver
import botocore.config
import botocore.exceptions
import botocore.session
from botocore import xform_name

REGION = "us-east-1"
KEY = ("AKIAFIDELITY0001", "no-secret")


@dataclass
class Raw:
    """An answer as it came."""

    status: int
    headers: dict
    body: bytes

    @property
    def format(self):
        """How it is written: cbor, json or xml."""
        kind = self.headers.get("content-type", "")
        return {"application/cbor": "cbor", "application/x-amz-json-1.0": "json"}.get(kind, "xml")


class Botocore:
    """One client per service, which sends what it is told to: checking parameters is the other side's task."""

    def __init__(self, endpoint, key=KEY):
        self.endpoint = endpoint
        self.session = botocore.session.get_session()
        self.session.set_credentials(*key)
        self.clients, self.last = {}, None

    def signed_with(self, *key):
        """The same with another key: id, secret, and the session's token if it has one."""
        return Botocore(self.endpoint, key)

    def client(self, name, protocol=None):
        """A client of that service, in that protocol of those that it speaks."""
        if (name, protocol) not in self.clients:
            config = botocore.config.Config(
                parameter_validation=False, retries={"total_max_attempts": 1}, read_timeout=30
            )
            session = self.session if protocol is None else speaking(protocol)
            client = session.create_client(name, REGION, endpoint_url=self.endpoint, config=config)
            client.meta.events.register("before-parse.*.*", self.keep)
            self.clients[name, protocol] = client
        return self.clients[name, protocol]

    def keep(self, response_dict, **_):
        headers = {k.lower(): v for k, v in response_dict["headers"].items()}
        self.last = Raw(response_dict["status_code"], headers, response_dict["body"])

    def model(self, service, operation):
        return self.client(service).meta.service_model.operation_model(operation)

    def call(self, service, operation, params, protocol=None):
        """The parsed answer or none, the error's code or none, and the raw answer."""
        self.last = None
        call = getattr(self.client(service, protocol), xform_name(operation))
        try:
            parsed = call(**params)
            parsed.pop("ResponseMetadata")
            return parsed, None, self.last
        except botocore.exceptions.ClientError as error:
            return None, error.response["Error"]["Code"], self.last
        except Exception as error:  # botocore's parsers raise what they stumble over
            if self.last is None:
                raise
            return None, f"unreadable answer ({error!r})", self.last


def speaking(protocol):
    """A session that knows no other protocol."""
    session = botocore.session.get_session()
    session.set_credentials(*KEY)
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def only(service, kind, api_version=None):
        model = load(service, kind, api_version)
        if kind == "service-2":
            model = {**model, "metadata": {**model["metadata"], "protocols": [protocol], "protocol": protocol}}
        return model

    loader.load_service_model = only
    return session


class Cli:
    """`aws`, as its entry point runs it, in this process: a new one for each call takes seconds to start."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        os.environ.update(
            AWS_ACCESS_KEY_ID=KEY[0],
            AWS_SECRET_ACCESS_KEY=KEY[1],
            AWS_DEFAULT_REGION=REGION,
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_EC2_METADATA_DISABLED="true",
            AWS_MAX_ATTEMPTS="1",
        )

    def call(self, service, operation, params, *options):
        """Exit code, what it printed (read as JSON), and its complaint."""
        command = [service, xform_name(operation, "-"), "--endpoint-url", self.endpoint, "--output", "json"]
        command += ["--cli-input-json", json.dumps(params, default=isoformat), *options]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = awscli.clidriver.create_clidriver().main(command)
        printed = json.loads(out.getvalue()) if out.getvalue().strip() else {}
        return code, printed, err.getvalue().strip()


def isoformat(value):
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} is nothing for JSON")


def same(parsed, printed):
    """Whether botocore parsed what awscli printed, which shows times as they came."""
    if isinstance(parsed, dict) and isinstance(printed, dict):
        return parsed.keys() == printed.keys() and all(same(parsed[k], printed[k]) for k in parsed)
    if isinstance(parsed, list) and isinstance(printed, list):
        return len(parsed) == len(printed) and all(map(same, parsed, printed))
    if isinstance(parsed, datetime):
        return parsed == read_time(printed)
    return parsed == printed


def read_time(printed):
    if isinstance(printed, (int, float)):
        return datetime.fromtimestamp(printed, timezone.utc)
    return datetime.fromisoformat(printed.replace("Z", "+00:00"))
