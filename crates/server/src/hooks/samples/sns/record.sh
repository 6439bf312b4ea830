#!/bin/sh
# Makes the messages in this folder as SNS signs them, with certificates of an authority of our own: by openssl and jq, so that
# our reading of "how SNS signs" is not only compared with itself. Needed again only when a message is to be another one.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

certificate() { # name, subject, from, to, authority
    openssl req -newkey rsa:2048 -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$2" 2>/dev/null
    mkdir -p "$work/new"
    : >"$work/index"
    printf '[ca]\ndefault_ca=c\n[c]\ndatabase=%s/index\nnew_certs_dir=%s/new\npolicy=p\ndefault_md=sha256\nrand_serial=yes\n[p]\ncommonName=supplied\n' \
        "$work" "$work" >"$work/ca.cnf"
    set -- "$1" "$2" "$3" "$4" "${5:-}"
    if [ -z "$5" ]; then by="-selfsign -keyfile $work/$1.key"; else by="-keyfile $work/$5.key -cert $work/$5.crt"; fi
    # shellcheck disable=SC2086
    openssl ca -batch -notext -config "$work/ca.cnf" $by -startdate "$3" -enddate "$4" -in "$work/$1.csr" -out "$work/$1.crt" 2>/dev/null
    cp "$work/$1.crt" "$1.pem"
}

certificate authority "An authority of tests" 20150101000000Z 21150101000000Z
certificate signer sns.amazonaws.com 20150101000000Z 21150101000000Z authority
certificate expired sns.amazonaws.com 20150101000000Z 20240101000000Z authority
certificate stranger sns.amazonaws.com 20150101000000Z 21150101000000Z

signed() { # name, version, by, and the message without its signature on standard input
    message=$(jq -c --arg version "$2" --arg by "$3" \
        '. + { SignatureVersion: $version, SigningCertURL: "http://127.0.0.1:4599/_sim/sns/\($by).pem" }')
    hash=sha1
    [ "$2" = 1 ] || hash=sha256
    signature=$(printf '%s' "$message" | jq -j '. as $m
        | (if .Type == "Notification" then ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
           else ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"] end)[]
        | select($m[.] != null) | "\(.)\n\($m[.])\n"' | openssl dgst "-$hash" -sign "$work/$3.key" | base64 -w0)
    printf '%s' "$message" | jq --arg signature "$signature" '. + { Signature: $signature }' >"$1.json"
}

notification() { # id, file of the message, time
    jq -n --arg id "$1" --rawfile message "$2" --arg at "$3" '{
        Type: "Notification", MessageId: $id, TopicArn: "arn:aws:sns:us-east-1:111122223333:incidents",
        Message: ($message | fromjson | tojson), Timestamp: $at }'
}

on=2024-05-07T14:00:00.000Z
notification 22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324 ../cloudwatch-alarm.json $on |
    jq '.Subject = "ALARM: \"shard-b-login-failures\" in US East (N. Virginia)"' >"$work/alarm"
signed alarm.v1 1 signer <"$work/alarm"
signed alarm.v2 2 signer <"$work/alarm"
signed alarm.expired 2 expired <"$work/alarm"
signed alarm.stranger 2 stranger <"$work/alarm"
notification 11111111-fdea-4c2c-8f9d-bdfb0c7bf324 ../cloudwatch-alarm.json 2024-05-07T12:00:00.000Z | signed alarm.late 2 signer
notification 33b80b92-fdea-4c2c-8f9d-bdfb0c7bf324 ../rds-event.json $on | signed rds-event 2 signer
jq -n --arg at $on '{
    Type: "SubscriptionConfirmation", MessageId: "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", Token: "2336412f37f",
    TopicArn: "arn:aws:sns:us-east-1:111122223333:incidents",
    Message: "You have chosen to subscribe to the topic arn:aws:sns:us-east-1:111122223333:incidents.\nTo confirm the subscription, visit the SubscribeURL included in this message.",
    SubscribeURL: "http://127.0.0.1:4599/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:111122223333:incidents&Token=2336412f37f",
    Timestamp: $at }' >"$work/subscription"
signed subscription 2 signer <"$work/subscription"
jq '.SubscribeURL = "http://127.0.0.1:9/?Action=ConfirmSubscription"' "$work/subscription" | signed subscription.elsewhere 2 signer
jq '.Type = "UnsubscribeConfirmation" | .MessageId = "47138184-6831-46b8-8f7c-afc488602d7d"' "$work/subscription" |
    signed unsubscribed 1 signer
