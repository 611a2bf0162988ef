#!/bin/sh
# Makes the namespace and the search attributes our workflows set. Safe to run again: what is there is kept.
# TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are read by the temporal command itself.
set -eu
namespace=${TEMPORAL_NAMESPACE:-default}
retention=${TEMPORAL_RETENTION:-168h}
attributes=${SEARCH_ATTRIBUTES_FILE:-/etc/somagent/search-attributes.txt}

temporal operator cluster health
temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$namespace" --retention "$retention"

set --
while read -r name; do
    case $name in '' | '#'*) continue ;; esac
    set -- "$@" --name "$name" --type Keyword
done <"$attributes"
# A namespace just made is not known to every part of the server at once.
attempt=0
until temporal operator search-attribute create --namespace "$namespace" "$@"; do
    attempt=$((attempt + 1))
    [ "$attempt" -lt 30 ] || exit 1
    sleep 1
done
