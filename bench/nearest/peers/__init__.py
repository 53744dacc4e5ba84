"""One adapter a peer: the same steps in its own words."""
