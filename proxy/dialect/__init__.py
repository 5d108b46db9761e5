"""What providers and SDKs speak: SSE, request and answer shapes, usage, errors. Pure."""
