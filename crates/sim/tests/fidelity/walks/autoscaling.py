"""Auto Scaling."""

from walk import walk

# The fleets of the world that this walks in (`../it/fidelity.rs`).
GROUP, HOOKED, SMALL = "proxysql-us", "proxysql-hooked", "proxysql-small"

NO_GROUP = {"AutoScalingGroupName": "none"}
NOBODY = "i-00000000000000000"


def paging(size):
    return {"parameter": "MaxRecords", "value": size, "token": "NextToken"}


def shown(on, group):
    """The group as it is."""
    (found,) = on.watch("DescribeAutoScalingGroups", AutoScalingGroupNames=[group])["AutoScalingGroups"]
    return found


def hosts(on, group):
    return [i["InstanceId"] for i in shown(on, group)["Instances"] if i["LifecycleState"] == "InService"]


def pass_time(on, seconds):
    """Every state that hosts and activities go through is one that the model has."""
    for _ in range(seconds // 30):
        on.world.step(30)
        on.watch("DescribeAutoScalingGroups")
        on.watch("DescribeAutoScalingInstances")
        on.watch("DescribeScalingActivities")


@walk("autoscaling", "DescribeAutoScalingGroups")
def describe_auto_scaling_groups(on):
    assert len(on.look()["AutoScalingGroups"]) >= 3
    on.look(AutoScalingGroupNames=[GROUP])
    assert on.ask(AutoScalingGroupNames=["none"])["AutoScalingGroups"] == []
    on.pages("AutoScalingGroups", paging(1))
    on.refuse("ValidationError", MaxRecords=101)
    on.refuse("InvalidNextToken", NextToken="none")


@walk("autoscaling", "DescribeAutoScalingInstances")
def describe_auto_scaling_instances(on):
    first = on.look()["AutoScalingInstances"][0]
    on.look(InstanceIds=[first["InstanceId"]])
    on.pages("AutoScalingInstances", paging(4))
    on.refuse("ValidationError", MaxRecords=51)
    on.refuse("InvalidNextToken", NextToken="none")


@walk("autoscaling", "DescribeScalingActivities")
def describe_scaling_activities(on):
    scale = {"AutoScalingGroupName": GROUP, "DesiredCapacity": 8}
    on.world.strike(kind="no_capacity", zone="us-east-1a")
    on.world.botocore.call("autoscaling", "SetDesiredCapacity", scale)
    on.world.step(5)
    on.world.strike(kind="capacity_restored")
    activities = on.look(AutoScalingGroupName=GROUP)["Activities"]
    assert {"InProgress", "Failed"} <= {a["StatusCode"] for a in activities}, activities
    on.look()
    on.look(AutoScalingGroupName=GROUP, ActivityIds=[activities[0]["ActivityId"]])
    on.pages("Activities", paging(1), AutoScalingGroupName=GROUP)
    pass_time(on, 180)
    on.refuse("ValidationError", **NO_GROUP)
    on.refuse("ValidationError", MaxRecords=101)
    on.refuse("InvalidNextToken", NextToken="none")


@walk("autoscaling", "DescribeLifecycleHooks")
def describe_lifecycle_hooks(on):
    hook = on.look(AutoScalingGroupName=HOOKED)["LifecycleHooks"][0]
    on.look(AutoScalingGroupName=HOOKED, LifecycleHookNames=[hook["LifecycleHookName"]])
    assert on.look(AutoScalingGroupName=GROUP)["LifecycleHooks"] == []
    on.refuse("ValidationError", **NO_GROUP)


@walk("autoscaling", "DescribeInstanceRefreshes")
def describe_instance_refreshes(on):
    on.world.strike(kind="instance_refresh", fleet=SMALL, duration_s=60)
    for status in ("InProgress", "Successful"):
        (refresh,) = on.look(AutoScalingGroupName=SMALL)["InstanceRefreshes"]
        assert refresh["Status"] == status, refresh
        on.world.step(90)
    on.refuse("ValidationError", **NO_GROUP)
    on.refuse("ValidationError", AutoScalingGroupName=SMALL, MaxRecords=101)
    on.refuse("InvalidNextToken", AutoScalingGroupName=SMALL, NextToken="none")


@walk("autoscaling", "SetDesiredCapacity")
def set_desired_capacity(on):
    on.ask(AutoScalingGroupName=HOOKED, DesiredCapacity=4)
    on.type(AutoScalingGroupName=HOOKED, DesiredCapacity=2)
    pass_time(on, 120)
    on.ask(AutoScalingGroupName=HOOKED, DesiredCapacity=3, HonorCooldown=False)
    on.world.step(5)
    on.refuse("ScalingActivityInProgress", AutoScalingGroupName=HOOKED, DesiredCapacity=2, HonorCooldown=True)
    on.refuse("ValidationError", AutoScalingGroupName=HOOKED, DesiredCapacity=99)
    on.refuse("ValidationError", AutoScalingGroupName=HOOKED, DesiredCapacity=-1)
    on.refuse("ValidationError", DesiredCapacity=1, **NO_GROUP)


@walk("autoscaling", "UpdateAutoScalingGroup")
def update_auto_scaling_group(on):
    on.ask(AutoScalingGroupName=SMALL, MaxSize=5)
    on.type(AutoScalingGroupName=SMALL, MinSize=1, MaxSize=6, NewInstancesProtectedFromScaleIn=False)
    on.refuse("ValidationError", AutoScalingGroupName=SMALL, MinSize=9)
    on.refuse("ValidationError", AutoScalingGroupName=SMALL, DesiredCapacity=7)
    on.refuse("ValidationError", MaxSize=5, **NO_GROUP)


@walk("autoscaling", "TerminateInstanceInAutoScalingGroup")
def terminate_instance(on):
    first, second, *_ = hosts(on, GROUP)
    on.ask(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    on.ask(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    on.type(InstanceId=second, ShouldDecrementDesiredCapacity=True)
    pass_time(on, 600)
    on.refuse("ValidationError", InstanceId=NOBODY, ShouldDecrementDesiredCapacity=False)
    small = hosts(on, SMALL)[0]
    least = {"AutoScalingGroupName": SMALL, "MinSize": len(shown(on, SMALL)["Instances"])}
    on.world.botocore.call("autoscaling", "UpdateAutoScalingGroup", least)
    on.refuse("ValidationError", InstanceId=small, ShouldDecrementDesiredCapacity=True)


@walk("autoscaling", "SetInstanceProtection")
def set_instance_protection(on):
    host = hosts(on, GROUP)[0]
    on.ask(AutoScalingGroupName=GROUP, InstanceIds=[host], ProtectedFromScaleIn=True)
    (kept,) = on.watch("DescribeAutoScalingInstances", InstanceIds=[host])["AutoScalingInstances"]
    assert kept["ProtectedFromScaleIn"], kept
    on.type(AutoScalingGroupName=GROUP, InstanceIds=[host], ProtectedFromScaleIn=False)
    on.refuse("ValidationError", AutoScalingGroupName=GROUP, InstanceIds=[NOBODY], ProtectedFromScaleIn=True)
    on.refuse("ValidationError", AutoScalingGroupName="none", InstanceIds=[host], ProtectedFromScaleIn=True)
    on.refuse("ValidationError", AutoScalingGroupName=GROUP, InstanceIds=[host] * 51, ProtectedFromScaleIn=True)


@walk("autoscaling", "SuspendProcesses")
def suspend_processes(on):
    on.ask(AutoScalingGroupName=SMALL, ScalingProcesses=["AZRebalance"])
    (suspended,) = shown(on, SMALL)["SuspendedProcesses"]
    assert suspended["ProcessName"] == "AZRebalance", suspended
    on.type(AutoScalingGroupName=SMALL)
    on.refuse("ValidationError", AutoScalingGroupName=SMALL, ScalingProcesses=["Sleep"])
    on.refuse("ValidationError", **NO_GROUP)


@walk("autoscaling", "ResumeProcesses")
def resume_processes(on):
    on.ask(AutoScalingGroupName=SMALL, ScalingProcesses=["Launch"])
    on.type(AutoScalingGroupName=SMALL)
    assert shown(on, SMALL)["SuspendedProcesses"] == []
    on.refuse("ValidationError", AutoScalingGroupName=SMALL, ScalingProcesses=["Sleep"])
    on.refuse("ValidationError", **NO_GROUP)


@walk("autoscaling", "LaunchInstances")
def launch_instances(on):
    zone = "us-east-1b"
    request = {"AutoScalingGroupName": HOOKED, "RequestedCapacity": 1, "AvailabilityZones": [zone], "ClientToken": "one"}
    before = shown(on, HOOKED)["DesiredCapacity"]
    on.world.botocore.call("autoscaling", "UpdateAutoScalingGroup", {"AutoScalingGroupName": HOOKED, "MaxSize": before + 4})
    launched = on.ask(**request)
    assert on.ask(**request) == launched, launched
    assert launched["Instances"][0]["AvailabilityZone"] == zone and launched["Errors"] == [], launched
    (state,) = on.watch("DescribeAutoScalingInstances", InstanceIds=launched["Instances"][0]["InstanceIds"])[
        "AutoScalingInstances"
    ]
    assert state["LifecycleState"] == "Pending" and state["AvailabilityZone"] == zone, state
    assert shown(on, HOOKED)["DesiredCapacity"] == before + 1
    subnet = launched["Instances"][0]["SubnetId"]
    on.type(**dict(request, ClientToken="two", AvailabilityZones=[], SubnetIds=[subnet]))
    assert shown(on, HOOKED)["DesiredCapacity"] == before + 2
    on.refuse("IdempotentParameterMismatch", **dict(request, RequestedCapacity=2))

    on.world.strike(kind="no_capacity", zone=zone)
    failed = on.ask(**dict(request, ClientToken="three"))
    assert failed["Instances"] == [] and failed["Errors"][0]["ErrorCode"] == "InsufficientInstanceCapacity", failed
    assert shown(on, HOOKED)["DesiredCapacity"] == before + 2
    on.ask(**dict(request, ClientToken="four", RetryStrategy="retry-with-group-configuration"))
    assert shown(on, HOOKED)["DesiredCapacity"] == before + 3
    on.world.strike(kind="capacity_restored")
    pass_time(on, 120)

    on.refuse("ValidationError", **dict(request, **NO_GROUP))
    new = dict(request, ClientToken="five")
    on.refuse("ValidationError", **dict(new, AvailabilityZones=[]))
    on.refuse("ValidationError", **dict(new, AvailabilityZones=[zone, "us-east-1c"]))
    on.refuse("ValidationError", **dict(new, AvailabilityZones=["us-east-1f"]))
    on.refuse("ValidationError", **dict(new, SubnetIds=["subnet-0"]))
    on.refuse("ValidationError", **dict(new, RetryStrategy="forever"))
    on.refuse("ValidationError", **dict(new, RequestedCapacity=0))
    on.refuse("ValidationError", **dict(new, RequestedCapacity=50))
    on.refuse("ValidationError", **dict(new, ClientToken="x" * 65))


def refresh(on, group):
    """The group's newest refresh."""
    return on.watch("DescribeInstanceRefreshes", AutoScalingGroupName=group)["InstanceRefreshes"][0]


@walk("autoscaling", "StartInstanceRefresh")
def start_instance_refresh(on):
    before = set(hosts(on, GROUP))
    surge = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "ScaleInProtectedInstances": "Refresh"}
    id = on.ask(AutoScalingGroupName=GROUP, Preferences=surge)["InstanceRefreshId"]
    assert refresh(on, GROUP)["Status"] == "Pending"
    on.refuse("InstanceRefreshInProgress", AutoScalingGroupName=GROUP)
    in_service, percent = [], []
    while refresh(on, GROUP)["Status"] in ("Pending", "InProgress"):
        pass_time(on, 30)
        in_service.append(len(hosts(on, GROUP)))
        percent.append(refresh(on, GROUP)["PercentageComplete"])
    done = refresh(on, GROUP)
    assert done["Status"] == "Successful" and done["InstanceRefreshId"] == id, done
    assert not before & set(hosts(on, GROUP)) and len(hosts(on, GROUP)) == len(before)
    assert min(in_service) >= len(before) and percent == sorted(percent) and percent[-1] == 100, (in_service, percent)

    # Nothing in the launch template has changed.
    on.type(AutoScalingGroupName=GROUP, Preferences={"SkipMatching": True})
    on.world.step(10)
    assert refresh(on, GROUP)["Status"] == "Successful"

    def wrong(**preferences):
        on.refuse("ValidationError", AutoScalingGroupName=GROUP, Preferences=preferences)

    wrong(MaxHealthyPercentage=200)
    wrong(MinHealthyPercentage=50, MaxHealthyPercentage=200)
    wrong(MinHealthyPercentage=101)
    wrong(MinHealthyPercentage=100, MaxHealthyPercentage=201)
    wrong(AutoRollback=True)
    wrong(ScaleInProtectedInstances="Kill")
    on.refuse("ValidationError", **NO_GROUP)


@walk("autoscaling", "CancelInstanceRefresh")
def cancel_instance_refresh(on):
    def start():
        on.world.botocore.call("autoscaling", "StartInstanceRefresh", {"AutoScalingGroupName": GROUP})
        on.world.step(30)

    start()
    on.ask(AutoScalingGroupName=GROUP)
    assert refresh(on, GROUP)["Status"] == "Cancelling"
    pass_time(on, 600)
    assert refresh(on, GROUP)["Status"] == "Cancelled"
    start()
    on.type(AutoScalingGroupName=GROUP, WaitForTransitioningInstances=False)
    assert refresh(on, GROUP)["Status"] == "Cancelled"
    pass_time(on, 600)
    on.refuse("ActiveInstanceRefreshNotFound", AutoScalingGroupName=GROUP)
    on.refuse("ValidationError", **NO_GROUP)
