# One Vault server with its own storage. It starts sealed: see infra/README.md.
ui            = false
disable_mlock = true
api_addr      = "http://vault:8200"
cluster_addr  = "http://vault:8201"

storage "raft" {
  path    = "/vault/file"
  node_id = "vault-1"
}

# Plain HTTP inside the compose network, published on loopback only. Give it a certificate before it is reached from elsewhere.
listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}
