"""What was left out, how often and why: every skip is counted under a reason and names its first offender."""

import dataclasses


@dataclasses.dataclass
class Skipped:
    """Counts by reason; `first` names the first thing that was left out for that reason."""

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    first: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, reason, name, count=1):
        """Counts `count` things left out for `reason`; `name` says which (kept for the first one only)."""
        if count:
            self.counts[reason] = self.counts.get(reason, 0) + int(count)
            self.first.setdefault(reason, str(name))

    def merge(self, other):
        """Adds the counts of another skipped."""
        for reason, count in other.counts.items():
            self.add(reason, other.first[reason], count)

    def lines(self):
        """One line a reason for a report, most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [f"{count:>8}  {reason} (first: {self.first[reason]})" for reason, count in ranked]
