"""The words everybody here shares: ids, clock, keys, calls, usage, charges, ports, errors. Pure."""
