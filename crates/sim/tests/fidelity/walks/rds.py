"""RDS."""

from walk import walk

PAGES = {"parameter": "MaxRecords", "value": 20, "token": "Marker"}


def refuse_bad_listings(on):
    on.refuse("InvalidParameterValue", MaxRecords=19)
    on.refuse("InvalidParameterValue", MaxRecords=101)
    on.refuse("InvalidParameterValue", Marker="none")


@walk("rds", "DescribeDBClusters")
def describe_db_clusters(on):
    first = on.look()["DBClusters"][0]
    on.look(DBClusterIdentifier=first["DBClusterIdentifier"])
    on.look(DBClusterIdentifier=first["DBClusterArn"])
    on.look(Filters=[{"Name": "db-cluster-id", "Values": [first["DBClusterIdentifier"]]}])
    on.pages("DBClusters", PAGES)
    on.refuse("DBClusterNotFoundFault", DBClusterIdentifier="none")
    on.refuse("InvalidParameterValue", Filters=[{"Name": "colour", "Values": ["red"]}])
    refuse_bad_listings(on)


@walk("rds", "DescribeDBInstances")
def describe_db_instances(on):
    first = on.look()["DBInstances"][0]
    on.look(DBInstanceIdentifier=first["DBInstanceIdentifier"])
    on.look(Filters=[{"Name": "db-cluster-id", "Values": [first["DBClusterIdentifier"]]}])
    on.pages("DBInstances", PAGES)
    on.refuse("DBInstanceNotFound", DBInstanceIdentifier="none")
    on.refuse("InvalidParameterValue", Filters=[{"Name": "colour", "Values": ["red"]}])
    refuse_bad_listings(on)


@walk("rds", "DescribeEvents")
def describe_events(on):
    for cluster in on.world.get("/_sim/world")["clusters"][:6]:
        on.world.strike(kind="cluster_failover", cluster=cluster["id"], duration_s=30)
    on.world.step(60)
    events = on.look()["Events"]
    on.look(SourceIdentifier=events[0]["SourceIdentifier"], SourceType="db-cluster", Duration=5)
    on.look(EventCategories=["failover"], StartTime=events[0]["Date"], EndTime=events[-1]["Date"])
    on.pages("Events", PAGES)
    on.refuse("InvalidParameterCombination", SourceIdentifier="none")
    on.refuse("InvalidParameterValue", SourceType="db-moon")
    on.refuse("InvalidParameterCombination", StartTime=events[-1]["Date"], EndTime=events[0]["Date"])
    refuse_bad_listings(on)


@walk("rds", "FailoverDBCluster")
def failover_db_cluster(on):
    one, other = (c["id"] for c in on.world.get("/_sim/world")["clusters"][-2:])
    reader, writer = f"{one}-2", f"{one}-1"
    on.refuse("DBClusterNotFoundFault", DBClusterIdentifier="none")
    on.refuse("DBInstanceNotFound", DBClusterIdentifier=one, TargetDBInstanceIdentifier="none")
    on.refuse("InvalidDBInstanceState", DBClusterIdentifier=one, TargetDBInstanceIdentifier=writer)
    answer = on.ask(DBClusterIdentifier=one, TargetDBInstanceIdentifier=reader)
    assert answer["DBCluster"]["Status"] == "failing-over", answer
    on.refuse("InvalidDBClusterStateFault", DBClusterIdentifier=one)
    on.type(DBClusterIdentifier=other)
    for _ in range(6):
        on.world.step(8)
        (shown,) = on.watch("DescribeDBClusters", DBClusterIdentifier=one)["DBClusters"]
        on.watch("DescribeDBInstances", Filters=[{"Name": "db-cluster-id", "Values": [one]}])
    writers = [m["DBInstanceIdentifier"] for m in shown["DBClusterMembers"] if m["IsClusterWriter"]]
    assert writers == [reader] and shown["Status"] == "available", shown


@walk("rds", "ModifyDBInstance")
def modify_db_instance(on):
    cluster = on.world.get("/_sim/world")["clusters"][-3]["id"]
    reader, other = f"{cluster}-2", f"{cluster}-1"
    wanted = {"DBInstanceIdentifier": reader, "DBInstanceClass": "db.r6i.32xlarge", "ApplyImmediately": True}
    on.ask(DBInstanceIdentifier=other, PromotionTier=3)
    on.ask(**wanted)
    statuses = []
    for _ in range(40):
        (shown,) = on.watch("DescribeDBInstances", DBInstanceIdentifier=reader)["DBInstances"]
        on.watch("DescribeDBClusters", DBClusterIdentifier=cluster)
        statuses.append((shown["DBInstanceStatus"], shown["DBInstanceClass"]))
        on.world.step(20)
    assert statuses[0] == ("available", "db.r6i.24xlarge") and statuses[-1] == ("available", "db.r6i.32xlarge"), statuses
    assert "modifying" in {status for status, _ in statuses}, statuses
    on.watch("DescribeEvents", SourceType="db-instance")
    on.type(DBInstanceIdentifier=other, DBInstanceClass="db.r6i.32xlarge", ApplyImmediately=False)
    (pending,) = on.watch("DescribeDBInstances", DBInstanceIdentifier=other)["DBInstances"]
    assert pending["PendingModifiedValues"] == {"DBInstanceClass": "db.r6i.32xlarge"}, pending
    on.refuse("DBInstanceNotFound", **dict(wanted, DBInstanceIdentifier="none"))
    on.refuse("InvalidParameterValue", **dict(wanted, DBInstanceClass="db.r6i.64xlarge"))
    on.refuse("InvalidParameterValue", DBInstanceIdentifier=reader, PromotionTier=16)
    on.world.strike(kind="not_orderable", **{"class": "db.r6i.16xlarge"})
    on.refuse("InsufficientDBInstanceCapacity", **dict(wanted, DBInstanceClass="db.r6i.16xlarge"))
    on.world.botocore.call("rds", "ModifyDBInstance", dict(wanted, DBInstanceClass="db.r6i.8xlarge"))
    on.world.step(60)
    on.refuse("InvalidDBInstanceState", **dict(wanted, DBInstanceClass="db.r6i.12xlarge"))


@walk("rds", "DescribeBlueGreenDeployments")
def describe_blue_green_deployments(on):
    assert on.look()["BlueGreenDeployments"] == []
    cluster = on.world.get("/_sim/world")["clusters"][0]["id"]
    on.world.strike(kind="blue_green", cluster=cluster)
    [there] = on.look()["BlueGreenDeployments"]
    assert there["Source"].endswith(f":cluster:{cluster}") and there["Status"] == "AVAILABLE"
    by = lambda name, value: on.look(Filters=[{"Name": name, "Values": [value]}])["BlueGreenDeployments"]
    assert by("source", there["Source"]) == by("target", there["Target"]) == [there]
    assert by("source", there["Target"]) == []
    assert by("blue-green-deployment-name", there["BlueGreenDeploymentName"]) == [there]
    id = there["BlueGreenDeploymentIdentifier"]
    assert on.look(BlueGreenDeploymentIdentifier=id)["BlueGreenDeployments"] == [there]
    on.refuse("BlueGreenDeploymentNotFoundFault", BlueGreenDeploymentIdentifier="bgd-none")
    on.refuse("InvalidParameterValue", Filters=[{"Name": "nonsense", "Values": ["x"]}])
    on.refuse("InvalidParameterValue", MaxRecords=101)


@walk("rds", "DescribeOrderableDBInstanceOptions")
def describe_orderable_db_instance_options(on):
    engine = {"Engine": "aurora-mysql"}
    on.look(DBInstanceClass="db.r6i.8xlarge", **engine)
    on.look(**engine)
    assert on.look(Engine="aurora-postgresql")["OrderableDBInstanceOptions"] == []
    on.pages("OrderableDBInstanceOptions", PAGES, **engine)
    on.refuse("InvalidParameterValue", MaxRecords=1001, **engine)
    on.refuse("InvalidParameterValue", Marker="none", **engine)
