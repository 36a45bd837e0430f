"""``bayesnas doctor``: what is installed here, what is missing, and whether it computes rightly."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from bayesnas.commands.arguments import Command, add_device
from bayesnas.commands.runs import set_threads
from bayesnas.commands.tables import table
from bayesnas.dsl.terminal import say

_PACKAGES: Final = ("torch", "torchvision", "numpy", "scikit-learn", "networkx")
_EXTRAS: Final = {
    "pygments": "colours of specs: pip install 'bayesnas[highlight]'",
    "onnxruntime": "export to ONNX: pip install 'bayesnas[onnx]'",
    "tensorboard": "`--log tensorboard`: pip install 'bayesnas[tensorboard]'",
    "argcomplete": "completion in the shell: pip install 'bayesnas[completion]'",
}


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    add_device(parser)


def _doctor(options: argparse.Namespace) -> int:
    """Everything, and 1 where something computes wrongly."""
    set_threads(options.threads)
    from bayesnas.commands.beside.selftest import self_test
    from bayesnas.runtime.data.free_memory import free_memory
    from bayesnas.runtime.network.device import pick_device
    from bayesnas.runtime.runs.machine import machine_record

    device = pick_device(options.device)
    say(*table("versions", _versions()))
    machine = {name: str(value) for name, value in machine_record(device).items()}
    free = free_memory(device)
    machine |= {"device": str(device)} | ({"free memory": f"{free / 1e9:.1f} GB"} if free else {})
    say(*table("machine", machine))
    say(*table("programs and extras", {"dot": _dot(), **_extras()}))
    checks = self_test(device)
    rows = {c.name: f"{c.problem or 'right'} ({c.seconds:.1f} s)" for c in checks}
    say(*table("self-test", rows))
    wrong = [check.name for check in checks if check.problem]
    say(f"wrong: {', '.join(wrong)}" if wrong else "all is well")
    return 1 if wrong else 0


def _versions() -> dict[str, str]:
    import platform

    import bayesnas

    own = {"bayesnas": bayesnas.__version__, "python": platform.python_version()}
    return own | {name: _version(name) or "missing" for name in _PACKAGES}


def _extras() -> dict[str, str]:
    """Packages that are of use and need not be there."""
    return {name: _version(name) or f"missing; for {use}" for name, use in _EXTRAS.items()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _dot() -> str:
    """The version of Graphviz's program."""
    path = shutil.which("dot")
    if path is None:
        return "missing; for figures: `apt-get install graphviz`, `brew install graphviz`"
    try:
        done = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path} does not run: {error}"
    return (done.stderr or done.stdout).strip()


DOCTOR = Command(
    "doctor",
    "Say what is installed here, and whether it computes rightly.",
    _add_doctor,
    _doctor,
)
