"""What is wrong with an answer, by botocore's service models.

botocore itself is forgiving: it ignores what it does not know and leaves out what it misses. This reads the same model
strictly. Nothing here knows an operation: names, nesting, list wrappers, types, enums and bounds all come from the model.
"""

import json
import re
import xml.etree.ElementTree as ElementTree
from datetime import datetime

import cbor

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

# Codes that no operation declares: the errors common to all actions, of the query protocol and of single services.
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/CommonErrors.html and its like
COMMON = {
    "InvalidAction": 400,
    "InvalidParameterCombination": 400,
    "InvalidParameterValue": 400,
    "MalformedInput": 400,
    "MissingParameter": 400,
    "Throttling": 400,
    "ValidationError": 400,
    "AccessDenied": 403,
    "MissingAuthenticationToken": 403,
    "InternalFailure": 500,
    "ServiceUnavailable": 503,
}

# Undeclared, but sent by the service: seen on the wire, or in its manual.
UNDECLARED = {
    # EC2 declares no errors: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
    "ec2": {
        "InvalidInstanceID.Malformed": 400,
        "InvalidInstanceID.NotFound": 400,
        "InvalidNextToken": 400,
        "RequestLimitExceeded": 503,
    },
    # A target of a failover that does not exist.
    "rds": {"DBInstanceNotFound": 404},
}


# Where AWS itself does not keep to its model.
LOOSE = {
    # Its own sentence about missing capacity is longer than the 255 characters that the model allows:
    # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-capacity.html
    "Activity.StatusMessage": "max",
}


def local(tag):
    """The name of an element, and its namespace."""
    namespace, _, name = tag.rpartition("}")
    return name, namespace.lstrip("{")


def success(operation, answer):
    """Complaints about an answer to a call that went well."""
    if answer.status != 200:
        return [f"HTTP status {answer.status}"]
    if answer.format != "xml":
        return structured_success(operation, answer)
    root = ElementTree.fromstring(answer.body)
    wrong = envelope(operation, root, answer)
    output = operation.output_shape
    wrapper = output and output.serialization.get("resultWrapper")
    inside = [e for e in root if local(e.tag)[0] not in ("ResponseMetadata", "requestId")]
    if wrapper:
        names = [local(e.tag)[0] for e in inside]
        if names != [wrapper]:
            return wrong + [f"expected one {wrapper} in the answer, not {names}"]
        inside = list(inside[0])
    if output:
        wrong += structure(output, inside, operation.name)
    elif inside:
        wrong.append(f"{operation.name} has no output, yet the answer has {[e.tag for e in inside]}")
    return wrong


def envelope(operation, root, answer):
    wrong = []
    name, namespace = local(root.tag)
    if name != f"{operation.name}Response":
        wrong.append(f"the root is {name}, not {operation.name}Response")
    expected = operation.service_model.metadata["xmlNamespace"]
    # EC2's model leaves out the last slash, which its answers have.
    if namespace.rstrip("/") != expected.rstrip("/"):
        wrong.append(f"the namespace is {namespace}, not {expected}")
    if is_ec2(operation):
        ids = [e.text for e in root if local(e.tag)[0] == "requestId"]
    else:
        ids = [
            e.text
            for metadata in root
            if local(metadata.tag)[0] == "ResponseMetadata"
            for e in metadata
            if local(e.tag)[0] == "RequestId"
        ]
    if ids != [answer.headers.get("x-amzn-requestid")]:
        wrong.append(f"the request's id is {ids} in the body and another one in the header")
    return wrong


def is_ec2(operation):
    return operation.service_model.metadata["protocol"] == "ec2"


def structure(shape, elements, path):
    """Complaints about the children of an element that is a structure."""
    wrong, seen = [], set()
    known = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    flat = {}
    for element in elements:
        tag = local(element.tag)[0]
        if tag not in known:
            wrong.append(f"{path}.{tag}: {shape.name} has no such member")
            continue
        name, member = known[tag]
        if member.type_name in ("list", "map") and member.serialization.get("flattened"):
            flat.setdefault(name, []).append(element)
        elif name in seen:
            wrong.append(f"{path}.{tag}: twice")
        else:
            found = value(member, element, f"{path}.{name}")
            wrong += [] if f"{shape.name}.{name}" in LOOSE else found
        seen.add(name)
    for name, items in flat.items():
        member = shape.members[name]
        for n, item in enumerate(items):
            wrong += value(member.member, item, f"{path}.{name}[{n}]")
    wrong += [f"{path}.{name}: required, and missing" for name in shape.required_members if name not in seen]
    return wrong


def value(shape, element, path):
    kind = shape.type_name
    if kind == "structure":
        return stray(element, path) + structure(shape, list(element), path)
    if kind == "list":
        item_name = shape.member.serialization.get("name", "member")
        wrong = stray(element, path)
        for n, item in enumerate(element):
            tag = local(item.tag)[0]
            if tag != item_name:
                wrong.append(f"{path}: items are called {item_name}, not {tag}")
            else:
                wrong += value(shape.member, item, f"{path}[{n}]")
        return wrong + bounds(shape, len(element), path)
    if kind == "map":
        wrong = stray(element, path)
        for n, entry in enumerate(element):
            keyed = {local(e.tag)[0]: e for e in entry}
            key, held = (s.serialization.get("name", d) for s, d in ((shape.key, "key"), (shape.value, "value")))
            if set(keyed) != {key, held}:
                wrong.append(f"{path}[{n}]: an entry has {key} and {held}, not {sorted(keyed)}")
            else:
                wrong += value(shape.key, keyed[key], f"{path}[{n}].{key}")
                wrong += value(shape.value, keyed[held], f"{path}[{n}].{held}")
        return wrong
    if len(element):
        return [f"{path}: a {kind} has elements inside"]
    return scalar(shape, element.text or "", path)


def stray(element, path):
    texts = [element.text] + [e.tail for e in element]
    return [f"{path}: stray text {t!r}" for t in texts if t and t.strip()]


def scalar(shape, text, path):
    """Complaints about the text of an element that holds one value."""
    kind = shape.type_name
    if kind == "boolean":
        return [] if text in ("true", "false") else [f"{path}: {text!r} is no boolean"]
    if kind in ("integer", "long"):
        if not re.fullmatch(r"-?\d+", text):
            return [f"{path}: {text!r} is no {kind}"]
        return bounds(shape, int(text), path)
    if kind in ("float", "double"):
        try:
            return bounds(shape, float(text), path)
        except ValueError:
            return [f"{path}: {text!r} is no {kind}"]
    if kind == "timestamp":
        return timestamp(text, path)
    if kind == "string":
        return string(shape, text, path)
    return [f"{path}: a {kind} is nothing that this reads"]


def timestamp(text, path):
    if not TIMESTAMP.fullmatch(text):
        return [f"{path}: {text!r} is no timestamp"]
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return [f"{path}: {text!r} is no time"]
    return []


def string(shape, text, path):
    wrong = bounds(shape, len(text), path)
    if shape.enum and text not in shape.enum:
        wrong.append(f"{path}: {text!r} is none of {shape.enum}")
    pattern = shape.metadata.get("pattern")
    if pattern and not matches(pattern, text):
        wrong.append(f"{path}: {text!r} does not match {pattern}")
    return wrong


def matches(pattern, text):
    # Written for Java: surrogates are how it spells what lies beyond the first plane.
    pattern = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda m: re.escape(chr(int(m[1], 16))), pattern)
    pattern = pattern.replace("\ud800\udc00-\udbff\udfff", "\U00010000-\U0010ffff")
    pattern = pattern.replace(r"\p{Graph}", r"\x21-\x7e").replace(r"\p{Print}", r"\x20-\x7e")
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def bounds(shape, size, path):
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low or high is not None and size > high:
        return [f"{path}: {size} is not between {low} and {high}"]
    return []


def refusal(operation, code, answer):
    """Complaints about a refusal with that code: its HTTP status, its envelope, and whether the model has it."""
    declared = {error_code(shape): shape.metadata["error"].get("httpStatusCode", 400) for shape in operation.error_shapes}
    service = operation.service_model.service_name
    status = declared.get(code) or UNDECLARED.get(service, {}).get(code) or COMMON.get(code)
    wrong = []
    if status is None:
        wrong.append(f"{code} is neither declared ({sorted(declared)}) nor common")
    elif answer.status != status:
        wrong.append(f"{code} comes with HTTP {status}, not {answer.status}")
    if answer.format != "xml":
        return wrong + structured_refusal(operation, code, answer)
    root = ElementTree.fromstring(answer.body)
    plain = tree(root)
    fault = "Sender" if answer.status < 500 else "Receiver"
    request_id = answer.headers.get("x-amzn-requestid")
    if is_ec2(operation):
        error = plain.get("Errors", {}).get("Error", {})
        expected = {"Errors": {"Error": {"Code": code, "Message": error.get("Message")}}, "RequestID": request_id}
        name = "Response"
    else:
        error = plain.get("Error", {})
        expected = {
            "Error": {"Type": fault, "Code": code, "Message": error.get("Message")},
            "RequestId": request_id,
        }
        name = "ErrorResponse"
    if local(root.tag)[0] != name or plain != expected:
        wrong.append(f"the envelope is {local(root.tag)[0]} {plain}, not {name} {expected}")
    if not error.get("Message"):
        wrong.append("no message")
    return wrong


def error_code(shape):
    return shape.metadata["error"].get("code", shape.name)


def tree(element):
    return {local(e.tag)[0]: tree(e) if len(e) else e.text for e in element}


def decoded(answer):
    """Complaints about the headers, the body read, and what a time is in it."""
    if answer.format == "json":
        return [], json.loads(answer.body), (int, float)
    protocol = answer.headers.get("smithy-protocol")
    wrong = [] if protocol == "rpc-v2-cbor" else [f"smithy-protocol is {protocol}"]
    return wrong, cbor.decode(answer.body), cbor.Time


def structured_success(operation, answer):
    wrong, held, time = decoded(answer)
    return wrong + structured(operation.output_shape, held, operation.name, time)


def structured_refusal(operation, code, answer):
    """The error's shape by name in the body, and the code of the query protocol in a header."""
    wrong, body, _ = decoded(answer)
    names = {error_code(shape): shape.name for shape in operation.error_shapes}
    shape = body.get("__type", "").rpartition("#")[2]
    if code in names and shape != names[code]:
        wrong.append(f"__type is {shape}, not {names[code]}")
    if not body.get("message"):
        wrong.append("no message")
    fault = "Sender" if answer.status < 500 else "Receiver"
    if answer.headers.get("x-amzn-query-error") != f"{code};{fault}":
        wrong.append(f"x-amzn-query-error is {answer.headers.get('x-amzn-query-error')}, not {code};{fault}")
    return wrong


def structured(shape, held, path, time):
    """Complaints about a value of CBOR or JSON; `time` is what a time is there."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(held, dict):
            return [f"{path}: {held!r} is no structure"]
        wrong = [f"{path}.{name}: {shape.name} has no such member" for name in held if name not in shape.members]
        wrong += [f"{path}.{name}: required, and missing" for name in shape.required_members if name not in held]
        for name, member in shape.members.items():
            if name in held:
                wrong += structured(member, held[name], f"{path}.{name}", time)
        return wrong
    if kind == "list":
        if not isinstance(held, list):
            return [f"{path}: {held!r} is no list"]
        wrong = bounds(shape, len(held), path)
        for n, item in enumerate(held):
            wrong += structured(shape.member, item, f"{path}[{n}]", time)
        return wrong
    expected = {
        "boolean": bool,
        "integer": int,
        "long": int,
        "float": (float, int),
        "double": (float, int),
        "string": str,
        "timestamp": time,
    }[kind]
    if not isinstance(held, expected) or isinstance(held, bool) != (kind == "boolean"):
        return [f"{path}: {held!r} is no {kind}"]
    if kind == "string":
        return string(shape, held, path)
    return bounds(shape, held, path) if kind in ("integer", "long", "float", "double") else []
