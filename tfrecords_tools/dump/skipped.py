"""What was left out, how often and why: each reason has a count and names the first thing that was left out for it."""

import dataclasses


@dataclasses.dataclass
class Skipped:
    """Counts by reason; `first` names the first thing that was left out for that reason."""

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    first: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, reason: str, name: object, count: int = 1) -> None:
        """Counts `count` things left out for `reason`; `name` says which."""
        if count:
            self.counts[reason] = self.counts.get(reason, 0) + int(count)
            self.first.setdefault(reason, str(name))

    def merge(self, other: "Skipped") -> None:
        """Adds the counts of `other`."""
        for reason, count in other.counts.items():
            self.add(reason, other.first[reason], count)

    def lines(self) -> list[str]:
        """One line per reason for a report, most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [f"{count:>8}  {reason} (first: {self.first[reason]})" for reason, count in ranked]
