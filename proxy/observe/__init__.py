"""What leaves the house about itself: the log, by an allowlist of fields."""
