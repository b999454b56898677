"""The dome: a synthetic multi-view capture studio; `hand-tf dome` is its command."""
