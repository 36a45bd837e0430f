"""The package as links into the tree: what editable installs, type checkers and tests read.

The rooms stand at the top of the repository and are imported as `bayesnas.<room>`, which no tool
follows by itself. `python hatch_build.py` makes `.links` anew; an editable install does so first.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

ROOMS = ("dsl", "compiler", "runtime", "specs")
ROOT = Path(__file__).parent


def make_links(root: Path = ROOT) -> None:
    """Make `.links/bayesnas`, whose entries are links to what stands in the tree now."""
    package = root / ".links" / "bayesnas"
    shutil.rmtree(package.parent, ignore_errors=True)
    package.mkdir(parents=True)
    for source in (*(root / "bayesnas").iterdir(), *(root / room for room in ROOMS)):
        (package / source.name).symlink_to(source.resolve(), source.is_dir())


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run by hand
    pass
else:

    class LinksHook(BuildHookInterface):  # type: ignore[type-arg, misc]
        """Makes the links before an editable install points to them."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
            """Called by the build backend; ``version`` tells a wheel from an editable install."""
            if version == "editable":
                make_links(Path(self.root))


if __name__ == "__main__":
    make_links()
