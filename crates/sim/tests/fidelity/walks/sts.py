"""STS."""

from walk import walk

ROLE = "arn:aws:iam::111122223333:role/ops/firebreak"


@walk("sts", "GetCallerIdentity")
def get_caller_identity(on):
    on.look()
    on.nothing_to_refuse("it takes no parameters")


@walk("sts", "AssumeRole")
def assume_role(on):
    request = {"RoleArn": ROLE, "RoleSessionName": "night-shift"}
    assumed = on.look(**request)
    policy = '{"Version": "2012-10-17", "Statement": []}'
    on.ask(DurationSeconds=900, Policy=policy, **request)

    held = assumed["Credentials"]
    keys = (held["AccessKeyId"], held["SecretAccessKey"], held["SessionToken"])
    identity = on.world.botocore.signed_with(*keys).client("sts").get_caller_identity()
    assert identity["Arn"] == assumed["AssumedRoleUser"]["Arn"], identity
    assert identity["Arn"] == "arn:aws:sts::111122223333:assumed-role/firebreak/night-shift", identity
    assert identity["UserId"] == assumed["AssumedRoleUser"]["AssumedRoleId"], identity

    on.refuse("AccessDenied", **dict(request, RoleArn=ROLE.replace("1111", "9999")))
    on.refuse("ValidationError", **dict(request, RoleArn="firebreak"))
    on.refuse("ValidationError", **dict(request, RoleSessionName="night shift"))
    on.refuse("ValidationError", DurationSeconds=60, **request)
    on.refuse("MalformedPolicyDocument", Policy="allow everything", **request)
    on.refuse("PackedPolicyTooLarge", Policy=policy + " " * 2048, **request)
