"""The activity that brings a project's cache on this host to the newest revision and records what it found."""

from datetime import UTC, datetime
from uuid import uuid4

import orjson
from sqlalchemy import update
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.output import EventStore, Masker
from activities.scm.errors import ScmError, ScmReason
from activities.scm.source import Remote, ScmCredential, parse_remote
from activities.scm_access import scm_credential, scm_source
from activities.services import WorkerServices, cancel_requested, given_up, heartbeats, translated
from models import runs
from models.projects import SOURCE, Project, ProjectUpdate
from models.unified import FINISHED, JobStatus
from workflows.contracts import Outcome, RunRef

ATTEMPTS = 3  # at a server that does not answer


class ProjectUpdates:
    def __init__(self, services: WorkerServices) -> None:
        self._services = services

    @activity.defn(no_thread_cancel_exception=True)
    def update_project(self, ref: RunRef) -> Outcome:
        """Safe to repeat: a second sync of the same source finds its work done."""
        with translated(), heartbeats():
            return self._update(ref.run_id)

    def _update(self, run_id: int) -> Outcome:
        database = self._services.database
        with database.transaction() as session:
            run = session.get(ProjectUpdate, run_id)
            if run is None or run.status in FINISHED:
                return Outcome(JobStatus.CANCELED)
            if run.project_id is None:
                return Outcome(JobStatus.ERROR, "The project of this update was deleted.")
            source = scm_source(run)
            credential = scm_credential(session, self._services.secrets, run.credential_id)
            if not runs.begin(session, run_id, self._services.node):
                runs.move(session, run_id, self._services.node)
            remote = _remote(run.scm_url, credential)
            args = f"sync {remote.url} {run.scm_branch}".strip()
            runs.record_start(session, run_id, args=args, cwd="", env={"LC_ALL": "C"})
            events, lines, project_id, timeout = run.events_stored, run.lines_stored, run.project_id, run.timeout
        masker = Masker([remote.password, credential.password, credential.ssh_key, credential.ssh_key_passphrase])
        store = EventStore(database, run_id, masker, {})
        output = _LineOutput(store, events, lines)
        try:
            result = self._services.projects.sync(
                project_id,
                source,
                credential,
                output.emit,
                activity.is_cancelled,
                timeout if timeout > 0 else None,
            )
        except ScmError as error:
            output.emit(error.message)
            return _failed(error)
        output.emit(f"revision {result.revision}, {len(result.playbooks)} playbooks")
        with database.transaction() as session:
            session.execute(
                update(ProjectUpdate).where(ProjectUpdate.id == run_id).values(scm_revision=result.revision)
            )
            project = session.get(Project, project_id, with_for_update=True)
            if project is not None and _same_source(project, run):
                project.scm_revision = result.revision
                project.playbook_files = result.playbooks
                project.inventory_files = result.inventory_files
        self._services.projects.prune(project_id, {result.revision})
        return Outcome(JobStatus.SUCCESSFUL)


def _same_source(project: Project, run: ProjectUpdate) -> bool:
    """Not if somebody has pointed the project elsewhere since: what this update found is not what it holds then."""
    return all(getattr(project, name) == getattr(run, name) for name in SOURCE)


def _remote(url: str, credential: ScmCredential) -> Remote:
    try:
        return parse_remote(url, credential)
    except ScmError:
        return Remote("", "local")  # what is wrong with the URL, the sync says


def _failed(error: ScmError) -> Outcome:
    if error.reason is ScmReason.CANCELED:
        if not cancel_requested():
            raise given_up()
        return Outcome(JobStatus.CANCELED)
    if error.transient and activity.info().attempt < ATTEMPTS:
        raise ApplicationError(error.message, type=error.code)
    return Outcome(JobStatus.FAILED, error.message)


class _LineOutput:
    """Lines of a sync as events: the first attempt starts at counter 1, a further one goes on where that ended."""

    def __init__(self, store: EventStore, counter: int, line: int) -> None:
        self._store = store
        self._counter = counter
        self._line = line

    def emit(self, text: str) -> None:
        events = []
        for line in text.splitlines() or [""]:
            self._counter += 1
            event = {
                "counter": self._counter,
                "created": datetime.now(UTC).isoformat(),
                "event": "verbose",
                "uuid": str(uuid4()),
                "stdout": line,
                "start_line": self._line,
                "end_line": self._line + 1,
            }
            self._line += 1
            events.append(orjson.dumps(event))
        self._store.store(events)
