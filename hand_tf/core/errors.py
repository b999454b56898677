"""The error for what a user can cause and mend."""


class InputError(ValueError):
    """Something that the user gave, or that lies on the disk, is wrong; the message names it and what was expected.

    Commands print it as one line. Any other ValueError is a fault of the program, which shows its traceback.
    """
