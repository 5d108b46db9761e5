"""Secrets: derive, hash, seal. The only importer of cryptography."""
