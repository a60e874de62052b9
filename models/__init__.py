"""Tables, and the rules that need no world. Importing this package loads every table into `Base.metadata`."""

from models import (  # noqa: F401  every module registers its tables
    access,
    applications,
    credentials,
    environments,
    events,
    instances,
    inventories,
    job_templates,
    labels,
    organizations,
    projects,
    settings,
    system_jobs,
    unified,
    users,
)
from models import jobs as jobs
