"""The dome: a synthetic multi-view capture studio; `python -m tfrecords_tools.dome` is its command."""
