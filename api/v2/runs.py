"""What every kind of run has: who may see, cancel and delete it, and the actions that do so."""

from fastapi import Response
from sqlalchemy import ColumnElement, and_, or_, select, true

from api.call import Call
from api.responses import json_response
from api.rest.permissions import Permission, either, role
from api.rest.resource import Action
from api.rest.source import Source
from api.v2.stdout import stdout
from core.errors import Conflict
from models.access import Actor, may
from models.events import delete_events
from models.runs import refuse_while_active, request_cancel
from models.unified import ACTIVE, FINISHED, UnifiedJob, UnifiedJobTemplate

organization_admin = role("organization", "admin_role", id="organization_id", organization=None)


def on_template(*roles: tuple[str, str]) -> Permission:
    """Whoever has the role for its type - (type, role) pairs - on the template that the run is one of."""

    def condition(actor: Actor, row: Source) -> ColumnElement[bool]:
        if actor.is_superuser:
            return true()
        template = UnifiedJobTemplate.__table__.alias()
        allowed = or_(
            *(
                and_(template.c.type == kind, may(actor, kind, field, template.c.id, template.c.organization_id))
                for kind, field in roles
            )
        )
        return row.col("unified_job_template_id").in_(select(template.c.id).where(allowed))

    return condition


def readable(actor: Actor, row: Source) -> ColumnElement[bool]:
    """Whoever may read its template, or everything of its organization."""
    if actor.is_superuser or actor.is_system_auditor:
        return true()
    kinds = (("job_template", "read_role"), ("project", "read_role"))
    auditor = role("organization", "auditor_role", id="organization_id", organization=None)
    return either(on_template(*kinds), auditor)(actor, row)


def started_by_caller(actor: Actor, row: Source) -> ColumnElement[bool]:
    return row.col("created_by_id") == actor.id


cancelable = either(
    started_by_caller, on_template(("job_template", "admin_role"), ("project", "admin_role")), organization_admin
)
startable = on_template(("job_template", "execute_role"), ("project", "update_role"))


def _can_cancel(call: Call, run_id: int) -> Response:
    run = call.session.get(UnifiedJob, run_id)
    return json_response({"can_cancel": run is not None and run.status not in FINISHED})


def _cancel(call: Call, run_id: int) -> Response:
    """End the run and everything it started; 405 when it has ended."""
    run = call.session.get(UnifiedJob, run_id)
    assert run is not None
    request_cancel(call.session, run)
    call.services.runs.cancel(call, run.type, run.id)
    return Response(status_code=202)


CANCEL = Action("cancel", {"GET": _can_cancel, "POST": _cancel}, may=cancelable)
STDOUT = Action("stdout", {"GET": stdout}, description="The output, by lines, in a format of choice.")


def refuse_while_running(call: Call, condition: ColumnElement[bool]) -> None:
    """Raises Conflict while a run that meets the condition goes on."""
    running = select(UnifiedJob.id).where(condition, UnifiedJob.status.in_(ACTIVE)).limit(1)
    if call.session.scalar(running) is not None:
        raise Conflict("Resource is being used by running jobs.")


def remove_run(call: Call, run: UnifiedJob) -> None:
    """Its events go with it, and a run that goes on does not go."""
    refuse_while_active(run)
    delete_events(call.session, run.id, run.created)
