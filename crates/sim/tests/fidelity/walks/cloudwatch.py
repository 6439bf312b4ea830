"""CloudWatch: three protocols, and each is walked (see `On.other_protocols`)."""

from datetime import datetime, timedelta

from walk import walk

PAGES = {"parameter": "MaxRecords", "value": 1, "token": "NextToken"}


def stat(id, metric, dimensions, period=60, statistic="Average", **more):
    named = [{"Name": k, "Value": v} for k, v in dimensions.items()]
    metric = {"Namespace": "AWS/RDS", "MetricName": metric, "Dimensions": named}
    return {"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic}, **more}


def span(on, minutes):
    now = datetime.fromisoformat(on.world.get("/_sim/clock")["now"].replace("Z", "+00:00"))
    return {"StartTime": now - timedelta(minutes=minutes), "EndTime": now}


@walk("cloudwatch", "GetMetricData")
def get_metric_data(on):
    writer, reader = {"DBInstanceIdentifier": "cluster-4-1"}, {"DBInstanceIdentifier": "cluster-4-2"}
    cluster = {"DBClusterIdentifier": "cluster-4"}
    metrics = ("CPUUtilization", "DatabaseConnections", "FreeableMemory", "LoginFailures")
    queries = [stat(f"w{n}", metric, writer) for n, metric in enumerate(metrics)]
    queries += [
        stat("lag", "AuroraReplicaLag", reader),
        stat("most", "AuroraReplicaLagMaximum", dict(cluster, Role="WRITER"), 300, "Maximum"),
        stat("count", "DatabaseConnections", cluster, 300, "SampleCount", Label="how many"),
        stat("unseen", "DatabaseConnections", cluster, ReturnData=False),
        stat("nothing", "FreeLocalStorage", writer),
    ]
    last_hour = span(on, 60)
    results = {r["Id"]: r for r in on.look(MetricDataQueries=queries, **last_hour)["MetricDataResults"]}
    assert "unseen" not in results and results["nothing"]["Values"] == [], results
    assert len(results["w0"]["Values"]) == 60 and len(results["most"]["Values"]) in (12, 13), results
    assert results["w1"]["Values"][0] > 1000 and results["w3"]["Values"][0] == 0, results
    assert max(results["count"]["Values"]) == 10, results  # two instances in five minutes
    newest_first = results["lag"]["Timestamps"]
    assert newest_first == sorted(newest_first, reverse=True), newest_first
    assert all(0 < lag < 30 for lag in results["lag"]["Values"]), results["lag"]
    on.look(MetricDataQueries=queries, ScanBy="TimestampAscending", **last_hour)

    # The pages cut a metric's values wherever they are full.
    pages, token, merged = 0, {}, {}
    while token is not None:
        page = on.ask(MetricDataQueries=queries, MaxDatapoints=100, **last_hour, **token)
        for result in page["MetricDataResults"]:
            merged.setdefault(result["Id"], []).extend(result["Values"])
        token, pages = {"NextToken": page["NextToken"]} if "NextToken" in page else None, pages + 1
    assert pages > 2 and merged == {id: r["Values"] for id, r in results.items()}, (pages, merged)

    on.world.strike(kind="replica_lag", cluster="cluster-4", instance="cluster-4-2", milliseconds=5000)
    on.world.strike(kind="wrong_credentials", cluster="cluster-4")
    on.world.step(180)
    struck = on.look(MetricDataQueries=queries, **span(on, 1))["MetricDataResults"]
    values = {r["Id"]: r["Values"] for r in struck}
    assert values["lag"][0] == 5000 and values["w3"][0] > 1000, values
    on.world.strike(kind="replica_lag", cluster="cluster-4", instance="cluster-4-2", milliseconds=12)
    on.world.strike(kind="credentials_restored", cluster="cluster-4")

    on.refuse("ValidationError", MetricDataQueries=queries, StartTime=last_hour["EndTime"], EndTime=last_hour["StartTime"])
    on.refuse("ValidationError", MetricDataQueries=queries[:1] * 2, **last_hour)
    on.refuse("ValidationError", MetricDataQueries=[stat("Upper", "CPUUtilization", writer)], **last_hour)
    on.refuse("ValidationError", MetricDataQueries=[stat("p", "CPUUtilization", writer, period=7)], **last_hour)
    on.refuse("ValidationError", MetricDataQueries=[stat("s", "CPUUtilization", writer, statistic="Mode")], **last_hour)
    on.refuse("ValidationError", MetricDataQueries=[{"Id": "e", "Expression": "w0 * 2"}], **last_hour)
    on.refuse("MissingParameter", MetricDataQueries=[{"Id": "e"}], **last_hour)
    on.refuse("InvalidNextToken", MetricDataQueries=queries, NextToken="none", **last_hour)


@walk("cloudwatch", "ListMetrics")
def list_metrics(on):
    named = on.look(Namespace="AWS/RDS", Dimensions=[{"Name": "DBInstanceIdentifier", "Value": "cluster-4-2"}])["Metrics"]
    assert "AuroraReplicaLag" in {m["MetricName"] for m in named}, named
    assert on.look(Namespace="AWS/Nothing")["Metrics"] == []
    first = on.ask()
    rest = on.ask(NextToken=first["NextToken"])["Metrics"]
    assert first["Metrics"] and rest and not any(m in first["Metrics"] for m in rest)
    assert len(on.type()["Metrics"]) > len(first["Metrics"])  # awscli turns the pages
    on.refuse("InvalidParameterValue", NextToken="none")


@walk("cloudwatch", "DescribeAlarms")
def describe_alarms(on):
    def state(name):
        (alarm,) = on.look(AlarmNames=[name])["MetricAlarms"]
        return alarm["StateValue"]

    names = [a["AlarmName"] for a in on.look()["MetricAlarms"]]
    assert state(names[0]) == "OK"
    on.look(AlarmNamePrefix="cluster-", AlarmTypes=["MetricAlarm"], StateValue="OK")
    on.pages("MetricAlarms", PAGES)
    on.world.strike(kind="wrong_credentials", cluster="cluster-1")
    on.world.step(180)
    assert state(names[0]) == "ALARM"
    on.world.strike(kind="credentials_restored", cluster="cluster-1")
    on.world.step(240)
    assert state(names[0]) == "OK"
    on.refuse("ValidationError", AlarmNames=[names[0]], AlarmNamePrefix="cluster-")
    on.refuse("ValidationError", StateValue="PANIC")
    on.refuse("InvalidParameterValue", MaxRecords=101)
    on.refuse("InvalidNextToken", NextToken="none")
