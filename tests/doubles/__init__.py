"""Stand-ins for servers that cannot be had offline. Real HTTP on 127.0.0.1; never shipped."""
