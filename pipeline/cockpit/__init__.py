"""What operators see: the state of a world over all time, as JSON-able content. Light: no arrays, no cube."""
