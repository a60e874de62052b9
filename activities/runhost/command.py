"""From a process just forked to the command of a run: its terminal, its keys, its environment - and no wait for the
imports of ansible.

What ansible imports of other packages is imported once, by the run host (`preload`). A run's command is forked from
there and, if it is this Python's own ansible, calls its entry point instead of executing a new interpreter. Nothing of
ansible itself is loaded beforehand: it reads its configuration while it is imported, and that is each run's own."""

import contextlib
import fcntl
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import traceback
from atexit import _run_exitfuncs as run_exit_functions
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from activities.runhost import processes

# The least that brings all the rest; a test compares it with what ansible loads.
PRELOADED = (
    "cmd",
    "contextvars",
    "cryptography.hazmat.backends.openssl",
    "cryptography.hazmat.primitives.hmac",
    "cryptography.hazmat.primitives.kdf.pbkdf2",
    "cryptography.hazmat.primitives.padding",
    "cryptography.hazmat.primitives.serialization",
    "ctypes.util",
    "curses",
    "decimal",
    "difflib",
    "email.parser",
    "encodings.idna",
    "encodings.unicode_escape",
    "getpass",
    "jinja2.nativetypes",
    "jinja2.sandbox",
    "multiprocessing.popen_fork",
    "multiprocessing.queues",
    "multiprocessing.shared_memory",
    "multiprocessing.synchronize",
    "packaging.specifiers",
    "pkgutil",
    "pprint",
    "resolvelib",
    "syslog",
    "tarfile",
    "tomllib",
    "typing_extensions",
    "xml.dom.minidom",
    "xml.etree.ElementTree",
    "yaml",
)
ENTRY_POINTS = {"ansible-playbook": "ansible.cli.playbook", "ansible": "ansible.cli.adhoc"}
NOT_EXECUTABLE = 127  # as a shell says it


def preload() -> None:
    for name in PRELOADED:
        with contextlib.suppress(ImportError):  # a Python built without it: then ansible does without, too
            importlib.import_module(name)


def entry_point(command: Sequence[str], env: Mapping[str, str]) -> str | None:
    """The module whose `main` is this command; None if it has to be executed: it is another program, or its environment
    means something to a starting interpreter. (Beyond Linux forking without executing is not safe.)"""
    program = shutil.which(command[0], path=env.get("PATH"))
    if not processes.LINUX or program is None or any(name.startswith(("PYTHON", "LD_")) for name in env):
        return None
    name = os.path.basename(program)
    return ENTRY_POINTS.get(name) if Path(program) == Path(sys.executable).with_name(name) else None


def become(command: Sequence[str], cwd: str, env: Mapping[str, str], terminal: int, keys: Collection[int]) -> NoReturn:
    """Call it in a process just forked. `terminal` becomes the controlling one, where getpass asks; `keys` are
    descriptors from which ssh-add is to read keys first. One that it refuses ends the process, as the command would."""
    code = NOT_EXECUTABLE
    try:
        _take(terminal, keys)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        code = _add(keys)
        if code == 0:
            code = _call(command, module) if (module := entry_point(command, env)) else _execute(command)
    except BaseException:
        traceback.print_exc()
    finally:
        # Never up the stack: what is there belongs to the process that was forked.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _take(terminal: int, keys: Collection[int]) -> None:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for standard in (0, 1, 2):
        os.dup2(terminal, standard)
    start = 3
    for kept in sorted(keys):
        os.closerange(start, kept)
        start = kept + 1
    os.closerange(start, 1 << 16)
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        old = getattr(sys, name)  # buffers for what was there when this Python started, which was no terminal
        new = open(number, mode, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115  # for good
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _add(keys: Collection[int]) -> int:
    """ssh-add's exit code: that of the first key which it refuses, else 0."""
    for key in keys:
        code = subprocess.run(["ssh-add", f"/dev/fd/{key}"], pass_fds=[key], check=False).returncode
        os.close(key)
        if code:
            return code
    return 0


def _execute(command: Sequence[str]) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and that would be passed on
    os.execvp(command[0], list(command))


def _call(command: Sequence[str], module: str) -> int:
    """What the command's script does, in the state in which a new interpreter would be. Returns the exit code."""
    program = Path(sys.executable).with_name(command[0])
    processes.set_title(program.name)
    sys.argv = [str(program), *command[1:]]
    sys.path.insert(0, str(program.parent))
    tempfile.tempdir = None
    time.tzset()
    try:
        importlib.import_module(module).main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    run_exit_functions()
    return code
