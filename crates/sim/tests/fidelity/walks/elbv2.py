"""Elastic Load Balancing v2."""

from walk import walk

NOWHERE = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/none/0000000000000000"


def group(on):
    """The ARN of a target group."""
    return on.world.get("/_sim/world")["fleets"][0]["target_group_arn"]


@walk("elbv2", "DescribeTargetHealth")
def describe_target_health(on):
    arn = group(on)
    shown = on.look(TargetGroupArn=arn)["TargetHealthDescriptions"]
    target = shown[0]["Target"]
    stranger = {"Id": "i-00000000000000000"}
    on.look(TargetGroupArn=arn, Targets=[target, stranger])
    on.refuse("TargetGroupNotFound", TargetGroupArn=NOWHERE)


@walk("elbv2", "DescribeTargetGroups")
def describe_target_groups(on):
    shown = on.look()["TargetGroups"]
    on.look(Names=[shown[0]["TargetGroupName"]])
    on.look(TargetGroupArns=[shown[0]["TargetGroupArn"]])
    on.look(LoadBalancerArn=shown[0]["LoadBalancerArns"][0])
    on.pages("TargetGroups", {"parameter": "PageSize", "value": 1, "token": "Marker", "answers": "NextMarker"})
    on.refuse("TargetGroupNotFound", Names=["none"])
    on.refuse("TargetGroupNotFound", TargetGroupArns=[NOWHERE])
    on.refuse("LoadBalancerNotFound", LoadBalancerArn=NOWHERE.replace("targetgroup", "loadbalancer/net"))
    on.refuse("ValidationError", PageSize=401)
    on.refuse("ValidationError", Marker="none")


@walk("elbv2", "DescribeTargetGroupAttributes")
def describe_target_group_attributes(on):
    on.look(TargetGroupArn=group(on))
    on.refuse("TargetGroupNotFound", TargetGroupArn=NOWHERE)
