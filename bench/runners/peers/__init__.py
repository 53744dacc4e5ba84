"""One adapter a runner: the same graphs in its own words."""
