"""One module a verb: parse, call, present."""
