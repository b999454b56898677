"""What was not predicted: one line for each reason, and how many hands there are that should have been."""


class LeftOut:
    """Collects what could not be predicted. `problems` are the lines for the user, each once; `hands` is a count."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.hands = 0

    def add(self, problem: str, hands: int = 1) -> None:
        """Counts `hands` that are left out because of `problem`, which is said once for all frames of a video."""
        self.hands += hands
        if problem not in self.problems:
            self.problems.append(problem)
