"""The activity that runs a job's playbook: start it or attach to it, store its output, end it when asked."""

import logging
import shlex
import shutil
import traceback
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.assembly import assemble, inventory_hosts, secrets_of
from activities.output import EventStore, Masker, mask_environment
from activities.runhost.client import Run, RunVanished
from activities.runhost.protocol import RunStatus
from activities.scm.errors import ScmError, ScmReason
from activities.scm.manual import manual_checkout
from activities.scm_access import scm_credential, scm_source
from activities.services import WorkerServices, cancel_requested, given_up, heartbeats, translated
from core.errors import ForgeError
from models import runs
from models.jobs import Job
from models.projects import Project
from models.settings import get_setting
from models.unified import FINISHED, JobStatus
from workflows.contracts import LONGEST_TEXT, Outcome, PlayInput, RunRef

log = logging.getLogger("forge.playbook")

LOST = "The run was lost on instance {node}: its process is gone and did not say how it ended."
STOPPED = "Forge was stopped while the job ran."
RESTARTED = "The run was lost: instance {node} was restarted, or Forge was stopped, while the playbook ran."


class Playbooks:
    def __init__(self, services: WorkerServices) -> None:
        self._services = services

    # Cancellation is looked for between batches of events; an exception thrown into the thread could hit anything.
    @activity.defn(no_thread_cancel_exception=True)
    def run_playbook(self, play: PlayInput) -> Outcome:
        """Served on the queue of the host that the run belongs to. Every attempt but the first attaches."""
        activity.heartbeat()
        run = _PlaybookRun(self._services, play.run_id, cancelled=play.cancelled)
        with translated():
            try:
                return run.drive()
            except (ApplicationError, DBAPIError, PoolTimeout):
                raise
            except ForgeError as error:
                run.kill()
                return Outcome(JobStatus.ERROR, run.masked(error.message))
            except Exception as error:
                log.error("job %s: %s", play.run_id, run.masked(traceback.format_exc()))
                run.kill()
                return Outcome(
                    JobStatus.ERROR, run.masked(f"{type(error).__name__}: {error}"), run.masked(traceback.format_exc())
                )

    @activity.defn
    def clean_run(self, ref: RunRef) -> None:
        """Remove what a finished run left on this host. Not before its end is in the database: what is here decides
        whether an attempt attaches or has lost its run."""
        _PlaybookRun(self._services, ref.run_id).clean()


class _PlaybookRun:
    """One attempt at one run."""

    def __init__(self, services: WorkerServices, job_id: int, *, cancelled: bool = False) -> None:
        self._services = services
        self._job_id = job_id
        self._cancelled = cancelled
        self._run_id = f"job-{job_id}"
        self._checkout = checkouts(services) / str(job_id)
        self._masker = Masker([])

    def drive(self) -> Outcome:
        with heartbeats(), self._services.starting(self._job_id):
            run = self._services.run_host.find(self._run_id)
            following = self._start() if run is None else self._attach(run)
        return following if isinstance(following, Outcome) else self._follow(*following)

    # --- starting -----------------------------------------------------------------------------------------------------

    def _start(self) -> tuple[Run, EventStore] | Outcome:
        with self._services.database.transaction() as session:
            job = session.get(Job, self._job_id)
            if job is None or job.status in FINISHED or job.execution_node != self._services.node:
                return self._over()
            if job.cancel_flag or self._cancelled:
                return Outcome(JobStatus.CANCELED)
            if self._services.ending:
                raise given_up()
            if job.status == JobStatus.RUNNING:
                # An earlier attempt began it here, and neither process nor directory is left of it. Running it again
                # would run tasks twice: that is for a person to decide.
                return Outcome(JobStatus.ERROR, RESTARTED.format(node=self._services.node))
            project = session.get(Project, job.project_id) if job.project_id else None
        if project is None:
            return Outcome(JobStatus.ERROR, "The project of this job was deleted before it could start.")
        try:
            revision = self._check_out(job, project)
        except ScmError as error:
            if error.reason is ScmReason.CANCELED and not cancel_requested():
                raise given_up() from error
            if error.reason is ScmReason.CANCELED:
                return Outcome(JobStatus.CANCELED)
            return Outcome(JobStatus.ERROR, f"The project could not be checked out: {error.message}")
        playbook = (self._checkout / job.playbook).resolve()
        if not playbook.is_relative_to(self._checkout.resolve()) or not playbook.is_file():
            return Outcome(JobStatus.ERROR, f"Playbook {job.playbook} is not in the project at revision {revision}.")
        with self._services.database.transaction() as session:
            job = session.get(Job, self._job_id, with_for_update=True)
            if job is None or job.status in FINISHED:
                return self._over()
            job.scm_revision = revision
            session.flush()
            assembly = assemble(session, self._services, job, project, self._checkout)
            store = self._store(assembly.secrets, assembly.host_ids)
            if self._services.ending or not runs.begin(session, self._job_id, self._services.node):
                raise given_up()  # or another attempt was first
        return self._services.run_host.start(assembly.spec), store

    def _check_out(self, job: Job, project: Project) -> str:
        """The job's own copy of the project at one revision, which it returns. Raises ScmError."""
        shutil.rmtree(self._checkout, ignore_errors=True)
        self._checkout.parent.mkdir(mode=0o700, exist_ok=True)
        if not project.scm_type:
            manual_checkout(self._services.settings.manual_projects_dir, project.local_path, self._checkout)
            return ""
        cache = self._services.projects
        branch = job.scm_branch if job.scm_branch != project.scm_branch else ""
        if branch and not project.allow_override:
            raise ScmError(ScmReason.INVALID, f"it does not allow another branch ({branch}) any more.")
        revision = "" if branch else project.scm_revision
        if not branch and (not revision or project.update_failed):
            raise ScmError(ScmReason.REVISION, "its update failed or never ran, so it has no revision to run.")
        if branch or not cache.has(project.id, revision):
            with self._services.database.transaction() as session:
                # To start afresh is for an update: a job only adds what the cache lacks.
                source = replace(scm_source(project, branch or revision), delete_on_update=False)
                credential = scm_credential(session, self._services.secrets, project.credential_id)
                timeout = project.timeout or get_setting(session, "DEFAULT_PROJECT_UPDATE_TIMEOUT")
            revision = cache.sync(
                project.id, source, credential, _ignore, activity.is_cancelled, timeout if timeout > 0 else None
            ).revision
        cache.checkout(project.id, revision, self._checkout)
        return revision

    # --- following ----------------------------------------------------------------------------------------------------

    def _attach(self, run: Run) -> tuple[Run, EventStore] | Outcome:
        with self._services.database.transaction() as session:
            job = session.get(Job, self._job_id)
            if job is None or job.status in FINISHED:
                return self._over()
            store = self._store(secrets_of(self._services, self._job_id, run.note), inventory_hosts(session, job))
            store.stored = job.events_stored
        return run, store

    def _store(self, secrets: list[str], host_ids: dict[str, int]) -> EventStore:
        self._masker = Masker(secrets)
        return EventStore(self._services.database, self._job_id, self._masker, host_ids)

    def _follow(self, run: Run, store: EventStore) -> Outcome:
        """Store events until the run ends. Cancelling ends the run; the rest of its output is stored all the same."""
        recorded = False
        ending = Outcome(JobStatus.CANCELED) if self._cancelled else None
        if ending is not None:
            run.cancel()
        try:
            for lines in run.events(store.stored):
                activity.heartbeat(store.stored)
                if lines:
                    store.store(lines)
                if not recorded:
                    recorded = self._record_start(run)
                if ending is None and (ending := self._wanted_end()) is not None:
                    run.cancel()
        except RunVanished:
            run.kill()
            return ending or Outcome(JobStatus.ERROR, LOST.format(node=self._services.node))
        if not recorded:
            self._record_start(run)
        return self._outcome(run, ending)

    def _wanted_end(self) -> Outcome | None:
        """How the run ends if somebody wants it to end now. Raises `given_up` when only this attempt is to end."""
        if cancel_requested():
            return Outcome(JobStatus.CANCELED)
        if self._services.ending:
            return Outcome(JobStatus.ERROR, STOPPED)
        if activity.is_worker_shutdown() or activity.is_cancelled():
            raise given_up()  # the playbook goes on
        return None

    def _outcome(self, run: Run, ending: Outcome | None) -> Outcome:
        ended = run.exit
        assert ended is not None  # `events` ends only when there is one
        match ended.status:
            case RunStatus.SUCCESSFUL:
                return Outcome(JobStatus.SUCCESSFUL)
            case RunStatus.CANCELED:
                return ending or Outcome(JobStatus.ERROR, ended.error)
            case RunStatus.TIMEOUT:
                return Outcome(JobStatus.FAILED, "Job terminated due to timeout")
            case RunStatus.IDLE_TIMEOUT:
                return Outcome(JobStatus.FAILED, "Job terminated due to timeout: there was no output for too long")
            case RunStatus.ERROR:
                return Outcome(JobStatus.ERROR, self.masked(ended.error))
        return Outcome(JobStatus.FAILED, self.masked(ended.error))

    def _record_start(self, run: Run) -> bool:
        started = run.started
        if started is None:
            return False
        with self._services.database.transaction() as session:
            runs.record_start(
                session,
                self._job_id,
                args=self._masker.text(shlex.join(started.command)),
                cwd=started.cwd,
                env=mask_environment(started.env, self._masker),
            )
        run.forget_started()
        return True

    # --- ending -------------------------------------------------------------------------------------------------------

    def _over(self) -> Outcome:
        """The row has ended or gone meanwhile: whatever runs for it is ended too. The row's own state stands."""
        self.kill()
        return Outcome(JobStatus.CANCELED)

    def masked(self, text: str) -> str:
        """What may leave the activity: without secrets, and its end if it is long."""
        return self._masker.text(text)[-LONGEST_TEXT:]

    def kill(self) -> None:
        run = self._services.run_host.find(self._run_id)
        if run is not None:
            run.kill()

    def clean(self) -> None:
        self._services.run_host.cleanup(self._run_id)
        shutil.rmtree(self._checkout, ignore_errors=True)


def checkouts(services: WorkerServices) -> Path:
    """Where the jobs' copies of their projects are, one directory per job id."""
    return services.settings.data_dir / "checkouts"


def _ignore(_: str) -> None:
    """Output of a sync on the way to a job: it is the project update's to show."""
