#!/bin/sh
# Makes the topics of topics.txt that are missing. Partitions bound how many consumers of a group share a topic;
# the relay keys by tenant and subject, so each subject stays in order.
set -eu
while read -r topic; do
    case $topic in '' | '#'*) continue ;; esac
    /opt/kafka/bin/kafka-topics.sh --bootstrap-server "$KAFKA_SERVER" --create --if-not-exists \
        --topic "$topic" --partitions "$KAFKA_TOPIC_PARTITIONS" --replication-factor "$KAFKA_TOPIC_REPLICATION"
done </etc/somagent/topics.txt
