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
