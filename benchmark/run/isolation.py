"""Processes for code that is not trusted: started quickly, given nothing but a pipe, and told apart by how they end.

Both kinds of child, the workers that evaluate and the processes that run a method, are forked from one server that has
imported torch and this package and has read nothing of any task. Its environment names no folder of this sweep. Where
the system cannot fork (or, as macOS, not safely after importing torch), each child starts anew and takes seconds.

A process is a wall against what a method could stumble upon: objects in memory, frames, arguments, the environment,
the working folder. It is none against a program that opens the data files by their absolute path.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from dabench.core import DabenchError
from dabench.run import interrupts

if TYPE_CHECKING:
    from torch import Tensor

Answer = TypeVar("Answer")

_FORKS = sys.platform == "linux"
_PRELOADED = ["torch", "timm", "dabench.run.cell", "dabench.run.adaptation"]
_PATIENCE = 5.0  # seconds for a process that was told to end
_TRIES = 3  # at starting a process, whose server may be killed meanwhile; the next try starts another server
_PAUSE = 1.0  # seconds until a killed server's number is free, by which its death is known
_LAST_OUTPUT = 2000  # characters of a failed method's own output that are kept


# ----------------------------------------------------------------------------------------------- starting


def begin() -> None:
    """Has the server start to import, which takes seconds, while this process does something else."""
    _context()


@cache
def _context() -> Any:
    """How children start; the server begins to import at the first call."""
    if not _FORKS:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # which unblocks Ctrl-C when it starts, and hears none itself
    with _nameless_environment(), interrupts.unheard_by_children():
        forkserver.ensure_running()
    return context


@contextmanager
def _nameless_environment() -> Iterator[None]:
    """Inside, the environment's variables name no folder of dabench's and not the working folder."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith("DABENCH_") or name in ("PWD", "OLDPWD", "_"):
            del os.environ[name]
    # Asking CUDA the usual way whether it is there would make it unusable in forked children.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def _no_main() -> Iterator[None]:
    """Inside, no child runs the caller's script once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A child that runs the function, which must be importable without torch; it never outlives this process.

    Raises DabenchError where the system starts none.
    """
    with _no_main(), _nameless_environment(), interrupts.unheard_by_children():
        for left in reversed(range(_TRIES)):
            process: BaseProcess = _context().Process(target=target, args=arguments, daemon=True)
            try:
                process.start()
                break
            except (EOFError, ConnectionError) as error:
                if not left:
                    raise DabenchError(
                        f"no process can be started: the one that starts all others died {_TRIES} times (out of "
                        "memory?); end other programs, or try fewer --workers"
                    ) from error
                time.sleep(_PAUSE)
    return process


class Unanswered(DabenchError):
    """A process ended before it answered; says how."""


def answer_of(target: Callable[..., Answer], *arguments: Any) -> Answer:
    """What the function answers in a process of its own; raises Unanswered where that process dies."""
    here, there = multiprocessing.Pipe()
    process = start(_answer, there, target, arguments)
    there.close()
    try:
        answer: Answer = here.recv()
        return answer
    except (EOFError, ConnectionError) as error:
        process.join(_PATIENCE)
        raise Unanswered(ending(process)) from error
    finally:
        stop(process)


def _answer(connection: Connection, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    settle()
    answer = target(*arguments)
    with suppress(ConnectionError):  # the parent is gone
        connection.send(answer)


def stop(process: BaseProcess) -> None:
    """Ends the process, by force where it does not end by itself."""
    process.terminate()
    process.join(_PATIENCE)
    if process.is_alive() or _lost(process):
        kill(process)
        process.join(_PATIENCE)


def kill(process: BaseProcess) -> None:
    """Ends the process at once, also one that its server's death made look dead."""
    process.kill()
    if _lost(process) and process.pid is not None:
        with suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)


def _lost(process: BaseProcess) -> bool:
    """Whether how the process ended, or that it did, was told by its server's death: see multiprocessing's Popen."""
    return process.exitcode == 255 and _FORKS


def settle(*, quiet: bool = True, folder: Path | None = None) -> None:
    """Called first in a child: Ctrl-C is the parent's to answer, and a child ends with its parent.

    One that has a folder takes it along, and every process that it started.
    """
    if quiet:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: Path | None) -> None:
    """A parent that was killed cannot tell its children to stop, nor take the folder of its sockets away."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        shutil.rmtree(util.get_temp_dir(), ignore_errors=True)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            _kill_group(os.getpid())
        os._exit(1)


def _clear(folder: Path) -> None:
    """Takes the folder along at the end of a method's process that was told nothing, since its parent was killed."""
    if (parent := multiprocessing.parent_process()) is not None and not parent.is_alive():
        shutil.rmtree(folder, ignore_errors=True)


def _kill_group(leader: int) -> None:
    """Ends what a method's process started, and the process where it still runs."""
    if hasattr(os, "killpg"):
        with suppress(OSError):  # the group is gone, or was never made
            os.killpg(leader, signal.SIGKILL)


def _runs(number: int | None) -> bool:
    try:
        os.kill(number or 0, 0)
    except OSError:
        return False
    return True


def hide() -> None:
    """Keeps the process's memory and files from being read by others of the same user, where the system can."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE of <sys/prctl.h>


def ending(process: BaseProcess) -> str:
    """How a process ended, in words."""
    code = process.exitcode
    if code is None:
        return "it stopped answering"
    if _lost(process) and _runs(process.pid):
        return "the process that starts all others died (out of memory?), and was started again"
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    memory = " (out of memory?); try fewer --workers or a smaller backbone" if name == "SIGKILL" else ""
    return f"its process died of {name}{memory}"


# ------------------------------------------------------------------------------------------ a method's process


@dataclass
class Sandbox:
    """A running method's process, and the folder in which it runs."""

    process: BaseProcess
    folder: Path
    overdue: bool = False
    ending: str = ""  # once it has been seen to end

    @classmethod
    def start(cls, target: Callable[..., None], connection: Connection) -> Sandbox:
        """Starts `target(connection, folder)`, which begins with `enter(folder)`."""
        folder = Path(tempfile.gettempdir()) / f"method-{uuid.uuid4().hex}"  # made by who takes it away: the child
        return cls(start(target, connection, folder), folder)

    def kill(self) -> None:
        """Ends the process at once, and those that it started, which could hold its pipe open."""
        with suppress(ValueError):
            kill(self.process)
        if self.process.pid is not None:
            _kill_group(self.process.pid)

    def see(self) -> None:
        """Notices that the process ended by itself, and ends what it left running, which could hold its pipe open."""
        if not self.ending and not self.process.is_alive():
            self.ending = ending(self.process)
            self.kill()

    def end(self) -> str:
        """Waits for the process to end; says in words how it did."""
        self.process.join(_PATIENCE)
        how = self.ending or ending(self.process)
        return f"{how}; a method returns the model or raises an error" if "exit code" in how else how

    def output(self) -> str:
        """The end of what the method printed."""
        with suppress(OSError):
            return (self.folder / "output").read_text(errors="replace")[-_LAST_OUTPUT:]
        return ""

    def close(self) -> None:
        """Ends the process, if it still runs, and takes its folder away."""
        self.kill()
        self.process.join(_PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)


def enter(folder: Path) -> None:
    """Called first in a method's process: an empty working folder, no arguments, and its output in a file."""
    if hasattr(os, "setsid"):
        os.setsid()  # the processes that it starts are known by its group
    folder.mkdir(mode=0o700)
    (folder / "empty").mkdir()
    settle(folder=folder)
    util.Finalize(None, _clear, (folder,), exitpriority=1)
    sys.argv = [""]
    multiprocessing.process.ORIGINAL_DIR = None  # type: ignore[attr-defined]
    os.chdir(folder / "empty")
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


# ----------------------------------------------------------------------------------------------- the pipe


def tell(connection: Connection, word: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Sends a word as text and plain arrays: what reads it never runs what the sender wrote."""
    import safetensors.torch

    connection.send_bytes(json.dumps([word, facts]).encode())
    plain = {name: tensor.detach().float().cpu().contiguous().clone() for name, tensor in tensors.items()}
    connection.send_bytes(safetensors.torch.save(plain))


def hear(connection: Connection) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The next word; raises EOFError or OSError where the sender is gone, ValueError where it is none."""
    import safetensors.torch

    word, facts = json.loads(connection.recv_bytes())
    return word, facts, safetensors.torch.load(connection.recv_bytes())
