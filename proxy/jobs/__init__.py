"""The jobs beside the requests: a table of steps, each one turn of a loop, and their runner."""
