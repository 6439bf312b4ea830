"""That the reading of answers sees what is wrong: a good answer is good, and each way to spoil it is complained about."""

import sys
import unittest

from calls import Botocore, Raw

import answers

ID = "c2e5b0a1-0000-4000-8000-000000000001"

GROUPS = """<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">
<DescribeAutoScalingGroupsResult><AutoScalingGroups><member>
<AutoScalingGroupName>g</AutoScalingGroupName><MinSize>1</MinSize><MaxSize>2</MaxSize><DesiredCapacity>1</DesiredCapacity>
<DefaultCooldown>300</DefaultCooldown><AvailabilityZones><member>us-east-1a</member></AvailabilityZones>
<HealthCheckType>EC2</HealthCheckType><CreatedTime>2024-05-07T14:30:00.000Z</CreatedTime>
<Instances><member><InstanceId>i-1</InstanceId><AvailabilityZone>us-east-1a</AvailabilityZone>
<LifecycleState>InService</LifecycleState><HealthStatus>Healthy</HealthStatus>
<ProtectedFromScaleIn>false</ProtectedFromScaleIn></member></Instances>
</member></AutoScalingGroups></DescribeAutoScalingGroupsResult>
<ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></DescribeAutoScalingGroupsResponse>"""

REFUSED = """<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error><Type>Sender</Type>
<Code>DBClusterNotFoundFault</Code><Message>none</Message></Error><RequestId>ID</RequestId></ErrorResponse>"""

INSTANCES = """<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>ID</requestId>
<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId>
<instanceState><code>16</code><name>running</name></instanceState></item></instancesSet></item></reservationSet>
</DescribeInstancesResponse>"""


def raw(text, status=200):
    body = text.replace("\n", "").replace(">ID<", f">{ID}<")
    return Raw(status, {"x-amzn-requestid": ID}, body.encode())


class Answers(unittest.TestCase):
    def setUp(self):
        botocore = Botocore("http://127.0.0.1:1")
        self.groups = botocore.model("autoscaling", "DescribeAutoScalingGroups")
        self.clusters = botocore.model("rds", "DescribeDBClusters")
        self.instances = botocore.model("ec2", "DescribeInstances")

    def spoiled(self, model, text, old, new, complaint):
        self.assertIn(old, text)
        found = answers.success(model, raw(text.replace(old, new, 1)))
        self.assertTrue(any(complaint in f for f in found), f"{old} -> {new}: {found}")

    def test_a_good_answer_is_good(self):
        self.assertEqual(answers.success(self.groups, raw(GROUPS)), [])
        self.assertEqual(answers.success(self.instances, raw(INSTANCES)), [])
        self.assertEqual(answers.refusal(self.clusters, "DBClusterNotFoundFault", raw(REFUSED, 404)), [])

    def test_each_way_to_spoil_it_is_seen(self):
        for old, new, complaint in (
            ("<MinSize>1</MinSize>", "", "MinSize: required, and missing"),
            ("<MinSize>1</MinSize>", "<MinSize>one</MinSize>", "no integer"),
            ("<MinSize>1</MinSize>", "<MinSize>1</MinSize><MinSize>1</MinSize>", "twice"),
            ("<MinSize>1</MinSize>", "<MinSize>1</MinSize><Size>1</Size>", "no such member"),
            ("<MinSize>1</MinSize>", "<MinSize>1</MinSize>text", "stray text"),
            ("<ProtectedFromScaleIn>false", "<ProtectedFromScaleIn>False", "no boolean"),
            (">InService<", ">in-service<", "is none of"),
            (">2024-05-07T14:30:00.000Z<", ">2024-05-07 14:30<", "no timestamp"),
            ("<member>us-east-1a</member>", "<item>us-east-1a</item>", "items are called member"),
            ("<AutoScalingGroupName>g<", "<AutoScalingGroupName><", "is not between 1"),
            ("doc/2011-01-01/", "doc/2012-01-01/", "namespace"),
            ("<RequestId>ID", "<RequestId>other", "request's id"),
        ):
            self.spoiled(self.groups, GROUPS, old, new, complaint)
        unwrapped = GROUPS.replace("DescribeAutoScalingGroupsResult>", "Result>")
        self.assertIn("expected one DescribeAutoScalingGroupsResult", answers.success(self.groups, raw(unwrapped))[0])
        self.spoiled(self.instances, INSTANCES, "<code>16</code>", "<Code>16</Code>", "no such member")
        self.spoiled(self.instances, INSTANCES, ">running<", ">walking<", "is none of")

    def test_a_refusal_has_the_models_status_code_and_envelope(self):
        def complaints(text, status, code="DBClusterNotFoundFault"):
            return " ".join(answers.refusal(self.clusters, code, raw(text, status)))

        self.assertIn("comes with HTTP 404", complaints(REFUSED, 400))
        self.assertIn("neither declared", complaints(REFUSED, 400, "ClusterMissing"))
        self.assertIn("envelope", complaints(REFUSED.replace("Sender", "Receiver"), 404))
        self.assertIn("no message", complaints(REFUSED.replace(">none<", "><"), 404))


if __name__ == "__main__":
    sys.exit(unittest.main())
