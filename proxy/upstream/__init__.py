"""Connections to providers: pool, timeouts by phase, credentials, health."""
