"""From a git repository to a stored run: what a client does first, and what it then reads."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.client import LOCAL, Client, Json, assert_contiguous
from e2e.forge import Forge, wait_for
from gitserver import GitHttp, GitRepo
from sshd import Sshd, make_key, needs_sshd

SITE = """\
- name: Site
  hosts: all
  gather_facts: false
  roles:
    - greeter
    - shared
  post_tasks:
    - name: Tell others
      run_once: true
      ansible.builtin.set_stats:
        data:
          greeting: hello
"""
ROLE = """\
- name: Greet from {role}
  ansible.builtin.debug:
    msg: "{role} greets {{{{ inventory_hostname }}}}"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """A playbook, a role of its own, and a role in a submodule on the same server."""
    root = tmp_path_factory.mktemp("served")
    GitRepo(root / "shared").commit({"tasks/main.yml": ROLE.format(role="shared")})
    site = GitRepo(root / "site")
    site.commit({"site.yml": SITE, "roles/greeter/tasks/main.yml": ROLE.format(role="greeter")})
    site.git("submodule", "--quiet", "add", "../shared", "roles/shared")
    site.commit({})
    return site


@pytest.fixture(scope="module")
def http(site: GitRepo) -> Iterator[GitHttp]:
    server = GitHttp(site.path.parent, "deploy", "s3cret-of-git")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def hosts(api: Client) -> Json:
    return api.inventory({name: {} for name in ("web1", "web2", "web3")}, **LOCAL)


@pytest.fixture(scope="module")
def job(api: Client, site: GitRepo, http: GitHttp, hosts: Json) -> Json:
    """The end of the path: git over HTTP with a password, a template, a launch, its end."""
    credential = api.credential("Source Control", username="deploy", password="s3cret-of-git")
    project = api.project(f"{http.url}/site", credential=credential["id"])
    assert project["scm_revision"] == site.git("rev-parse", "HEAD")
    assert api.get(project["related"]["playbooks"]) == ["site.yml"]
    template = api.template(project=project["id"], playbook="site.yml", inventory=hosts["id"])
    return api.run(template)


class TestJob:
    def test_it_is_successful(self, api: Client, job: Json, site: GitRepo) -> None:
        assert job["status"] == "successful", api.stdout(job)
        assert not job["failed"]
        assert job["scm_revision"] == site.git("rev-parse", "HEAD")
        assert job["execution_node"]
        assert job["elapsed"] > 0
        assert job["work_unit_id"] == f"job-{job['id']}"
        assert job["playbook_counts"] == {"play_count": 1, "task_count": 3}

    def test_roles_and_submodules_ran(self, api: Client, job: Json) -> None:
        output = api.stdout(job)

        for role in ("greeter", "shared"):
            for host in ("web1", "web2", "web3"):
                assert f"{role} greets {host}" in output

    def test_events_are_contiguous(self, api: Client, job: Json) -> None:
        events = api.events(job)

        assert_contiguous(events)
        assert events[0]["event"] in ("verbose", "playbook_on_start")
        assert events[-1]["event"] == "playbook_on_stats"
        greetings = [event for event in events if event["event"] == "runner_on_ok" and event["role"] == "shared"]
        assert sorted(event["host_name"] for event in greetings) == ["web1", "web2", "web3"]
        assert all(event["host"] for event in greetings)

    def test_a_monitor_that_follows_the_lines_misses_nothing(self, api: Client, job: Json) -> None:
        """As awxkit's `--monitor` reads."""
        path, line, text = job["related"]["job_events"], 0, []
        while page := api.get(path, order_by="start_line", no_truncate=True, start_line__gte=line, page_size=5)[
            "results"
        ]:
            printing = [event for event in page if event["end_line"] > event["start_line"]]
            if not printing:
                break
            for event in printing:
                assert event["start_line"] == line
                line = event["end_line"]
                text.append(event["stdout"])

        assert "\n".join(text).split() == api.stdout(job, "ansi").split()

    def test_host_summaries(self, api: Client, job: Json, hosts: Json) -> None:
        summaries = api.all(job["related"]["job_host_summaries"])

        assert {summary["host_name"]: (summary["ok"], summary["failed"]) for summary in summaries} == {
            "web1": (3, False),  # what runs once runs on the first host
            "web2": (2, False),
            "web3": (2, False),
        }
        assert job["host_status_counts"] == {"ok": 3}
        (web1,) = [host for host in api.all(hosts["related"]["hosts"]) if host["name"] == "web1"]
        assert web1["last_job"] == job["id"]

    def test_artifacts(self, job: Json) -> None:
        assert job["artifacts"] == {"greeting": "hello"}

    def test_what_was_executed_is_shown(self, job: Json) -> None:
        assert "ansible-playbook" in job["job_args"]
        assert "site.yml" in job["job_args"]
        assert job["job_env"]["JOB_ID"] == str(job["id"])
        assert not [name for name in job["job_env"] if name.startswith("FORGE_")]

    def test_nothing_of_it_is_left_on_the_host(self, forge: Forge, job: Json) -> None:
        directories = (forge.worker.runs_dir / f"job-{job['id']}", forge.data_dir / "checkouts" / str(job["id"]))

        wait_for(lambda: not any(map(Path.exists, directories)), "the run's directories to go")


class TestStdout:
    def test_colours_are_for_those_who_ask(self, api: Client, job: Json) -> None:
        text, ansi = api.stdout(job), api.stdout(job, "ansi")

        assert "\x1b[" not in text
        assert "\x1b[0;32m" in ansi
        assert "PLAY RECAP" in text
        assert len(ansi) > len(text)

    def test_html(self, api: Client, job: Json) -> None:
        page = api.stdout(job, "html")

        assert page.lower().startswith("<!doctype html>")
        assert 'class="ansi32"' in page
        assert "\x1b" not in page

    def test_json_with_a_range(self, api: Client, job: Json) -> None:
        whole = api.get(job["related"]["stdout"], format="json", content_format="ansi")
        part = api.get(job["related"]["stdout"], format="json", content_format="ansi", start_line=2, end_line=5)
        encoded = api.get(job["related"]["stdout"], format="json", content_format="ansi", content_encoding="base64")

        lines = whole["content"].splitlines()
        assert whole["range"] == {"start": 0, "end": len(lines), "absolute_end": len(lines)}
        assert part["range"] == {"start": 2, "end": 5, "absolute_end": len(lines)}
        assert part["content"].splitlines() == lines[2:5]
        assert base64.b64decode(encoded["content"]).decode() == whole["content"]

    @pytest.mark.parametrize("format", ["txt", "ansi"])
    def test_a_range_of_text(self, api: Client, job: Json, format: str) -> None:
        lines = api.stdout(job, format).splitlines()

        assert api.stdout(job, format, start_line=3, end_line=6).splitlines() == lines[3:6]
        assert api.stdout(job, format, start_line=-2).splitlines() == lines[-2:]

    @pytest.mark.parametrize("format", ["txt", "ansi"])
    def test_downloads(self, api: Client, job: Json, format: str) -> None:
        answer = api.http.get(job["related"]["stdout"], params={"format": f"{format}_download"})

        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert answer.text == api.stdout(job, format)


def test_events_come_while_the_job_runs(api: Client, project: Json, inventory: Json, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    template = api.template(
        project=project["id"], playbook="hold.yml", inventory=inventory["id"], ask_variables_on_launch=True
    )
    job = api.running(api.launch(template, extra_vars={"gate": str(gate)}))

    wait_for(lambda: "TASK [Wait at the gate]" in api.stdout(job), "the output of the task that waits")
    seen = api.get(job["url"])
    gate.touch()

    assert (seen["status"], seen["event_processing_finished"]) == ("running", False)
    assert api.finished(job)["status"] == "successful"
    assert_contiguous(api.events(job))


@needs_sshd
def test_git_over_ssh_with_a_passphrase(api: Client, site: GitRepo, hosts: Json, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key", "open sesame")
    credential = api.credential("Source Control", ssh_key_data=key.private, ssh_key_unlock="open sesame")
    with Sshd() as sshd:
        sshd.authorize(key.public)
        url = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{site.path}"
        project = api.project(url, credential=credential["id"])
        template = api.template(project=project["id"], playbook="site.yml", inventory=hosts["id"])
        job = api.run(template)

    assert job["status"] == "successful", api.stdout(job)
    assert "shared greets web1" in api.stdout(job)


SAY = """\
- name: Say
  ansible.builtin.debug:
    msg: version {version}
"""


class TestRevisions:
    """A playbook that says which version of it runs."""

    @pytest.fixture
    def commits(self, tmp_path: Path) -> tuple[GitRepo, dict[str, str]]:
        repo = GitRepo(tmp_path / "versions")
        commits = {"first": repo.commit({"say.yml": saying("first")})}
        repo.git("tag", "v1")
        repo.git("checkout", "--quiet", "-b", "side")
        commits["side"] = repo.commit({"say.yml": saying("side")})
        repo.git("checkout", "--quiet", "main")
        commits["second"] = repo.commit({"say.yml": saying("second")})
        return repo, commits

    @pytest.mark.parametrize(
        ("reference", "version"), [("side", "side"), ("v1", "first"), ("", "second"), ("a commit", "first")]
    )
    def test_a_branch_a_tag_and_a_commit(
        self, api: Client, inventory: Json, commits: tuple[GitRepo, dict[str, str]], reference: str, version: str
    ) -> None:
        repo, revisions = commits
        branch = revisions["first"] if reference == "a commit" else reference
        project = api.project(f"file://{repo.path}", scm_branch=branch)
        job = api.run(api.template(project=project["id"], playbook="say.yml", inventory=inventory["id"]))

        assert project["scm_revision"] == job["scm_revision"] == revisions[version]
        assert f"version {version}" in api.stdout(job)

    def test_a_template_may_choose_where_the_project_allows_it(
        self, api: Client, inventory: Json, commits: tuple[GitRepo, dict[str, str]]
    ) -> None:
        repo, revisions = commits
        project = api.project(f"file://{repo.path}", allow_override=True)
        template = api.template(
            project=project["id"], playbook="say.yml", inventory=inventory["id"], ask_scm_branch_on_launch=True
        )
        job = api.run(template, scm_branch="side")

        assert job["scm_revision"] == revisions["side"]
        assert "version side" in api.stdout(job)
        assert api.get(project["url"])["scm_revision"] == revisions["second"]

    def test_a_running_job_keeps_its_files_while_the_project_moves_on(
        self, api: Client, inventory: Json, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        repo = GitRepo(tmp_path / "moving")
        before = repo.commit({"say.yml": waiting(gate), "late.yml": SAY.format(version="before")})
        project = api.project(f"file://{repo.path}", scm_clean=True, scm_delete_on_update=True)
        template = api.template(project=project["id"], playbook="say.yml", inventory=inventory["id"])
        job = api.running(api.launch(template))
        wait_for(lambda: "TASK [Wait" in api.stdout(job), "the task that waits")

        after = repo.commit({"late.yml": SAY.format(version="after")})
        assert api.update(project)["status"] == "successful"
        gate.touch()
        job = api.finished(job)

        assert api.get(project["url"])["scm_revision"] == after
        assert job["scm_revision"] == before
        assert "version before" in api.stdout(job)
        assert "version after" in api.stdout(api.run(template))


def saying(version: str) -> str:
    return f"- hosts: all\n  gather_facts: false\n  tasks:\n  - ansible.builtin.debug:\n      msg: version {version}\n"


def waiting(gate: Path) -> str:
    """Reads `late.yml` only when the gate is open."""
    return f"""\
- hosts: all
  gather_facts: false
  tasks:
  - name: Wait
    ansible.builtin.shell: until [ -e {gate} ]; do sleep 0.05; done
  - ansible.builtin.include_tasks: late.yml
"""
