"""The table of figures and names in the README, made from the one that the exporters use."""

from __future__ import annotations

from extensions.metrics_collector.measures import MEASURES, PROMOTED


def markdown():
    """A row for each figure."""
    lines = [
        "| figure | what | kind | `otel` | unit | `lambda_insights` | unit | `datadog` | unit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    promoted = set(PROMOTED["otel"])
    for measure in MEASURES:
        otel = measure.otel
        about = ", ".join(f"`{name}={value}`" for name, value in otel.attributes)
        others = " | ".join(
            f"`{name.name}` | {name.emf_unit}" if name else " | " for name in (measure.insights, measure.datadog)
        )
        star = "\\*" if measure.figure in promoted else ""
        lines.append(
            f"| `{measure.figure}`{star} | {measure.about} | {measure.kind} | `{otel.name}`{' ' + about if about else ''} "
            f"| {otel.unit} | {others} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown())
