"""Whether the indexes that a service reads by are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from voice_common.doctor.findings import Check, Finding, Surroundings, failed, ok


def index_check(service: str, indexes: Mapping[str, Collection[str]]) -> Check:
    """Make the check of the indexes, by collection, that a service makes at its start."""

    async def look(surroundings: Surroundings) -> Finding:
        missing = [
            f"{collection}.{name}"
            for collection, names in indexes.items()
            for name in sorted(set(names) - set(await surroundings.database[collection].index_information()))
        ]
        if missing:
            return failed(
                f"missing: {', '.join(missing)}",
                f"voice admin init-db makes them; so does the {service} service at its start, where it may",
            )
        return ok(f"all {sum(map(len, indexes.values()))} are there")

    return Check(f"indexes of {service}", look)
