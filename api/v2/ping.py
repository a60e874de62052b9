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
from models.instances import Instance, InstanceGroup, instance_group_instances
from models.settings import get_setting


def add_routes(app: FastAPI) -> None:
    app.add_api_route("/api/v2/ping/", endpoint(ping, anonymous=True), methods=["GET"], tags=["Server"])


def ping(call: Call) -> Response:
    """Version, instances with their last heartbeat, and instance groups. 503 when the database is away."""
    instances = call.session.scalars(select(Instance).order_by(Instance.hostname)).all()
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
                "capacity": each.capacity,
                "version": each.version,
            }
            for each in instances
        ],
        "instance_groups": _groups(call.session, instances),
    }
    return json_response(body)


def _groups(session: Session, instances: Iterable[Instance]) -> list[dict[str, Any]]:
    members: defaultdict[int, list[Instance]] = defaultdict(list)
    by_id = {each.id: each for each in instances}
    for group_id, instance_id in session.execute(select(instance_group_instances)):
        if instance_id in by_id:  # else it came between the two queries
            members[group_id].append(by_id[instance_id])
    return [
        {
            "name": group.name,
            "capacity": sum(each.capacity for each in members[group.id]),
            "instances": sorted(each.hostname for each in members[group.id]),
        }
        for group in session.scalars(select(InstanceGroup).order_by(InstanceGroup.name))
    ]
