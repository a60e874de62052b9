"""All resources of the controller that this version has, and their routes."""

from fastapi import FastAPI

from api.rest.resource import Api
from api.rest.views import add_resources
from api.v2.credentials import credential_types, credentials
from api.v2.environments import execution_environments
from api.v2.events import job_events, job_host_summaries, project_update_events
from api.v2.instances import instance_groups, instances
from api.v2.inventories import groups, hosts, inventories
from api.v2.job_templates import job_templates
from api.v2.jobs import jobs
from api.v2.labels import labels
from api.v2.organizations import organizations
from api.v2.projects import project_updates, projects
from api.v2.teams import teams
from api.v2.tokens import tokens
from api.v2.unified import unified_job_templates, unified_jobs
from api.v2.users import users

API = Api(
    [
        instances,
        instance_groups,
        organizations,
        users,
        execution_environments,
        projects,
        project_updates,
        teams,
        credentials,
        credential_types,
        tokens,
        inventories,
        groups,
        hosts,
        job_templates,
        jobs,
        labels,
        unified_job_templates,
        unified_jobs,
        job_events,
        project_update_events,
        job_host_summaries,
    ]
)


def add_routes(app: FastAPI) -> None:
    add_resources(app, API)
