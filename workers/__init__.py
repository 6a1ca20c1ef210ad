"""One file per worker: file = queue = process.  A task is a door: ids in, one call, nothing returned."""
