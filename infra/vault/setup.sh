#!/bin/sh
# Prepares an unsealed Vault for us; may run again without harm: the key-value store `somagent` (version 2), the policy of the workers,
# and an AppRole `somagent-worker` that logs in with it. Prints the role's id. Needs curl, VAULT_ADDR and a VAULT_TOKEN that may
# do this (VAULT_CACERT and VAULT_NAMESPACE as Vault's own tools read them).
set -eu
: "${VAULT_ADDR:?set it to Vault\'s address}" "${VAULT_TOKEN:?set it to a token that may mount stores and write policies}"
here=$(cd "$(dirname "$0")" && pwd)
umask 077
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
# In a file, because a command line can be read by every user of the host.
printf 'X-Vault-Token: %s\nX-Vault-Request: true\n' "$VAULT_TOKEN" > "$headers"
[ -z "${VAULT_NAMESPACE:-}" ] || printf 'X-Vault-Namespace: %s\n' "$VAULT_NAMESPACE" >> "$headers"

vault() { # METHOD PATH [BODY]: prints the answer, fails for an error
    set -- "$1" "$2" "${3:-}"
    printf '%s' "$3" | curl --silent --show-error --fail --max-time 10 --noproxy '*' ${VAULT_CACERT:+--cacert "$VAULT_CACERT"} \
        --header "@$headers" --request "$1" ${3:+--data @-} "${VAULT_ADDR%/}/v1/$2"
}
has() { vault GET "$1" | grep -q "\"$2/\""; }

has sys/mounts somagent || vault POST sys/mounts/somagent '{"type": "kv", "options": {"version": "2"}}'
has sys/auth approle || vault POST sys/auth/approle '{"type": "approle"}'
# As a JSON text: backslashes and quotes are escaped, lines are joined by \n.
policy=$(sed 's/\\/\\\\/g; s/"/\\"/g' "$here/worker.hcl" | awk '{ printf "%s\\n", $0 }')
vault PUT sys/policies/acl/somagent-worker "{\"policy\": \"$policy\"}"
vault POST auth/approle/role/somagent-worker \
    '{"token_policies": ["somagent-worker"], "token_ttl": "1h", "token_max_ttl": "24h", "secret_id_ttl": "2160h"}'
vault GET auth/approle/role/somagent-worker/role-id | sed 's/.*"role_id": *"\([^"]*\)".*/\1/'
