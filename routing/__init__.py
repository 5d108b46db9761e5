"""The routing table: who makes a model, who carries a request, under whose law, at what price.

Pure: nothing here does I/O except `load`, and nothing here knows the proxy.
"""
