"""`/api/` and `/api/v2/`: where everything else is found. Both are public."""

from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse

from api.auth.login import with_csrf_cookie
from api.call import Call, endpoint
from api.responses import json_response

# awxkit makes a command of every key. `me` stands before `users`: both answer with users, and the last one wins.
COLLECTIONS = {
    "ping": "ping",
    "instances": "instances",
    "instance_groups": "instance_groups",
    "config": "config",
    "settings": "settings",
    "me": "me",
    "dashboard": "dashboard",
    "organizations": "organizations",
    "users": "users",
    "execution_environments": "execution_environments",
    "projects": "projects",
    "project_updates": "project_updates",
    "teams": "teams",
    "credentials": "credentials",
    "credential_types": "credential_types",
    "credential_input_sources": "credential_input_sources",
    "applications": "applications",
    "tokens": "tokens",
    "metrics": "metrics",
    "inventory": "inventories",
    "constructed_inventory": "constructed_inventories",
    "inventory_sources": "inventory_sources",
    "inventory_updates": "inventory_updates",
    "groups": "groups",
    "hosts": "hosts",
    "host_metrics": "host_metrics",
    "job_templates": "job_templates",
    "jobs": "jobs",
    "ad_hoc_commands": "ad_hoc_commands",
    "system_job_templates": "system_job_templates",
    "system_jobs": "system_jobs",
    "schedules": "schedules",
    "roles": "roles",
    "notification_templates": "notification_templates",
    "notifications": "notifications",
    "labels": "labels",
    "unified_job_templates": "unified_job_templates",
    "unified_jobs": "unified_jobs",
    "activity_stream": "activity_stream",
    "workflow_job_templates": "workflow_job_templates",
    "workflow_jobs": "workflow_jobs",
    "workflow_approvals": "workflow_approvals",
    "workflow_job_template_nodes": "workflow_job_template_nodes",
    "workflow_job_nodes": "workflow_job_nodes",
    "bulk": "bulk",
}


def add_routes(app: FastAPI) -> None:
    app.add_api_route("/api/", endpoint(api_root, anonymous=True), methods=["GET"], tags=["Server"])
    app.add_api_route("/api/v2/", endpoint(version_root, anonymous=True), methods=["GET"], tags=["Server"])
    app.add_api_route("/", endpoint(front_door, anonymous=True), methods=["GET"], include_in_schema=False)


def front_door(_call: Call) -> Response:
    return RedirectResponse("/api/docs/", 302)


def api_root(call: Call) -> Response:
    """The versions of this API. Sets the `csrftoken` cookie."""
    body = {
        "description": "Forge REST API",
        "current_version": "/api/v2/",
        "available_versions": {"v2": "/api/v2/"},
        "oauth2": "/api/o/",
        "custom_logo": "",
        "custom_login_info": "",
        "login_redirect_override": "",
    }
    return with_csrf_cookie(call, json_response(body))


def version_root(call: Call) -> Response:
    """Every collection that this server has, with its URL."""
    present = {getattr(route, "path", "") for route in call.request.app.routes}
    links = {key: f"/api/v2/{name}/" for key, name in COLLECTIONS.items()}
    return json_response({key: url for key, url in links.items() if url in present})
