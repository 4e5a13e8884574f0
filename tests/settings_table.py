"""The README's table of settings, made from the settings classes: ``python tests/settings_table.py`` writes it."""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN = "<!-- settings: written by make settings -->"
END = "<!-- /settings -->"
HEAD = "| Variable | Default | Read by | Meaning |\n|---|---|---|---|"


def settings_classes() -> list[tuple[str, type[BaseSettings]]]:
    """Give every settings class that a service defines, with the service's name."""
    found = []
    for path in sorted(ROOT.glob("services/*/src/voice_*/settings.py")):
        module = importlib.import_module(f"{path.parent.name}.settings")
        found += [
            (path.parents[2].name, thing)
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, BaseSettings) and thing.__module__ == module.__name__
        ]
    return found


def settings_table() -> str:
    """Give the table: what several services read comes first, then each service's own."""
    readers: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    services = set()
    for service, model in settings_classes():
        services.add(service)
        for name, field in model.model_fields.items():
            variable = str(model.model_config["env_prefix"]) + name.upper()
            readers[variable, default_of(field), field.description or ""].add(service)
    rows = sorted(
        (len(who) == 1, ", ".join(sorted(who)) if len(who) == 1 else "", *row, who) for row, who in readers.items()
    )
    return "\n".join(
        [
            HEAD,
            *(
                f"| `{variable}` | {default} | {'all' if who == services else ', '.join(sorted(who))} | {meaning} |"
                for _, _, variable, default, meaning, who in rows
            ),
        ]
    )


def default_of(field: FieldInfo) -> str:
    """Render a setting's default as it would be written in the environment."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


def table_in_readme() -> str:
    """Give the table as the README has it."""
    return README.read_text().partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]


def write_readme() -> None:
    """Put the present table into the README."""
    before, _, rest = README.read_text().partition(f"{BEGIN}\n")
    README.write_text(f"{before}{BEGIN}\n{settings_table()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write_readme()
