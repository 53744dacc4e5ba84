"""Recorded calls as a workflow file: the sequence somebody went through once, to be run again with other inputs."""
