"""One request's life: planned, reserved, tried, relayed, charged. Decides; acts through ports."""
