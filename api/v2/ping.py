"""`/api/v2/ping/`: is this installation alive, and what does it consist of. Public, and fails with the database."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.call import Call, endpoint
from api.responses import json_response
from core.version import VERSION
from models.instances import Instance, InstanceGroup, capacity_now, instance_group_instances
from models.settings import get_setting


def add_routes(app: FastAPI) -> None:
    app.add_api_route("/api/v2/ping/", endpoint(ping, anonymous=True), methods=["GET"], tags=["Server"])


def ping(call: Call) -> Response:
    """Version, instances with their last heartbeat, and instance groups. 503 when the database is away."""
    capacity = capacity_now(Instance.capacity, Instance.last_seen)
    rows = call.session.execute(select(Instance, capacity).order_by(Instance.hostname))
    instances = [(instance, forks) for instance, forks in rows]
    body = {
        "ha": len(instances) > 1,
        "version": VERSION,
        "active_node": call.services.settings.node_name,
        "install_uuid": get_setting(call.session, "INSTALL_UUID"),
        "instances": [
            {
                "node": each.hostname,
                "node_type": each.node_type,
                "uuid": each.uuid,
                "heartbeat": each.last_seen,
                "capacity": forks,
                "version": each.version,
            }
            for each, forks in instances
        ],
        "instance_groups": _groups(call.session, instances),
    }
    return json_response(body)


def _groups(session: Session, instances: Iterable[tuple[Instance, int]]) -> list[dict[str, Any]]:
    members: defaultdict[int, list[tuple[Instance, int]]] = defaultdict(list)
    by_id = {row[0].id: row for row in instances}
    for group_id, instance_id in session.execute(select(instance_group_instances)):
        if instance_id in by_id:  # else it came between the two queries
            members[group_id].append(by_id[instance_id])
    return [
        {
            "name": group.name,
            "capacity": sum(forks for each, forks in members[group.id] if each.enabled),
            "instances": sorted(each.hostname for each, _ in members[group.id]),
        }
        for group in session.scalars(select(InstanceGroup).order_by(InstanceGroup.name))
    ]
