"""
Write the charts' generated files anew, or with `--check` say which are out of date.

    charts/tradingbot-operator   values.yaml, values.schema.json, the table of README.md, files of crds/ and docs
    charts/tradingbot-crds       the same, and templates/ from crds/
    charts/*/Chart.yaml          version and appVersion are the project's
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pydantic import BaseModel
from written import write_or_check

from charts import emit
from charts.crds import template
from charts.values import ChartValues, CrdValues

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- values -->\n", "<!-- /values -->"
TITLES = {"tradingbot-operator": "The operator of TradingBots.", "tradingbot-crds": "The TradingBot resource."}
MODELS: dict[str, type[BaseModel]] = {"tradingbot-operator": ChartValues, "tradingbot-crds": CrdValues}


def wanted() -> dict[Path, str]:
    """Return every generated file with what it must hold."""
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if version is None:
        raise ValueError("pyproject.toml states no version")
    out: dict[Path, str] = {}
    for name, model in MODELS.items():
        chart = ROOT / "charts" / name
        out[chart / "values.yaml"] = emit.values_yaml(model, TITLES[name])
        out[chart / "values.schema.json"] = emit.schema_json(model)
        readme = (chart / "README.md").read_text()
        before, _, rest = readme.partition(BEGIN)
        _, _, after = rest.partition(END)
        out[chart / "README.md"] = before + BEGIN + emit.table(model) + END + after
        text = (chart / "Chart.yaml").read_text()
        text = re.sub(r"(?m)^version: .*$", f"version: {version[1]}", text)
        out[chart / "Chart.yaml"] = re.sub(r"(?m)^appVersion: .*$", f'appVersion: "{version[1]}"', text)
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        out[ROOT / "charts/tradingbot-crds/templates" / path.name] = template(path.read_text())
    return out


def main() -> None:
    files = wanted()
    extra = sorted(set((ROOT / "charts/tradingbot-crds/templates").glob("*.yaml")) - files.keys())
    write_or_check(ROOT, files, extra=extra)


if __name__ == "__main__":
    main()
