"""Many users sit at Windows: no module or name that only POSIX has, and every text file says that it is UTF-8."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("config", "core", "runtime", "scripts", "sim", "strategies", "venues", "wiring")
FILES = sorted([*ROOT.glob("*.py"), *(path for part in SHIPPED for path in (ROOT / part).rglob("*.py"))])
POSIX_MODULES = {
    *("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty"),
}
POSIX_NAMES = {
    "os": {
        *("chown", "fchmod", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg", "getpgid", "getuid"),
        *("killpg", "mkfifo", "nice", "pread", "pwrite", "setpgid", "setsid", "setuid", "statvfs", "sync", "uname"),
        *("O_DSYNC", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "wait", "waitpid", "writev"),
    },
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2", "alarm", "setitimer"},
    "socket": {"AF_UNIX", "SO_REUSEPORT", "socketpair"},
    "time": {"tzset", "clock_gettime", "clock_gettime_ns"},
}


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def says(call: ast.Call, keyword: str) -> bool:
    return any(given.arg == keyword for given in call.keywords)


def is_text(call: ast.Call) -> bool:
    """Whether a call opens a text file, reads or writes a whole one, or talks text to a process."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("read_text", "write_text"):
        return isinstance(function, ast.Attribute)
    if name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
        constants = [
            arg.value for arg in (*call.args, *(k.value for k in call.keywords)) if isinstance(arg, ast.Constant)
        ]
        owner = (
            function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
        )
        is_low = (owner, name) == ("os", "open")
        is_binary = any(isinstance(mode, str) and "b" in mode and len(mode) <= 3 for mode in constants)
        return not is_low and not is_binary
    return name in ("run", "Popen", "check_output") and says(call, "text")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_runs_on_windows(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & POSIX_MODULES
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in POSIX_MODULES
            assert not {alias.name for alias in node.names} & POSIX_NAMES.get(str(node.module), set())
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in POSIX_NAMES.get(node.value.id, set()), f"line {node.lineno}"
    for call in calls(tree):
        assert not is_text(call) or says(call, "encoding"), f"line {call.lineno}: which encoding?"


def test_no_file_name_that_windows_refuses() -> None:
    names = {path.name for path in ROOT.rglob("*") if not any(part[0] == "." for part in path.relative_to(ROOT).parts)}
    assert not [name for name in names if set(name) & set('<>:"|?*\\') or name.endswith((".", " "))]
    assert not [name for name in names if name.split(".")[0].upper() in ("CON", "PRN", "AUX", "NUL", "COM1", "LPT1")]
