"""EC2."""

from walk import walk

NOBODY = "i-00000000000000000"
PAGES = {"parameter": "MaxResults", "value": 5, "token": "NextToken"}


def refuse_bad_selections(on):
    on.refuse("InvalidInstanceID.NotFound", InstanceIds=[NOBODY])
    on.refuse("InvalidInstanceID.Malformed", InstanceIds=["nobody"])
    on.refuse("InvalidParameterValue", Filters=[{"Name": "colour", "Values": ["red"]}])
    on.refuse("InvalidParameterValue", MaxResults=4)
    on.refuse("InvalidNextToken", NextToken="none")


@walk("ec2", "DescribeInstances")
def describe_instances(on):
    hosts = [r["Instances"][0] for r in on.look()["Reservations"]]
    first = next(h for h in hosts if h["State"]["Name"] == "running")
    on.look(InstanceIds=[first["InstanceId"]])
    on.look(Filters=[{"Name": "private-ip-address", "Values": [first["PrivateIpAddress"]]}])
    on.pages("Reservations", PAGES)
    refuse_bad_selections(on)


@walk("ec2", "DescribeInstanceStatus")
def describe_instance_status(on):
    shown = on.look()["InstanceStatuses"]
    on.look(InstanceIds=[shown[0]["InstanceId"]], IncludeAllInstances=True)
    on.pages("InstanceStatuses", PAGES)
    refuse_bad_selections(on)


@walk("ec2", "TerminateInstances")
def terminate_instances(on):
    ids = [r["Instances"][0]["InstanceId"] for r in on.watch("DescribeInstances")["Reservations"]]
    on.ask(InstanceIds=[ids[-1]])
    on.ask(InstanceIds=[ids[-1]])  # a second time is no mistake
    on.type(InstanceIds=[ids[-2]])
    on.refuse("InvalidInstanceID.NotFound", InstanceIds=[NOBODY])
    on.refuse("InvalidInstanceID.Malformed", InstanceIds=["nobody"])
    for _ in range(6):
        on.watch("DescribeInstances")
        on.watch("DescribeInstanceStatus", IncludeAllInstances=True)
        on.world.step(30)
