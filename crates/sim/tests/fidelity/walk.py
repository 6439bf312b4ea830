"""Walks every operation that the simulator offers, and says what is not as AWS has it.

    walk.py ENDPOINT

The operations come from the simulator (`/_sim/operations`), the truth about them from botocore's service models. One
function in `walks/` walks one operation; an operation without one is a complaint, and so is a walk that leaves out what
every walk must have: an answer by botocore and one by awscli, each parameter that the model requires left out, and a
refusal. Ends with 1 if there is a complaint.
"""

import importlib
import json
import re
import sys
import traceback
import urllib.request
from pathlib import Path

import answers
from calls import Botocore, Cli, same

# What botocore calls a service, by the name that it signs with.
MODELS = {"elasticloadbalancing": "elbv2", "monitoring": "cloudwatch"}

# The code that a service has for a required parameter that is missing.
MISSING = {"rds": "InvalidParameterValue", "ec2": "MissingParameter", "cloudwatch": "MissingParameter"}

WALKS = {}


def walk(service, operation):
    """Registers the walk of one operation."""

    def register(function):
        if (service, operation) in WALKS:
            raise ValueError(f"{service} {operation} has two walks")
        WALKS[service, operation] = function
        return function

    return register


class World:
    """The simulator, from the side where it is moved."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.botocore, self.cli = Botocore(endpoint), Cli(endpoint)
        self.complaints, self.answered, self.refused = {}, 0, 0

    def get(self, path):
        with urllib.request.urlopen(self.endpoint + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path, body):
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.endpoint + path, json.dumps(body).encode(), headers)
        urllib.request.urlopen(request, timeout=30).close()

    def step(self, seconds):
        """Lets simulated time pass."""
        self.post("/_sim/step", {"seconds": seconds})

    def strike(self, **fault):
        self.post("/_sim/fault", fault)


class On:
    """What a walk does with its operation."""

    def __init__(self, world, service, operation):
        self.world, self.service, self.operation = world, service, operation
        self.model = world.botocore.model(service, operation)
        self.by_botocore = self.by_cli = self.refusals = 0
        self.good = None

    def complain(self, params, complaints):
        for complaint in complaints:
            # Of each item of a list, and at each look, the same is said once.
            kind = (self.service, self.operation, re.sub(r"\[\d+\]", "[]", complaint))
            self.world.complaints.setdefault(kind, f"{self.service} {self.operation} {params}: {complaint}")

    def ask(self, **params):
        """Called by botocore: the raw answer must be as the model says. Returns it parsed."""
        if self.good is None:
            self.good = params
            self.leave_out(params)
        parsed, code, raw = self.world.botocore.call(self.service, self.operation, params)
        if code is not None:
            self.complain(params, [f"refused with {code}: {raw.body.decode(errors='replace')}"])
            return {}
        self.complain(params, answers.success(self.model, raw))
        for protocol in self.other_protocols():
            again, code, raw = self.world.botocore.call(self.service, self.operation, params, protocol)
            wrong = [f"refused with {code}"] if code else answers.success(self.model, raw)
            if not code and again != parsed:
                wrong.append("another answer")
            self.complain(params, [f"in {protocol}: {w}" for w in wrong])
        self.world.answered += 1
        self.by_botocore += 1
        return parsed

    def other_protocols(self):
        """What the service speaks beside what botocore speaks to it; only of operations that look, which may be repeated."""
        metadata = self.model.service_model.metadata
        return [p for p in metadata["protocols"] if p != self.model.service_model.resolved_protocol]

    def type(self, *options, **params):
        """Called by awscli. Returns what it printed."""
        code, printed, complaint = self.world.cli.call(self.service, self.operation, params, *options)
        if code != 0:
            self.complain(params, [f"aws ended with {code}: {complaint}"])
        self.world.answered += 1
        self.by_cli += 1
        return printed

    def watch(self, operation, **params):
        """Another operation of the service, while this one takes effect: what it shows must be as the model says, too."""
        parsed, code, raw = self.world.botocore.call(self.service, operation, params)
        model = self.world.botocore.model(self.service, operation)
        complaints = [f"refused with {code}"] if code else answers.success(model, raw)
        self.complain(params, [f"meanwhile, {operation}: {c}" for c in complaints])
        self.world.answered += 1
        return parsed or {}

    def look(self, **params):
        """Both callers look, and see the same."""
        parsed = self.ask(**params)
        printed = self.type(**params)
        # A caller that turns pages by itself shows no token.
        seen = {k: v for k, v in parsed.items() if k not in ("NextToken", "Marker", "NextMarker")}
        if not same(seen, printed):
            self.complain(params, [f"botocore sees {parsed}, aws {printed}"])
        return parsed

    def pages(self, key, size, **params):
        """A listing comes in pages: at least two, each within its size, together the whole; awscli turns them, too."""
        whole = self.ask(**params)[key]
        sized, token = (size["parameter"], size["value"]), size["token"]
        turned, asked = [], dict(params, **{sized[0]: sized[1]})
        pages = 0
        while True:
            page = self.ask(**asked)
            pages += 1
            if len(page[key]) > sized[1]:
                self.complain(asked, [f"{len(page[key])} are more than the page's size"])
            turned += page[key]
            following = page.get(size.get("answers", token))
            if following is None or pages > 100:
                break
            asked[token] = following
        if pages < 2:
            self.complain(params, [f"{len(whole)} in one page: the world is too small to turn pages"])
        if turned != whole:
            self.complain(params, ["the pages together are not the whole"])
        if sized[0] != "PageSize":
            printed = self.type("--page-size", str(sized[1]), **params)[key]
        else:
            # Where awscli's own --page-size is also the service's parameter, to name it turns the turning off.
            printed, asked = [], dict(params, **{sized[0]: sized[1]})
            while token not in asked or asked[token]:
                page = self.type("--no-paginate", **asked)
                printed += page[key]
                asked[token] = page.get(size.get("answers", token))
        if not same(whole, printed):
            self.complain(params, ["aws turns the pages and sees something else"])

    def refuse(self, code, **params):
        """Refused with this code, in the envelope and with the status that belong to it."""
        parsed, found, raw = self.world.botocore.call(self.service, self.operation, params)
        if found != code:
            self.complain(params, [f"expected {code}, not {found or parsed}"])
            return
        self.complain(params, answers.refusal(self.model, code, raw))
        for protocol in self.other_protocols():
            _, found, raw = self.world.botocore.call(self.service, self.operation, params, protocol)
            wrong = [f"not {code}, but {found}"] if found != code else answers.refusal(self.model, code, raw)
            self.complain(params, [f"in {protocol}: {w}" for w in wrong])
        self.world.refused += 1
        self.refusals += 1

    def leave_out(self, good):
        """Each required parameter left out in turn."""
        code = MISSING.get(self.service, "ValidationError")
        required = self.model.input_shape.required_members if self.model.input_shape else []
        before = self.refusals
        # botocore makes up a token that is missing.
        for name in (n for n in required if n not in self.model.idempotent_members):
            if name not in good:
                self.complain(good, [f"the model requires {name}"])
            self.refuse(code, **{k: v for k, v in good.items() if k != name})
        self.refusals = before

    def nothing_to_refuse(self, because):
        """Says that no call of this operation can be wrong."""
        assert because
        self.refusals += 1

    def done(self):
        missing = [
            what
            for what, count in (
                ("an answer by botocore", self.by_botocore),
                ("an answer by awscli", self.by_cli),
                ("a refusal", self.refusals),
            )
            if count == 0
        ]
        self.complain({}, [f"its walk lacks {what}" for what in missing])


def main(endpoint):
    for file in sorted(Path(__file__).parent.joinpath("walks").glob("*.py")):
        importlib.import_module(f"walks.{file.stem}")
    world = World(endpoint)
    offered = [(MODELS.get(o["service"], o["service"]), o["operation"]) for o in world.get("/_sim/operations")]
    for gone in WALKS.keys() - set(offered):
        world.complaints[gone] = f"{' '.join(gone)} is walked, but not offered"
    for service, operation in offered:
        function = WALKS.get((service, operation))
        if function is None:
            what = f"{service} {operation} is offered, but not walked: add it to walks/{service}.py"
            world.complaints[service, operation] = what
            continue
        on = On(world, service, operation)
        try:
            function(on)
        except Exception:
            on.complain({}, [f"its walk ended early: {traceback.format_exc(limit=-3)}"])
        on.done()
    for complaint in world.complaints.values():
        print(complaint)
    print(
        f"{len(offered)} operations, {world.answered} answers, {world.refused} refusals, "
        f"{len(world.complaints)} complaints"
    )
    return 1 if world.complaints else 0


if __name__ == "__main__":
    import walk as itself  # as the walks import it, not a second copy

    sys.exit(itself.main(sys.argv[1]))
