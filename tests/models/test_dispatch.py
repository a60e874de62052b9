"""Who may start now: the rule by itself, then applied to a real database by many at once."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import (
    WrongClock,
    make_git_project,
    make_instance,
    make_instance_group,
    make_inventory,
    make_job,
    make_organization,
    make_template,
    make_update,
)
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.db import Database
from models import dispatch, runs
from models.base import now
from models.dispatch import Candidate, Group, Plan, explain, grant_waiting, granted_before, plan, preferred_groups
from models.instances import INSTANCE_LOST_AFTER
from models.inventories import inventory_instance_groups
from models.jobs import Job
from models.organizations import organization_instance_groups
from models.unified import (
    JobStatus,
    UnifiedJob,
    unified_job_dependencies,
    unified_job_instance_groups,
    unified_job_template_instance_groups,
)

DEFAULT = Group(1, "default", 4)


def job(id: int, **over: object) -> Candidate:
    return replace(Candidate(id, "job", template_id=id, groups=(1,), allow_simultaneous=True), **over)  # type: ignore[arg-type]


def update(id: int, project: int = 1, **over: object) -> Candidate:
    return replace(Candidate(id, "project_update", project_id=project), **over)  # type: ignore[arg-type]


def reasons(decision: Plan, id: int) -> list[tuple[str, object]]:
    return [(reason["type"], reason.get("id")) for reason in decision.waiting[id]]


class TestPlan:
    def test_grants_in_order_until_the_group_is_full(self) -> None:
        decision = plan([job(1, impact=2), job(2, impact=2), job(3)], [DEFAULT])

        assert decision.granted == {1: 1, 2: 1}
        assert decision.waiting == {
            3: [{"type": "capacity", "instance_group": "default", "capacity": 4, "used": 4, "needed": 1}]
        }

    def test_small_run_does_not_overtake_a_large_one(self) -> None:
        decision = plan([job(1, granted=True, granted_group=1), job(2, impact=4), job(3, impact=1)], [DEFAULT])

        assert decision.granted == {}
        assert reasons(decision, 3) == [("queue", None)]

    def test_run_larger_than_its_group_runs_alone(self) -> None:
        alone = plan([job(1, impact=9), job(2)], [DEFAULT])
        behind = plan([job(1, granted=True, granted_group=1), job(2, impact=9)], [DEFAULT])

        assert alone.granted == {1: 1}
        assert behind.granted == {}

    @pytest.mark.parametrize(
        ("limits", "granted", "reason"),
        [
            ({"max_concurrent_jobs": 1}, {1: 1}, "concurrency"),
            ({"max_forks": 2}, {1: 1, 2: 1}, "capacity"),
            ({"capacity": 0}, {}, "instance"),
        ],
    )
    def test_limits_of_a_group(self, limits: dict[str, int], granted: dict[int, int], reason: str) -> None:
        decision = plan([job(1), job(2), job(3)], [replace(DEFAULT, **limits)])  # type: ignore[arg-type]

        assert decision.granted == granted
        assert decision.waiting[max(granted, default=0) + 1][0]["type"] == reason

    def test_takes_the_next_group_when_the_first_is_full(self) -> None:
        groups = [replace(DEFAULT, capacity=1), Group(2, "spare", 1)]

        decision = plan([job(1, groups=(1, 2)), job(2, groups=(1, 2)), job(3, groups=(2,))], groups)

        assert decision.granted == {1: 1, 2: 2}
        assert reasons(decision, 3) == [("capacity", None)]

    def test_no_group_that_exists_is_said(self) -> None:
        decision = plan([job(1, groups=(7,))], [DEFAULT])

        assert decision.waiting == {1: [{"type": "instance_group"}]}

    def test_runs_of_one_template_come_one_after_the_other(self) -> None:
        first, second, third = (job(id, template_id=5, allow_simultaneous=False) for id in (1, 2, 3))

        decision = plan([replace(first, granted=True, granted_group=1), second, third], [DEFAULT])

        assert decision.granted == {}
        assert reasons(decision, 2) == reasons(decision, 3) == [("job", 1)]

    def test_updates_of_one_project_come_one_after_the_other(self) -> None:
        decision = plan([update(1, granted=True), update(2), update(3, project=9)], [])

        assert decision.granted == {3: None}
        assert reasons(decision, 2) == [("project_update", 1)]

    def test_job_waits_for_earlier_updates_of_its_project_only(self) -> None:
        decision = plan([update(1, granted=True), job(2, project_id=1), update(3), job(4, project_id=1)], [DEFAULT])

        assert reasons(decision, 2) == [("project_update", 1)]
        assert reasons(decision, 4) == [("project_update", 1), ("project_update", 3)]

    def test_job_waits_for_its_own_update_which_came_later(self) -> None:
        decision = plan([job(1, project_id=1, waits_for=(2,)), update(2)], [DEFAULT])

        assert decision.granted == {2: None}
        assert reasons(decision, 1) == [("project_update", 2)]

    def test_waiting_for_others_closes_no_group(self) -> None:
        decision = plan([job(1, waits_for=(9,), impact=4), job(2, impact=4)], [DEFAULT])

        assert decision.granted == {2: 1}

    def test_run_that_has_not_asked_keeps_its_place_and_nothing_else(self) -> None:
        decision = plan([job(1, impact=3, begun=False), job(2, impact=2), update(3, begun=False), update(4)], [DEFAULT])

        assert decision.granted == {}
        assert set(decision.waiting) == {2, 4}  # what has not begun is not touched: the sweep looks for it


# --- any course of events ---------------------------------------------------------------------------------------------

candidates = st.lists(
    st.one_of(
        st.builds(
            Candidate,
            id=st.just(0),
            kind=st.just("job"),
            template_id=st.integers(1, 4) | st.none(),
            project_id=st.integers(1, 2) | st.none(),
            allow_simultaneous=st.booleans(),
            impact=st.integers(1, 6),
            groups=st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True).map(tuple),
        ),
        st.builds(Candidate, id=st.just(0), kind=st.just("project_update"), project_id=st.integers(1, 2) | st.none()),
    ),
    max_size=12,
).map(lambda found: [replace(candidate, id=number) for number, candidate in enumerate(found, 1)])
groups = st.tuples(
    *(
        st.builds(Group, st.just(id), st.just(f"g{id}"), st.integers(1, 5), st.integers(0, 2), st.integers(0, 4))
        for id in (1, 2, 3)
    )
)


@dataclass
class Simulation:
    """Runs that come, are granted and end, in an order of hypothesis' choice."""

    groups: tuple[Group, ...]
    running: dict[int, Candidate] = field(default_factory=dict)

    def check(self) -> None:
        for group in self.groups:
            inside = [run for run in self.running.values() if run.granted_group == group.id]
            forks = sum(run.impact for run in inside)
            assert len(inside) <= 1 or forks <= min(group.capacity, group.max_forks or group.capacity)
            assert len(inside) <= (group.max_concurrent_jobs or len(inside)) or len(inside) == 1
        updates = [run.project_id for run in self.running.values() if run.kind == "project_update" and run.project_id]
        assert len(updates) == len(set(updates))
        for run in self.running.values():
            if run.kind == "job" and not run.allow_simultaneous and run.template_id:
                earlier = [o for o in self.running.values() if o.template_id == run.template_id and o.id < run.id]
                assert not earlier


@given(candidates, groups, st.data())
@settings(max_examples=200, deadline=None)
def test_everybody_runs_and_nothing_is_exceeded(
    waiting: list[Candidate], groups: tuple[Group, ...], data: st.DataObject
) -> None:
    simulation = Simulation(groups)
    left = {run.id: run for run in waiting}
    while left:
        decision = plan(list(left.values()), groups)
        for id, group in decision.granted.items():
            left[id] = simulation.running[id] = replace(left[id], granted=True, granted_group=group)
        simulation.check()
        assert set(decision.granted) | set(decision.waiting) == {
            id for id, run in left.items() if id not in simulation.running
        } | set(decision.granted)
        assert simulation.running, "nobody runs and nobody will"
        ended = data.draw(st.sampled_from(sorted(simulation.running)))
        del left[ended], simulation.running[ended]


@given(candidates, groups)
def test_nobody_in_a_group_is_overtaken_for_want_of_room(waiting: list[Candidate], groups: tuple[Group, ...]) -> None:
    decision = plan(waiting, groups)

    by_id = {run.id: run for run in waiting}
    for late, group in decision.granted.items():
        for early in (id for id in decision.waiting if id < late and by_id[id].kind == "job" and group is not None):
            full = {r["instance_group"] for r in decision.waiting[early] if "instance_group" in r}
            assert f"g{group}" not in full


@given(candidates, groups)
def test_every_reason_can_be_explained(waiting: list[Candidate], groups: tuple[Group, ...]) -> None:
    for found in plan(waiting, groups).waiting.values():
        assert explain(found).count(".") >= len(found)


# --- on the database --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(own_database: Database) -> Database:
    """Where nothing else waits or runs."""
    return own_database


def begun(session: Session, **over: object) -> Job:
    row = make_job(session, **over)
    row.work_unit_id = f"job-{row.id}"
    session.flush()
    return row


@pytest.fixture
def node(session: Session) -> int:
    """The id of the default group, with room for two jobs. What other tests have left behind does not queue for it."""
    session.query(UnifiedJob).filter(UnifiedJob.finished.is_(None)).update({"finished": now()})
    return make_instance_group(session, [make_instance(session, capacity=2)], name="default").id


class TestGrantWaiting:
    def test_grants_and_says_why_the_others_wait(self, session: Session, node: int) -> None:
        rows = [begun(session) for _ in range(3)]

        granted = grant_waiting(session)

        session.expire_all()
        assert granted == [("job", rows[0].id), ("job", rows[1].id)]
        assert rows[0].granted_at is not None
        assert rows[0].instance_group_id == node
        assert (rows[0].status, rows[2].status) == ("pending", "waiting")
        assert rows[2].waiting_on[0]["type"] == "capacity"
        assert rows[2].job_explanation == (
            "Waiting for capacity in instance group default: 2 of 2 forks in use, 1 needed."
        )

    def test_end_of_a_run_lets_the_next_one_in_which_then_waits_for_an_instance(
        self, session: Session, node: int
    ) -> None:
        rows = [begun(session) for _ in range(3)]
        grant_waiting(session)

        runs.end(session, rows[0].id, "successful")

        assert grant_waiting(session) == [("job", rows[2].id)]
        session.expire_all()
        assert rows[2].waiting_on == [{"type": "start", "instance_group": "default"}]
        assert rows[2].job_explanation == "Waiting for an instance of instance group default to start it."

    def test_repeats_nothing(self, session: Session, node: int) -> None:
        row = begun(session)
        grant_waiting(session)
        session.refresh(row)
        first = row.granted_at

        assert grant_waiting(session) == []
        session.refresh(row)
        assert row.granted_at == first
        assert granted_before(session, timedelta(0)) == [("job", row.id)]
        assert granted_before(session, timedelta(seconds=5)) == []

    def test_row_never_started_holds_others_up_for_seconds_only(self, session: Session, node: int) -> None:
        fresh = make_job(session, task_impact=2)
        behind = begun(session)
        assert grant_waiting(session) == []

        fresh.created = now() - timedelta(seconds=6)
        session.flush()

        assert grant_waiting(session) == [("job", behind.id)]
        session.refresh(fresh)
        assert fresh.status == "pending"

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_row_of_a_host_with_a_wrong_clock_keeps_its_place_as_any_other(
        self, session: Session, node: int, monkeypatch: pytest.MonkeyPatch, hours: int
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("models.base.datetime", WrongClock(timedelta(hours=hours)))
            fresh = make_job(session, task_impact=2)
        begun(session)

        assert grant_waiting(session) == []
        assert abs(fresh.created - now()) < timedelta(minutes=1)

    @pytest.mark.parametrize("over", [{"last_seen": None}, {"enabled": False}])
    def test_dead_or_disabled_instance_gives_no_capacity(self, session: Session, over: dict[str, object]) -> None:
        make_instance_group(session, [make_instance(session, **over)], name="default")
        row = begun(session)

        assert grant_waiting(session) == []
        session.refresh(row)
        assert row.job_explanation == "Waiting for a live instance in instance group default."

    def test_instance_that_is_silent_is_dead(self, session: Session) -> None:
        silent = make_instance(session, last_seen=now() - INSTANCE_LOST_AFTER)
        make_instance_group(session, [silent], name="default")
        begun(session)

        assert grant_waiting(session) == []

    def test_update_needs_no_capacity_and_its_job_waits_for_it(self, session: Session, node: int) -> None:
        project = make_git_project(session)
        row = begun(session, project_id=project.id)
        needed = make_update(session, project, work_unit_id="project-update")
        session.execute(insert(unified_job_dependencies).values(unified_job_id=row.id, depends_on_id=needed.id))

        assert grant_waiting(session) == [("project_update", needed.id)]
        session.refresh(needed)
        assert (needed.waiting_on, needed.job_explanation) == (
            [{"type": "start"}],
            "Waiting for an instance to start it.",
        )

        runs.end(session, needed.id, "successful")
        assert grant_waiting(session) == [("job", row.id)]

    def test_job_whose_update_failed_is_told_so_even_when_there_is_no_room(self, session: Session, node: int) -> None:
        project = make_git_project(session)
        row = begun(session, project_id=project.id, task_impact=2)
        needed = make_update(session, project, work_unit_id="project-update")
        session.execute(insert(unified_job_dependencies).values(unified_job_id=row.id, depends_on_id=needed.id))
        grant_waiting(session)
        begun(session, task_impact=2)
        grant_waiting(session)

        runs.end(session, needed.id, "failed")

        assert grant_waiting(session) == [("job", row.id)]


class TestPreferredGroups:
    @pytest.fixture
    def chain(self, session: Session) -> dict[str, int]:
        return {
            name: make_instance_group(session, name=name).id
            for name in ("asked", "template", "inventory", "organization", "default")
        }

    @pytest.fixture
    def row(self, session: Session, chain: dict[str, int]) -> Job:
        organization = make_organization(session)
        inventory = make_inventory(session, organization_id=organization.id)
        template = make_template(session, inventory_id=inventory.id, organization_id=organization.id)
        row = make_job(session, template, organization_id=organization.id)
        for table, column, owner in (
            (unified_job_template_instance_groups, "template", {"unified_job_template_id": template.id}),
            (inventory_instance_groups, "inventory", {"inventory_id": inventory.id}),
            (organization_instance_groups, "organization", {"organization_id": organization.id}),
        ):
            session.execute(insert(table).values(instance_group_id=chain[column], **owner))
        return row

    def names(self, session: Session, row: Job, chain: dict[str, int]) -> list[str]:
        by_id = {id: name for name, id in chain.items()}
        return [by_id[id] for id in preferred_groups(session, [row.id])[row.id]]

    def test_template_then_inventory_then_organization_then_default(
        self, session: Session, row: Job, chain: dict[str, int]
    ) -> None:
        assert self.names(session, row, chain) == ["template", "inventory", "organization", "default"]

    def test_asked_at_launch_takes_the_place_of_the_templates(
        self, session: Session, row: Job, chain: dict[str, int]
    ) -> None:
        session.execute(
            insert(unified_job_instance_groups).values(unified_job_id=row.id, instance_group_id=chain["asked"])
        )

        assert self.names(session, row, chain) == ["asked", "inventory", "organization", "default"]

    def test_falling_back_can_be_prevented(self, session: Session, row: Job, chain: dict[str, int]) -> None:
        template, inventory = row.job_template_id, row.inventory_id
        assert template
        assert inventory
        session.get_one(dispatch.Inventory, inventory).prevent_instance_group_fallback = True
        session.flush()
        assert self.names(session, row, chain) == ["template", "inventory"]

        session.get_one(dispatch.JobTemplate, template).prevent_instance_group_fallback = True
        session.flush()
        assert self.names(session, row, chain) == ["template"]

    def test_nothing_to_ask(self, session: Session) -> None:
        assert preferred_groups(session, []) == {}


def test_many_at_once_grant_nobody_twice_and_never_deadlock(fresh_database_url: str) -> None:
    """Two dozen runs go through their life in eight threads: take, grant, claim, begin, end, in any interleaving."""
    database = Database(fresh_database_url, pool_size=8)
    with database.transaction() as session:
        alive = now() + timedelta(hours=1)  # however long this takes
        nodes = [make_instance(session, capacity=3, last_seen=alive) for _ in range(2)]
        make_instance_group(session, nodes, name="default")
        template = make_template(session)  # one at a time
        ids = [make_job(session).id for _ in range(16)] + [make_job(session, template).id for _ in range(8)]
        hosts = [node.hostname for node in nodes]
    most = 0

    def live(run_id: int) -> None:
        nonlocal most
        while True:
            with database.transaction() as session:
                dispatch.lock(session)
                run = session.get_one(UnifiedJob, run_id)
                runs.take(session, run, f"job-{run_id}")
                grant_waiting(session)
                session.refresh(run)
                held = session.scalars(
                    select(UnifiedJob).where(UnifiedJob.granted_at.is_not(None), UnifiedJob.finished.is_(None))
                ).all()
                most = max(most, len(held))
                if run.granted_at is not None:
                    break
            time.sleep(0.02)
        with database.transaction() as session:
            node = runs.claim(session, run_id, hosts[run_id % 2])
        with database.transaction() as session:
            assert runs.begin(session, run_id, node)
            assert not runs.begin(session, run_id, node)
        with database.transaction() as session:
            dispatch.lock(session)
            assert runs.end(session, run_id, "successful") == "successful"
            grant_waiting(session)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(live, run_id) for run_id in ids]:
            done.result(timeout=60)

    with database.transaction() as session:
        assert set(session.scalars(select(UnifiedJob.status))) == {JobStatus.SUCCESSFUL}
        own = session.scalars(select(Job).where(Job.job_template_id == template.id).order_by(Job.id)).all()
        assert all(
            one.finished is not None and two.started is not None and one.finished <= two.started
            for one, two in itertools.pairwise(own)
        )
    database.dispose()
    assert most <= 6
