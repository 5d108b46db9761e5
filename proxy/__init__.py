"""ApiLink: a prepaid API platform for large language models."""

__version__ = "0.1.0"
