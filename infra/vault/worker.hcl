# Workers that call models (queues slm and slm-batch) read the keys of providers, and nothing else. Gateway, relay and the
# other workers read no secret from Vault, so they have no policy and no login.
path "somagent/data/models/*" {
  capabilities = ["read"]
}
