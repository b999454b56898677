"""Remarks: what a user should know, but need not act on; commands print them as lines that begin with `note:`."""

import warnings


class Remark(UserWarning):
    """Something a user should know."""


def remark(text: str) -> None:
    """Makes a remark, once for each text."""
    warnings.warn(text, Remark, stacklevel=3)
