"""The table of figures and names in the README, made from the one that the exporters use."""

from __future__ import annotations

from extensions.metrics_collector.measures import MEASURES, PROMOTED


def markdown():
    """A row for each figure."""
    lines = ["| figure | what | kind | `otel` | unit | `lambda_insights` | unit |", "|---|---|---|---|---|---|---|"]
    promoted = set(PROMOTED["otel"])
    for measure in MEASURES:
        otel, insights = measure.otel, measure.insights
        about = ", ".join(f"`{name}={value}`" for name, value in otel.attributes)
        star = "\\*" if measure.figure in promoted else ""
        lines.append(
            f"| `{measure.figure}`{star} | {measure.about} | {measure.kind} | `{otel.name}`{' ' + about if about else ''} "
            f"| {otel.unit} | {f'`{insights.name}`' if insights else ''} | {insights.emf_unit if insights else ''} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown())
