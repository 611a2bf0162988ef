"""Stores of secrets: the environment, an encrypted file, Vault."""
