"""Workflows that start by themselves: at a time, when a dataset has a new version, when somebody posts to a hook."""
